"""One process of the crew: `python -m benchmarks._growth.worker`."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import MappingProxyType

import msgspec
import redis.asyncio

from benchmarks._growth.crew import CLOSE, READY, Job, Window
from benchmarks._growth.forged import Storm, ours_forged, peers_forged
from benchmarks._growth.paths import our_hits, redis_get
from benchmarks._growth.place import WrittenUsers, users
from benchmarks._growth.tasks import CHANNEL, Task
from benchmarks._harness import Call, Figures, Load, under
from benchmarks._shop import Row, database
from repocache.records.message import Message

CALLERS = 16


class Ears:
    """Counts what comes on the channel; a receiver as L1 is one."""

    def __init__(self) -> None:
        self.count = 0

    def up(self) -> None: ...

    def down(self) -> None: ...

    def forget_all(self) -> None: ...

    def new_history(self) -> None: ...

    def apply(self, message: Message) -> None:
        self.count += 1


def reading(call: Call, rows: int) -> Window:
    """A closed loop of callers: calls a second, us of CPU a call."""

    async def window(seconds: float) -> Figures:
        return await under(Load(CALLERS, rows), seconds)(call)

    return window


def hearing(count: Callable[[], int]) -> Window:
    """Nothing but to hear: messages a second, us of CPU a second."""

    async def window(seconds: float) -> Figures:
        before, cpu, begin = count(), time.process_time(), time.perf_counter()
        await asyncio.sleep(seconds)
        took, cpu = time.perf_counter() - begin, time.process_time() - cpu
        return Figures((count() - before) / took, cpu / took * 1e6)

    return window


@asynccontextmanager
async def hits(told: Job) -> AsyncIterator[Window]:
    async with our_hits(told.ends, users(told.rows)) as get:
        yield reading(get, told.rows)


@asynccontextmanager
async def peer_hits(told: Job) -> AsyncIterator[Window]:
    async with redis_get(told.ends, users(told.rows), Row) as get:
        yield reading(get, told.rows)


@asynccontextmanager
async def hears(told: Job) -> AsyncIterator[Window]:
    """With the rows in L1."""
    async with database(told.ends, WrittenUsers) as db:
        ears = Ears()
        db._started.cache.receivers.append(ears)
        await db[WrittenUsers].get_many(range(told.rows))
        yield hearing(lambda: ears.count)


@asynccontextmanager
async def peer_hears(told: Job) -> AsyncIterator[Window]:
    """A subscriber's task."""
    count = 0
    async with (
        redis.asyncio.Redis.from_url(told.redis) as client,
        client.pubsub() as channel,
    ):
        await channel.subscribe(CHANNEL)

        async def hear() -> None:
            nonlocal count
            async for message in channel.listen():
                count += message["type"] == "message"

        task = asyncio.create_task(hear())
        try:
            yield hearing(lambda: count)
        finally:
            task.cancel()
            await asyncio.wait([task])


@asynccontextmanager
async def storms(told: Job) -> AsyncIterator[Window]:
    async with redis.asyncio.Redis.from_url(told.redis) as client:
        yield Storm(client, await ours_forged(client), told.rate).blow


@asynccontextmanager
async def peer_storms(told: Job) -> AsyncIterator[Window]:
    async with redis.asyncio.Redis.from_url(told.redis) as client:
        yield Storm(client, peers_forged(), told.rate).blow


TASKS: MappingProxyType[str, Callable[[Job], AbstractAsyncContextManager[Window]]] = (
    MappingProxyType(
        {
            Task.HITS: hits,
            Task.PEER_HITS: peer_hits,
            Task.HEARS: hears,
            Task.PEER_HEARS: peer_hears,
            Task.STORMS: storms,
            Task.PEER_STORMS: peer_storms,
        }
    )
)


async def line() -> bytes:
    """The next one; empty: nobody is there any more."""
    read: bytes = await asyncio.to_thread(sys.stdin.buffer.readline)
    return read.strip()


def answer(text: bytes) -> None:
    print(text.decode(), flush=True)


async def work() -> None:
    while order := await line():
        told = msgspec.json.decode(order, type=Job)
        async with TASKS[told.task](told) as window:
            answer(READY)
            while (seconds := await line()) not in (CLOSE, b""):
                found = await window(float(seconds))
                answer(msgspec.json.encode((found.calls, found.cpu)))
        answer(CLOSE)


if __name__ == "__main__":
    asyncio.run(work())
