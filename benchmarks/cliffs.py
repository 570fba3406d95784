"""What one call may cost everybody else: the longest turn of the event loop while it runs.

    python3 dev.py benchmark cliffs

Milliseconds of this thread's CPU between two turns of the loop, which other programs on the machine
do not lengthen; the median of the rounds. What Python's collector takes in a turn is not counted,
but stands beside it: it goes through all that the process holds, whoever made it (`gc.freeze()`
after the start is an application's own). Then the whole call, and the peak of memory. `plain` is
the same with SQLAlchemy alone.
"""

from __future__ import annotations

import asyncio
import gc
import resource
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from sqlalchemy import bindparam, delete, insert, select, text, update
from sqlalchemy.ext.asyncio import async_sessionmaker

from benchmarks._harness import Effort, run
from benchmarks._shop import Item, Items, SharedUsers, User, Users, database, fill, plain_engine
from benchmarks._shop import servers as started
from benchmarks._turns import Turns
from repocache import Database
from repocache.cache.local_store import LocalStore
from repocache.testing import Endpoints

MANY = 10_000
ROWS = 100_000
ENTRIES = 1_000_000
CALLERS = 1_024
ALLOWED = 25.0
"""Milliseconds of a turn that a call of more than one command may take."""

Work = Callable[[], Awaitable[object]]


async def measured(name: str, rounds: int, prepare: Work, work: Work) -> float:
    """One row; the longest turn."""
    turns: list[float] = []
    pauses: list[float] = []
    seconds: list[float] = []
    for _ in range(rounds):
        await prepare()
        await asyncio.sleep(0)
        began = time.perf_counter()
        with Turns() as found:
            await work()
            await asyncio.sleep(0)
        seconds.append(time.perf_counter() - began)
        turns.append(found.longest)
        pauses.append(found.collector)
    longest = statistics.median(turns)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    pause, took = statistics.median(pauses), 1000 * statistics.median(seconds)
    print(f"{name:46} {longest:8.1f} {pause:10.1f} {took:10.0f} {peak:8.0f}")
    return longest


async def nothing() -> None:
    """Nothing is to be prepared."""


@asynccontextmanager
async def reading(ends: Endpoints, *, near: bool) -> AsyncIterator[tuple[Database, Work]]:
    """A database whose cache has `MANY` users, and what reads them all."""
    kind = Users if near else SharedUsers
    async with database(ends, kind) as db:
        users = db[kind]

        async def read() -> object:
            return await users.get_many(range(MANY))

        yield db, read


async def forgotten(db: Database) -> None:
    """Nothing of the users is in the cache."""
    async with db.unit_of_work() as work:
        work.changes(SharedUsers)
        await work.commit()


async def reads(ends: Endpoints, rounds: int) -> list[float]:
    found = []
    async with plain_engine(ends) as engine:
        made = async_sessionmaker(engine, expire_on_commit=False)

        async def plain() -> object:
            async with made() as session:
                wanted = select(User).where(User.id.in_(range(MANY)))
                return (await session.scalars(wanted)).all()

        await measured(f"select of {MANY:,}, plain", rounds, nothing, plain)
    for near in (False, True):
        async with reading(ends, near=near) as (db, read):
            if not near:
                forget = partial(forgotten, db)
                found.append(await measured(f"get_many({MANY:,}), a miss", rounds, forget, read))
            await read()
            tier = "L1" if near else "L2"
            found.append(await measured(f"get_many({MANY:,}), {tier}", rounds, nothing, read))
    async with reading(ends, near=False) as (db, read):
        await read()

        async def one_each() -> object:
            return await asyncio.gather(*(db[SharedUsers].get(each) for each in range(CALLERS)))

        await measured(f"get by {CALLERS:,} callers at once, L2", rounds, nothing, one_each)
    return found


EACH = [{"id": number, "stock": 1} for number in range(ROWS)]
NEW = [{"id": number, "stock": 1} for number in range(ROWS, 2 * ROWS)]
BULK: Mapping[str, tuple[Any, Any]] = {
    "UPDATE of all": (update(Item).values(stock=Item.stock + 1), None),
    "UPDATE of all, RETURNING": (update(Item).values(stock=1).returning(Item.id), None),
    "UPDATE of a list of ids": (
        update(Item).where(Item.id == bindparam("i")).values(stock=2),
        [{"i": each["id"]} for each in EACH],
    ),
    "INSERT of a list": (insert(Item), NEW),
    "DELETE of ids": (delete(Item).where(Item.id.in_(range(ROWS, ROWS + 30_000))), None),
    "DELETE of the rest": (delete(Item).where(Item.id >= ROWS), None),
}
"""Statements and what they are given; each of 100,000 rows, but for one, whose ids are parameters:
PostgreSQL takes 32,767."""


async def writes(ends: Endpoints) -> list[float]:
    """What a bulk statement costs beyond what it costs SQLAlchemy alone."""
    alone: dict[str, float] = {}
    found: list[float] = []
    async with plain_engine(ends) as engine:
        made = async_sessionmaker(engine)
        for name, (statement, rows) in BULK.items():

            async def plain(statement: Any = statement, rows: Any = rows) -> None:
                async with made() as session, session.begin():
                    connection = await session.connection()
                    await connection.execute(statement, rows)

            alone[name] = await measured(f"{name}, plain", 1, nothing, plain)
    async with database(ends, Items, Users) as db:

        async def written(statement: Any, rows: Any) -> None:
            async with db.unit_of_work() as work:
                await (await work.session.connection()).execute(statement, rows)
                await work.commit()

        for name, given in BULK.items():
            longest = await measured(name, 1, nothing, partial(written, *given))
            found.append(longest - alone[name])
        for number in range(0, ROWS, 5_000):
            await db[Items].get_many(range(number, number + 5_000))
        emptied = partial(written, text("TRUNCATE items"), None)
        found.append(await measured(f"TRUNCATE, {ROWS:,} in L1", 1, nothing, emptied))
    return found


async def stores() -> None:
    """L1 by itself: what the collector takes for it, and what it takes to empty it."""
    store = LocalStore(ENTRIES, 1 << 40, time.monotonic)
    for number in range(ENTRIES):
        store.put(("user", number), (number,), number % 1024, 3600.0, 64)
    began = time.thread_time()
    gc.collect()
    collected = time.thread_time()
    store.clear()
    cleared = time.thread_time()
    print(f"{f'collection, {ENTRIES:,} entries in L1':46} {1000 * (collected - began):8.1f}")
    print(f"{f'clear() of {ENTRIES:,} entries':46} {1000 * (cleared - collected):8.1f}")


async def benchmark(effort: Effort) -> None:
    print(f"{'':46} {'turn ms':>8} {'collector':>10} {'call ms':>10} {'peak MB':>8}")
    with started() as running:
        ends = await fill(running, MANY, ROWS)
        found = [*await reads(ends, effort.rounds), *await writes(ends)]
    await stores()
    print(f"longest turn of a call: {max(found):.0f} ms, bar {ALLOWED:.0f} ms")


if __name__ == "__main__":
    run(benchmark)
