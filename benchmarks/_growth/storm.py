"""Against the invalidations a second that come from another process.

The process that hears them reads from its L1 without a pause, and lets its loop turn after every
hundred hits. Beside it a subscriber of redis-py with a dict, whose task decodes what is published
and drops the key. They may hear less than is sent: that is a curve too.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import redis.asyncio

from benchmarks._growth.contest import Axis, Contest, Extent, Study, always, studied, told
from benchmarks._growth.crew import Job, Member, crew, job
from benchmarks._growth.curve import RATE, Figure, share
from benchmarks._growth.ground import Ground
from benchmarks._growth.keys import in_l1
from benchmarks._growth.tasks import CHANNEL, Task
from benchmarks._growth.worker import Ears
from benchmarks._harness import Call, Figures
from benchmarks._memories import card
from benchmarks._shop import Users
from benchmarks._turns import Turns
from repocache.testing import Endpoints

HITS = 100
"""Between two turns of the loop."""
TAIL = 0.5
"""Seconds for which a storm goes on at least when nobody measures any more."""
L1, DICT = "L1 hit", "dict, redis-py subscriber"
TURN = Figure("turn", "ms of CPU, longest turn")
HEARD = Figure("heard", "heard/s", cost=share)


@dataclass(frozen=True, slots=True)
class Stormy(Figures):
    """`turn`: the longest of the loop, ms of CPU. `heard`: messages a second."""

    turn: float = 0.0
    heard: float = 0.0


class Side(NamedTuple):
    """Who is measured: reads a row that it keeps, and has `heard` so many messages. `rows`: from 0
    on."""

    call: Call
    heard: Callable[[], int]
    rows: int


Blow = Callable[[float], "asyncio.Task[Figures]"]
"""Starts a storm of so many seconds."""


async def hit(side: Side, seconds: float) -> Stormy:
    """Reads one row after the other."""
    call, heard, rows = side
    calls, before = 0, heard()
    cpu, begin = time.process_time(), time.perf_counter()
    with Turns() as turns:
        while time.perf_counter() - begin < seconds:
            for number in range(calls, calls + HITS):
                await call(number % rows)
            calls += HITS
            await asyncio.sleep(0)
    took, cpu = time.perf_counter() - begin, time.process_time() - cpu
    return Stormy(
        calls / took,
        cpu / calls * 1e6,
        turn=turns.longest,
        heard=(heard() - before) / took,
    )


async def until_heard(heard: Callable[[], int], storm: asyncio.Task[Figures]) -> None:
    """The storm has begun. Raises what has ended it, or LookupError."""
    before = heard()
    while heard() == before:
        if storm.done():
            await storm
            raise LookupError("nothing was heard")
        await asyncio.sleep(0.005)


def measured(side: Side, blow: Blow | None, seconds: float) -> Call:
    """A whole measurement. `blow`: None: there is no storm."""

    async def measure(_: int) -> Figures:
        if blow is None:
            return await hit(side, seconds)
        storm = blow(seconds + TAIL)
        try:
            await until_heard(side.heard, storm)
            found = await hit(side, seconds)
        finally:
            await asyncio.wait([storm])
        storm.result()
        return found

    return measure


@asynccontextmanager
async def blowing(member: Member, what: Job) -> AsyncIterator[Blow | None]:
    """What starts the storm of a job."""
    if not what.rate:
        yield None
        return
    async with member.open(what) as window:

        async def run(seconds: float) -> Figures:
            return await window(seconds)

        yield lambda seconds: asyncio.create_task(run(seconds))


@asynccontextmanager
async def ours(member: Member, what: Job, seconds: float) -> AsyncIterator[Call]:
    """Raises LookupError if a row has left L1: then the storm was not believed."""
    ears = Ears()
    async with in_l1(what.ends, what.rows) as db, blowing(member, what) as blow:
        db._started.cache.receivers.append(ears)
        users = db[Users]
        measure = measured(Side(users.card.get, lambda: ears.count, what.rows), blow, seconds)

        async def checked(at: int) -> object:
            found = await measure(at)
            if not all(users._peek(id) for id in range(what.rows)):
                raise LookupError("rows have left L1")
            return found

        yield checked


@asynccontextmanager
async def theirs(member: Member, what: Job, seconds: float) -> AsyncIterator[Call]:
    kept = {number: card(number) for number in range(what.rows)}
    count = 0

    async def get(number: int) -> object:
        return kept[number]

    async with (
        redis.asyncio.Redis.from_url(what.redis) as client,
        client.pubsub() as channel,
        blowing(member, what) as blow,
    ):
        await channel.subscribe(CHANNEL)

        async def hear() -> None:
            nonlocal count
            async for message in channel.listen():
                if message["type"] == "message":
                    count += 1
                    for text in json.loads(message["data"]):
                        kept.pop(int(text.rpartition(":")[2]), None)

        hearing = asyncio.create_task(hear())
        try:
            yield measured(Side(get, lambda: count, what.rows), blow, seconds)
        finally:
            hearing.cancel()
            await asyncio.wait([hearing])


def contest(member: Member, ends: Endpoints, extent: Extent) -> Contest:
    rows, seconds = extent.warm, extent.thinking
    return Contest(
        L1,
        DICT,
        lambda rate: partial(ours, member, job(Task.STORMS, ends, rows, rate), seconds),
        lambda rate: partial(theirs, member, job(Task.PEER_STORMS, ends, rows, rate), seconds),
        always(told),
        (RATE, TURN, HEARD),
    )


async def study(ground: Ground, points: Sequence[int], extent: Extent) -> Study:
    await ground.make_tables()
    await ground.add_users(0, extent.warm - 1)
    async with crew(1) as [member]:
        made = contest(member, ground.ends, extent)
        return await studied([made], points, extent.rounds)


STORM = Axis(
    "storm",
    "invalidations/s from another process",
    (0, 100, 300, 1_000, 3_000, 10_000, 30_000),
    (0, 500),
    study,
    scale="symlog",
)
