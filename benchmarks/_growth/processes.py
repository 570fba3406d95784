"""Against the number of processes, each with a `Database` of its own on the same servers.

Hits: closed loops in all of them, the calls of all together. Hears: a process without work hears
another one's commits, and drops the rows from its L1; what it costs beyond the same time without
commits, a commit, the mean of the processes. The peer is a subscriber's task, which drops nothing.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

import redis.asyncio

from benchmarks._growth.contest import Axis, Contest, Extent, Study, always, studied, told
from benchmarks._growth.crew import Job, Member, Window, crew, job, opened
from benchmarks._growth.curve import Figure, share
from benchmarks._growth.ground import Ground
from benchmarks._growth.keys import row
from benchmarks._growth.paths import GET, HIT, fill_redis, our_commits, put
from benchmarks._growth.place import WrittenUsers, users
from benchmarks._growth.tasks import CHANNEL, Task
from benchmarks._harness import Call, Figures, Open
from repocache.testing import Endpoints

PAUSE = 0.004
"""Seconds between two commits."""
HEARS, SUBSCRIBER = "commit heard", "redis-py subscriber"
TOGETHER = Figure("calls", "calls/s of all", cost=share)
EACH = Figure("cpu", "us of CPU a call")
HEARD = Figure("cpu", "us of CPU a commit")

Opening = Callable[[], AbstractAsyncContextManager[Call]]


def summed(found: Sequence[Figures]) -> Figures:
    """The calls of all, and what one costs."""
    calls = sum(each.calls for each in found)
    return Figures(calls, sum(each.calls * each.cpu for each in found) / calls)


def beyond(idle: Sequence[Figures], busy: Sequence[Figures]) -> Figures:
    """Messages heard a second, us of CPU each, the means of the processes. Both windows have us of
    CPU a second. Raises LookupError where nothing was heard."""
    if not all(each.calls for each in busy):
        raise LookupError("nothing was heard")
    cpu = [(now.cpu - before.cpu) / now.calls for before, now in zip(idle, busy, strict=True)]
    return Figures(statistics.mean(each.calls for each in busy), statistics.mean(cpu))


async def all_of(windows: Sequence[Window], seconds: float) -> list[Figures]:
    return list(await asyncio.gather(*(each(seconds) for each in windows)))


@asynccontextmanager
async def hits(members: Sequence[Member], what: Job, seconds: float) -> AsyncIterator[Call]:
    async with opened(members, what) as windows:

        async def measure(_: int) -> Figures:
            return summed(await all_of(windows, seconds))

        yield measure


async def paced(call: Call, rows: int, seconds: float) -> None:
    """One row after the other, with pauses."""
    until, number = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        await call(number % rows)
        number += 1
        await asyncio.sleep(PAUSE)


@asynccontextmanager
async def hears(
    members: Sequence[Member], what: Job, writer: Opening, seconds: float
) -> AsyncIterator[Call]:
    async with opened(members, what) as windows, writer() as write:

        async def measure(_: int) -> Figures:
            idle = await all_of(windows, seconds)
            # What is written last is heard before the windows end.
            writing = asyncio.create_task(paced(write, what.rows, 0.8 * seconds))
            busy = await all_of(windows, seconds)
            await writing
            return beyond(idle, busy)

        yield measure


@asynccontextmanager
async def publisher(ends: Endpoints) -> AsyncIterator[Call]:
    async with redis.asyncio.Redis.from_url(ends.redis) as client:

        async def publish(number: int) -> object:
            return await client.publish(CHANNEL, f'["user:{number}"]')

        yield publish


def contests(members: Sequence[Member], ends: Endpoints, extent: Extent) -> list[Contest]:
    seconds, rows = extent.thinking, extent.warm

    def reading(task: Task) -> Callable[[int], Open]:
        return lambda many: partial(hits, members[:many], job(task, ends, rows), seconds)

    def listening(task: Task, writer: Opening) -> Callable[[int], Open]:
        what = job(task, ends, rows)
        return lambda many: partial(hears, members[:many], what, writer, seconds)

    return [
        Contest(
            HIT,
            GET,
            reading(Task.HITS),
            reading(Task.PEER_HITS),
            always(told),
            (EACH, TOGETHER),
        ),
        Contest(
            HEARS,
            SUBSCRIBER,
            listening(Task.HEARS, partial(our_commits, ends, users(rows, WrittenUsers))),
            listening(Task.PEER_HEARS, partial(publisher, ends)),
            always(told),
            (HEARD,),
        ),
    ]


async def study(ground: Ground, points: Sequence[int], extent: Extent) -> Study:
    ends, place = ground.ends, users(extent.warm)
    await ground.make_tables()
    await ground.add_users(0, extent.warm - 1)
    await fill_redis(ends, place)
    await put(ends, range(extent.warm), place, row)
    async with crew(max(points)) as members:
        return await studied(contests(members, ends, extent), points, extent.rounds)


PROCESSES = Axis("processes", "processes", (1, 2, 4, 8), (2,), study)
