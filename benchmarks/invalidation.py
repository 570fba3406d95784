"""How long another process, busy with reads, goes on to serve what a commit has changed.

    python3 dev.py benchmark invalidation

One process reads from Redis with 256 callers in a closed loop and hears invalidations on the same connection; this one
commits, and both stamp with the machine's monotonic clock: from before the commit's script is sent to after the key is out
of the other's L1. Beside it redis-py in the same place: 256 callers, and a subscriber task in the same loop.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from sqlalchemy import update

from benchmarks._harness import Effort, quartiles, run
from benchmarks._shop import Item, Items, SharedUsers, database, fill, servers
from repocache.events import Event, Invalidated
from repocache.testing import Endpoints

READERS = 256
USERS = 10_000
OURS, THEIRS = "repocache", "redis-py"
CHANNEL = "benchmark"


async def busy(get: Callable[[int], Awaitable[object]]) -> None:
    """256 callers in a closed loop, for ever."""

    async def read(number: int) -> None:
        while True:
            await get(number % USERS)
            number += READERS

    await asyncio.gather(*(read(number) for number in range(READERS)))


def tell(what: str) -> None:
    print(what, time.monotonic_ns(), flush=True)


async def listen_ours(ends: Endpoints) -> None:
    def heard(event: Event) -> None:
        if isinstance(event, Invalidated) and event.keys[:1] == ("item:0",):
            tell("heard")

    async with database(ends, SharedUsers, Items, observe=heard) as db:
        users = db[SharedUsers]
        await users.get_many(range(USERS))
        await db[Items].require(0)
        tell("ready")
        await busy(users.get)


async def listen_theirs(ends: Endpoints) -> None:
    from redis.asyncio import Redis  # noqa: PLC0415  # only this contestant needs it

    client = Redis.from_url(ends.redis, protocol=3, max_connections=2 * READERS)
    for number in range(USERS):
        await client.set(f"user:{number}", b"x" * 250)
    pubsub = client.pubsub()
    await pubsub.subscribe(CHANNEL)

    async def hear() -> None:
        async for message in pubsub.listen():
            if message["type"] == "message":
                tell("heard")

    listening = asyncio.create_task(hear())
    tell("ready")
    await busy(lambda number: client.get(f"user:{number}"))
    await listening


@asynccontextmanager
async def listener(name: str, ends: Endpoints) -> AsyncIterator[asyncio.StreamReader]:
    """The busy process; ready when the block begins."""
    command = [sys.executable, "-m", "benchmarks.invalidation", "--listen", name, ends.primary, ends.redis, *ends.replicas]
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE)
    assert process.stdout is not None
    try:
        assert (await process.stdout.readline()).startswith(b"ready"), "the listener did not start"
        yield process.stdout
    finally:
        process.kill()
        await process.wait()


async def measure(name: str, ends: Endpoints, times: int) -> list[float]:
    """Milliseconds from the publication to its effect."""
    from redis.asyncio import Redis  # noqa: PLC0415  # only this contestant needs it

    sent: list[int] = []
    async with listener(name, ends) as heard, database(ends, Items) as db:
        client = Redis.from_url(ends.redis, protocol=3)
        publish = db._caching.bus.publish

        async def stamped(*arguments: object) -> object:
            sent.append(time.monotonic_ns())
            return await publish(*arguments)  # type: ignore[arg-type]

        db._caching.bus.publish = stamped  # type: ignore[method-assign,assignment]
        took = []
        for _ in range(times):
            if name == OURS:
                async with db.unit_of_work() as work:
                    await work.session.execute(update(Item).where(Item.id == 0).values(stock=Item.stock + 1))
                    await work.commit()
            else:
                sent.append(time.monotonic_ns())
                await client.publish(CHANNEL, "item:0")
            _, at = (await heard.readline()).split()
            took.append((int(at) - sent[-1]) / 1e6)
            await asyncio.sleep(0.01)
        await client.aclose()
    return took[times // 10 :]


async def benchmark(effort: Effort) -> None:
    times = max(20, int(effort.closed * 500))
    rounds: dict[str, list[tuple[float, float]]] = {OURS: [], THEIRS: []}
    with servers() as running:
        ends = await fill(running, USERS)
        for turn in range(max(2, effort.rounds // 2)):
            for name in (OURS, THEIRS) if turn % 2 else (THEIRS, OURS):
                cuts = statistics.quantiles(await measure(name, ends, times), n=100)
                rounds[name].append((cuts[49], cuts[98]))
    print(f"\ninvalidation to another process whose loop runs {READERS} reads, ms")
    for name, found in rounds.items():
        (low, p50, high), (_, p99, _) = quartiles([each[0] for each in found]), quartiles([each[1] for each in found])
        print(f"  {name:10} p50 {p50:7.2f} [{low:.2f} .. {high:.2f}]  p99 {p99:7.2f}")
        if name == OURS:
            reached = p50 < 3 and p99 < 15
            print(f"  {name}: wanted: p50 under 3 ms, p99 under 15 ms: {'reached' if reached else 'NOT REACHED'}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--listen"]:
        parser = argparse.ArgumentParser()
        parser.add_argument("--listen", nargs="+")
        kind, primary, redis, *replicas = parser.parse_args().listen
        listen = listen_ours if kind == OURS else listen_theirs
        asyncio.run(listen(Endpoints(primary, tuple(replicas), redis)))
    else:
        run(benchmark)
