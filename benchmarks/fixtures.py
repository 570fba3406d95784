"""What a database of its own costs a test, each way that `repocache.testing` has or might have.

    python3 dev.py benchmark fixtures

A call is one test: it gets a database with three empty tables, on a primary, two replicas and
Redis, commits a row, and gives it back; with a `Database` it also enters it, writes and reads by
it, and leaves it. Every way waits for its replicas. How many milliseconds that is depends on the
machine, how many times another way's does not.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from functools import partial

from benchmarks._harness import Bar, Call, Effort, Load, Open, interleave, run, under
from benchmarks._shop import Base, Items, servers
from benchmarks._shop import Item as Row
from repocache import Database, Settings
from repocache.events import ignore
from repocache.testing import Endpoints, Servers, memory, template_database
from repocache.testing.copies import Copies
from repocache.testing.topology import fresh_endpoints

RESTORED = "rows put back (the fixtures)"
COPIED = "a new copy of the template"
TRUNCATED = "TRUNCATE"
WITH = "rows put back, and a Database"
MEMORY = "memory(), a Database too"
MOST = 100_000
"""Microseconds that a test may pay for its Database."""
ROW = "INSERT INTO items VALUES (7, 7)"
QUIET = Settings(observe=ignore)

Give = Callable[[], AbstractContextManager[Endpoints]]


@contextmanager
def truncated(running: Servers, name: str) -> Iterator[Endpoints]:
    """One database for all tests, emptied before each."""
    running.redis.clear()
    running.primary.sql("TRUNCATE users, items, prices RESTART IDENTITY CASCADE", name)
    running.catch_up()
    yield running.endpoints(name)


def plain(running: Servers, give: Give) -> Open:
    """A test that asks for addresses."""

    def test() -> None:
        with give() as ends:
            running.primary.sql(ROW, ends.primary.rpartition("/")[2])

    @asynccontextmanager
    async def opened() -> AsyncIterator[Call]:
        async def call(_: int) -> None:
            await asyncio.to_thread(test)

        await call(0)  # whoever uses databases again has one
        yield call

    return opened


@asynccontextmanager
async def with_database(give: Give) -> AsyncIterator[Call]:
    """A test that asks for a `Database`."""

    async def call(_: int) -> None:
        given = give()
        ends = await asyncio.to_thread(given.__enter__)
        await use(
            Database(
                ends.primary,
                replicas=ends.replicas,
                redis=ends.redis,
                repositories=[Items],
                settings=QUIET,
            )
        )
        await asyncio.to_thread(given.__exit__, None, None, None)

    await call(0)
    yield call


@asynccontextmanager
async def in_memory() -> AsyncIterator[Call]:
    async def call(_: int) -> None:
        with memory([Items], settings=QUIET) as db:
            await use(db)

    yield call


async def use(db: Database) -> None:
    async with db, db.causal_session():
        async with db.unit_of_work() as work:
            work.add(Row(id=7, stock=7))
            await work.commit()
        assert await db[Items].get(7) is not None


async def benchmark(effort: Effort) -> None:
    with servers(replicas=2) as running, template_database(running, Base.metadata) as template:
        copies = Copies(running)
        put_back = partial(copies.endpoints, template)
        with fresh_endpoints(running, template) as ends:
            shared = ends.primary.rpartition("/")[2]
            contestants: dict[str, Open] = {
                RESTORED: plain(running, put_back),
                COPIED: plain(running, partial(fresh_endpoints, running, template)),
                TRUNCATED: plain(running, partial(truncated, running, shared)),
                WITH: partial(with_database, put_back),
                MEMORY: in_memory,
            }
            measure = under(Load(1, 10_000), 5 * effort.closed)
            table = await interleave(
                "a database for each test", contestants, measure, effort.rounds
            )
        copies.close()
        table.show(
            [
                Bar(RESTORED, COPIED, "p50", 0.5),
                Bar(RESTORED, TRUNCATED, "p50", 1.0),
                Bar(WITH, None, "p50", MOST),
                Bar(MEMORY, WITH, "p50", 0.5),
            ]
        )


if __name__ == "__main__":
    run(benchmark)
