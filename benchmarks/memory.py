"""What a row takes of this process's memory, and whether a day's work leaves anything behind.

    python3 dev.py benchmark memory

Bytes a row of eleven columns as the interpreter counts them, in L1 and in what people use in its
place. Then churn: rows are read, written and pushed out of a small L1 for `--minutes`; the number
of objects that the collector knows, and the process's resident memory, at each tenth of it.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import gc
import random
import time
import tracemalloc
from collections.abc import Callable, MutableMapping
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks._shop import Card, User, Users, fill, servers
from repocache import Database, OutboxMode, Settings
from repocache.cache.entry import CachedRow
from repocache.cache.local_store import LocalStore
from repocache.events import ignore
from repocache.mapping.plan import EntityPlan

COUNT = 20_000
ROWS = 5_000
KEPT = 1_000
CALLERS = 16
WRITES = 0.1
DAY = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)

Keep = Callable[[int, tuple[Any, ...]], None]


def row(n: int) -> tuple[Any, ...]:
    """As a decoder makes it: nothing is shared with another row but small numbers."""
    texts = f"Ada Lovelace {n}", f"ada{n}@example.org", f"she writes {n} " * 10
    name, email, about = texts
    day = DAY + datetime.timedelta(seconds=n)
    return (10**6 + n, name, email, n % 90, True, n / 7, f"GB{n}", f"L{n}", day, 10**6 - n, about)


def l1(*, view: bool) -> Keep:
    """`view`: each row has one, as after a `card.get`."""
    store = LocalStore(COUNT, 1 << 40, time.monotonic)
    card = EntityPlan.of(User, "user").view(Card)

    def keep(n: int, values: tuple[Any, ...]) -> None:
        cached = CachedRow(values)
        store.put(("user", values[0]), cached, n % 1024, 3600.0, cached.size)
        if view:
            cached.shapes[Card] = card(values)

    return keep


def entities(kept: MutableMapping[Any, Any]) -> Keep:
    make = EntityPlan.of(User, "user").entity

    def keep(_: int, values: tuple[Any, ...]) -> None:
        kept[f"user:{values[0]}"] = make(values)

    return keep


def structs(kept: MutableMapping[Any, Any]) -> Keep:
    module = import_module("benchmarks._shop")

    def keep(_: int, values: tuple[Any, ...]) -> None:
        kept[f"user:{values[0]}"] = module.Row(*values)

    return keep


def timed() -> MutableMapping[Any, Any]:
    made: MutableMapping[Any, Any] = import_module("cachetools").TTLCache(COUNT, 3600)
    return made


CONTESTANTS: dict[str, Callable[[], Keep]] = {
    "repocache L1": lambda: l1(view=False),
    "repocache L1, with a view of each": lambda: l1(view=True),
    "dict of SQLAlchemy entities": lambda: entities({}),
    "cachetools TTLCache of entities": lambda: entities(timed()),
    "cachetools TTLCache of structs": lambda: structs(timed()),
}


def bytes_a_row(contestant: Callable[[], Keep]) -> float:
    gc.collect()
    tracemalloc.start()
    keep = contestant()
    begun = tracemalloc.get_traced_memory()[0]
    for n in range(COUNT):
        keep(n, row(n))
    gc.collect()
    used = tracemalloc.get_traced_memory()[0] - begun
    tracemalloc.stop()
    return used / COUNT


def resident() -> float:
    """Megabytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


class Churn:
    """Readers and writers over more rows than L1 has room for. `calls`: so far."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._draw = random.Random(7)
        self.calls = 0

    async def step(self) -> None:
        """One read, or one write."""
        id = int(self._draw.random() ** 2 * ROWS)
        if self._draw.random() >= WRITES:
            await self._db[Users].get(id)
        else:
            async with self._db.unit_of_work() as work:
                (await work[Users].require(id)).visits += 1
                await work.commit()
        self.calls += 1

    async def run(self, until: float) -> None:
        """`CALLERS` at once. `until`: monotonic seconds."""

        async def caller() -> None:
            while time.monotonic() < until:
                await self.step()

        await asyncio.gather(*(caller() for _ in range(CALLERS)))


async def churn(minutes: float) -> None:
    print(f"\n{'churn':>8}{'calls':>10}{'objects':>10}{'resident MB':>14}")
    with servers() as running:
        ends = await fill(running, ROWS)
        settings = Settings(local_entries=KEPT, outbox=OutboxMode.OFF, observe=ignore)
        async with Database(
            primary=ends.primary,
            replicas=ends.replicas,
            redis=ends.redis,
            repositories=[Users],
            settings=settings,
        ) as db:
            work, begun = Churn(db), time.monotonic()
            for tenth in range(1, 11):
                await work.run(begun + tenth * 6 * minutes)
                gc.collect()
                objects = len(gc.get_objects())
                at = f"{6 * minutes * tenth:6.0f} s"
                print(f"{at:>8}{work.calls:10,}{objects:10,}{resident():14.1f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--quick", action="store_true", help="six seconds of churn")
    options = parser.parse_args()
    print(f"{'':40}{'bytes a row':>12}")
    for name, contestant in CONTESTANTS.items():
        print(f"{name:40}{bytes_a_row(contestant):12,.0f}")
    asyncio.run(churn(0.1 if options.quick else options.minutes))


if __name__ == "__main__":
    main()
