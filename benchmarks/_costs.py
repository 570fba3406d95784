"""What one operation costs: microseconds of CPU in the process that asks, in Redis and in the
database servers.

Measured with 64 callers in a closed loop; fewer share less of a turn of the loop, and pay more. The
servers' part comes from the system's own account of their processes, with all that they do beside.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import redis.asyncio

from benchmarks import _hits, _readers, _writers, hits_local
from benchmarks._harness import Call, Effort, Load, Open, in_a_row, swept, under
from benchmarks._processes import cpu_seconds
from benchmarks._shop import Prices, Users, database, fill, servers
from repocache import OutboxMode
from repocache.testing import Endpoints, Servers

CALLERS = 64
SUBSCRIBERS = 32
PATIENCE = 10.0
"""Seconds that the other process has to end."""
MESSAGE = bytes(150)
"""About as long as the message of one commit."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Microseconds of CPU. `database`: of a miss on the node that answers, of a commit on the
    primary; `replica`: of a commit on each replica."""

    client: float
    redis: float = 0.0
    database: float = 0.0
    replica: float = 0.0

    def __str__(self) -> str:
        parts = ((name, getattr(self, name)) for name in self.__slots__)
        return ", ".join(f"{name} {amount(value)} us" for name, value in parts if value)


@dataclass(frozen=True, slots=True)
class Costs:
    """Of each operation. `heard`: of a commit in each process that did not make it, and of Redis to
    tell each process."""

    l1: Cost
    l2: Cost
    miss: Cost
    commit: Cost
    heard: Cost

    def __str__(self) -> str:
        return "\n".join(f"{name}: {getattr(self, name)}" for name in self.__slots__)


def amount(value: float) -> str:
    """Three digits, and no exponent."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


Meters = Mapping[str, Callable[[], float]]
"""Seconds of CPU that something has used until now."""


async def measured(effort: Effort) -> Costs:
    """Medians of the rounds."""
    with servers(durable=True) as running:
        ends = await fill(running, _readers.ROWS)
        await _writers.make_outbox(ends)
        rounds = [await once(running, ends, effort) for _ in range(effort.rounds)]
    return Costs(*(median([getattr(each, name) for each in rounds]) for name in Costs.__slots__))


def median(found: list[Cost]) -> Cost:
    middle = (statistics.median(getattr(each, name) for each in found) for name in Cost.__slots__)
    return Cost(*middle)


async def once(running: Servers, ends: Endpoints, effort: Effort) -> Costs:
    in_redis = {"redis": meter(running.redis.pid)}
    reading = in_redis | {"database": meter(running.primary.pid, running.replicas[0].pid)}
    writing = in_redis | {
        "database": meter(running.primary.pid),
        "replica": meter(running.replicas[0].pid),
    }
    commit = partial(_writers.our_update, ends, OutboxMode.REQUIRED)
    return Costs(
        l1=await of_l1(ends, effort),
        l2=await of(partial(_hits.entity, ends), Load(CALLERS, _hits.KEYS), effort, in_redis),
        miss=await of(
            partial(_readers.cold, ends), Load(CALLERS, _readers.ROWS, once=True), effort, reading
        ),
        commit=await of(commit, Load(CALLERS, _writers.ROWS), effort, writing),
        heard=Cost(await hearing(ends, commit, effort), await telling(running, ends)),
    )


def meter(*pids: int) -> Callable[[], float]:
    return lambda: sum(map(cpu_seconds, pids))


async def of_l1(ends: Endpoints, effort: Effort) -> Cost:
    numbers = random.Random(0).choices(range(_hits.KEYS), k=10_000)
    async with database(ends, Users, Prices) as db:
        await hits_local.into_l1(db[Users], range(_hits.KEYS))
        with swept():
            figures = await in_a_row(numbers, effort.closed)(db[Users].get)
    return Cost(figures.cpu)


async def of(opened: Open, load: Load, effort: Effort, meters: Meters) -> Cost:
    """Of a call, while its contestant is open."""
    async with opened() as call:
        counted = Counted(call)
        with swept():
            before = {name: each() for name, each in meters.items()}
            figures = await under(load, effort.closed)(counted)
            used = {name: each() - before[name] for name, each in meters.items()}
    return Cost(figures.cpu, **{name: 1e6 * each / counted.calls for name, each in used.items()})


class Counted:
    """A call that knows how often it was made."""

    def __init__(self, call: Call) -> None:
        self.calls = 0
        self._call = call

    async def __call__(self, number: int) -> object:
        self.calls += 1
        return await self._call(number)


async def hearing(ends: Endpoints, commit: Open, effort: Effort) -> float:
    """Microseconds of a commit in another process, above what it uses if nothing is committed."""
    async with listener(ends) as pid, commit() as call:
        idle = cpu_seconds(pid)
        await asyncio.sleep(effort.thinking)
        began = cpu_seconds(pid)
        counted, loop = Counted(call), asyncio.get_running_loop()
        at = loop.time()
        await under(Load(CALLERS, _writers.ROWS), effort.thinking)(counted)
        took = loop.time() - at
        await asyncio.sleep(0.1)  # it has heard the last one
        used = cpu_seconds(pid) - began
    return max(0.0, used - (began - idle) / effort.thinking * took) / counted.calls * 1e6


@asynccontextmanager
async def listener(ends: Endpoints) -> AsyncIterator[int]:
    """The id of a process that has rows of the users in its L1."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks._listener"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(f"{ends.primary} {ends.redis}\n".encode())
        if not await process.stdout.readline():
            raise ChildProcessError("the listener has ended before it was connected")
        yield process.pid
    finally:
        process.stdin.close()
        try:
            async with asyncio.timeout(PATIENCE):
                await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def telling(running: Servers, ends: Endpoints) -> float:
    """Microseconds of Redis to tell one more process of one commit."""
    async with redis.asyncio.Redis.from_url(ends.redis) as client:
        alone = await publishing(running, client)
        channels = [client.pubsub() for _ in range(SUBSCRIBERS)]
        for each in channels:
            await each.subscribe("plan")
        together = await publishing(running, client)
        for each in channels:
            await each.aclose()  # type: ignore[no-untyped-call]
    return max(0.0, together - alone) / SUBSCRIBERS


async def publishing(running: Servers, client: redis.asyncio.Redis) -> float:
    """Microseconds of Redis for one message, each sent alone."""
    await client.publish("plan", MESSAGE)
    before = cpu_seconds(running.redis.pid)
    times = 300
    for _ in range(times):
        await client.publish("plan", MESSAGE)
    return (cpu_seconds(running.redis.pid) - before) / times * 1e6
