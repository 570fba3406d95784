"""How long a write takes to reach L1 of another process whose event loop is busy with 256
concurrent reads of Redis.

    python3 dev.py benchmark invalidation

A second process writes, every few milliseconds another row. The clock, which all processes share,
is read before the invalidation's script is sent (or before the whole commit), and again when this
process has dropped the row from its L1. The yardstick is redis-py: PUBLISH before, a subscriber's
task after, its loop busy with 256 concurrent GETs.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec
import redis.asyncio

from benchmarks._harness import Call, Effort, Figures, Load, quartiles, run, swept, under
from benchmarks._shop import Items, SharedUsers, database, fill, servers
from repocache.records.message import Message
from repocache.records.port import CallerHistory, Change, Receipt
from repocache.testing import Endpoints

KEYS = 2_560
ITEMS = 2_000
CHANNEL = "peer"
PAUSE = (0.004, 0.012)
READERS = Load(256, KEYS)
P50, P99 = 3.0, 15.0

Times = dict[int, float]
"""Seconds of the clock that all processes share, by the number of the row."""


class Round(msgspec.Struct):
    """What the writer noted: when it began to commit, and to publish."""

    began: Times
    published: Times


class Drops:
    """Notes when L1 has dropped a row: hears the channel right after the views, in the same
    callback."""

    def __init__(self, dropped: Callable[[int], bool]) -> None:
        self.times: Times = {}
        self._dropped = dropped

    def up(self) -> None: ...

    def down(self) -> None: ...

    def forget_all(self) -> None: ...

    def new_history(self) -> None: ...

    def apply(self, message: Message) -> None:
        for text in message.keys:
            number = int(text.rpartition(":")[2])
            if not self._dropped(number):
                raise AssertionError(f"{text} is in L1 after its invalidation")
            self.times[number] = time.monotonic()


@asynccontextmanager
async def our_loop(ends: Endpoints) -> AsyncIterator[tuple[Call, Times]]:
    async with database(ends, SharedUsers, Items) as db:
        users, items = db[SharedUsers], db[Items]
        await users.get_many(range(KEYS))
        while not all(items._peek(number) for number in range(ITEMS)):
            await items.get_many(range(ITEMS))
            await asyncio.sleep(0.01)
        drops = Drops(lambda number: items._peek(number) is None)
        db._started.cache.receivers.append(drops)
        yield users.get, drops.times


@asynccontextmanager
async def redis_loop(ends: Endpoints) -> AsyncIterator[tuple[Call, Times]]:
    times: Times = {}
    async with (
        redis.asyncio.Redis.from_url(ends.redis, max_connections=1000) as client,
        client.pubsub() as channel,
    ):
        await channel.subscribe(CHANNEL)
        for number in range(KEYS):
            await client.set(f"peer:{number}", bytes(250))

        async def hear() -> None:
            async for message in channel.listen():
                if message["type"] == "message":
                    times[int(message["data"])] = time.monotonic()

        async def get(number: int) -> object:
            return await client.get(f"peer:{number}")

        await asyncio.gather(*map(get, range(256)))
        hearing = asyncio.create_task(hear())
        yield get, times
        hearing.cancel()
        await asyncio.wait([hearing])


async def measured(
    contestant: str, ends: Endpoints, seconds: float
) -> tuple[list[float], list[float], Figures]:
    """Milliseconds from the publication, and from the beginning of the commit, to the drop."""
    side = our_loop if contestant == "repocache" else redis_loop
    async with side(ends) as (get, dropped):
        writer = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.invalidation", "--writer", contestant),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert writer.stdin is not None
        assert writer.stdout is not None
        try:
            told = {"primary": ends.primary, "redis": ends.redis, "seconds": seconds}
            writer.stdin.write(json.dumps(told).encode() + b"\n")
            await writer.stdout.readline()  # it is connected
            with swept():
                reading = asyncio.create_task(under(READERS, seconds + 0.3)(get))
                await asyncio.sleep(0.1)
                writer.stdin.write(b"go\n")
                noted = msgspec.json.decode(
                    await writer.stdout.readline(), type=Round, strict=False
                )
                figures = await reading
                await asyncio.sleep(0.1)
        finally:
            writer.stdin.close()
            await writer.wait()
    missing = noted.published.keys() - dropped.keys()
    if missing:
        raise LookupError(f"{len(missing)} of {len(noted.published)} were never heard of")
    published, began = (
        [1000 * (dropped[number] - at) for number, at in times.items()]
        for times in (noted.published, noted.began)
    )
    return published, began, figures


async def benchmark(effort: Effort) -> None:
    seconds = effort.thinking
    published: dict[str, list[tuple[float, float]]] = {}
    commits: list[tuple[float, float]] = []
    with servers() as running:
        ends = await fill(running, KEYS, ITEMS)
        for turn in range(effort.rounds):
            for name in ("repocache", "redis-py") if turn % 2 else ("redis-py", "repocache"):
                delays, whole, figures = await measured(name, ends, seconds)
                published.setdefault(name, []).append(percentiles(delays))
                if name == "repocache":
                    commits.append(percentiles(whole))
                print(
                    (
                        f"  round {turn + 1}, {name}: {len(delays)} writes beside "
                        f"{figures.calls:,.0f} reads/s"
                    ),
                    flush=True,
                )
    print("\ninvalidation to L1 of another process, its loop busy with 256 reads; ms")
    show("redis-py: PUBLISH to the subscriber's task", published["redis-py"])
    show("repocache: script to the drop in L1", published["repocache"])
    show("repocache: commit() to the drop in L1", commits)
    for at, name, limit in ((0, "p50", P50), (1, "p99", P99)):
        middle = statistics.median(each[at] for each in published["repocache"])
        ratio = statistics.median(
            ours[at] / theirs[at]
            for ours, theirs in zip(published["repocache"], published["redis-py"], strict=True)
        )
        verdict = "reached" if middle < limit else "NOT REACHED"
        print(
            f"  {name} {middle:.2f} ms, {ratio:.2f}x redis-py; wanted: less than {limit:g} ms: "
            f"{verdict}"
        )


def show(name: str, rounds: list[tuple[float, float]]) -> None:
    cells = []
    for at, label in enumerate(("p50", "p99")):
        low, middle, high = quartiles([each[at] for each in rounds])
        cells.append(f"{label} {middle:7.2f} [{low:.2f} .. {high:.2f}]")
    print(f"  {name:44} {'   '.join(cells)}")


def percentiles(values: list[float]) -> tuple[float, float]:
    cuts = statistics.quantiles(values, n=100)
    return cuts[49], cuts[98]


async def write(contestant: str) -> None:
    """The other process. Told on stdin where the servers are, and when to begin; tells on stdout
    what it noted."""
    told = json.loads(await asyncio.to_thread(sys.stdin.readline))
    ends = Endpoints(told["primary"], (), told["redis"])
    await (write_items if contestant == "repocache" else publish)(ends, told["seconds"])


async def write_items(ends: Endpoints, seconds: float) -> None:
    noted, current = Round({}, {}), 0
    async with database(ends, Items) as db:
        records = db._started.cache.shared.records
        change = records.change

        def timed(what: Change, terms: CallerHistory) -> Awaitable[Receipt]:
            noted.published.setdefault(current, time.monotonic())
            return change(what, terms)

        records.change = timed  # type: ignore[method-assign,assignment]
        async for number in paced(seconds):
            current = number
            async with db.unit_of_work() as work:
                (await work[Items].require(number)).stock += 1
                noted.began[number] = time.monotonic()
                await work.commit()
    print(msgspec.json.encode(noted).decode(), flush=True)


async def publish(ends: Endpoints, seconds: float) -> None:
    noted = Round({}, {})
    async with redis.asyncio.Redis.from_url(ends.redis) as client:
        await client.publish(CHANNEL, "0")
        async for number in paced(seconds):
            noted.began[number] = noted.published[number] = time.monotonic()
            await client.publish(CHANNEL, str(number))
    print(msgspec.json.encode(noted).decode(), flush=True)


async def paced(seconds: float) -> AsyncIterator[int]:
    """One row after the other, from the word on stdin until the time is over."""
    print("connected", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    until = time.monotonic() + seconds
    for number in range(ITEMS):
        if time.monotonic() > until and number > 1:  # a figure needs two, however slow
            return
        yield number
        await asyncio.sleep(random.uniform(*PAUSE))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--writer"]:
        asyncio.run(write(sys.argv[2]))
    else:
        run(benchmark)
