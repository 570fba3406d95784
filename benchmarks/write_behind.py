"""Increments of counters: written behind, beside `UPDATE ... SET n = n + 1`.

    python3 dev.py benchmark write_behind

On a PostgreSQL with fsync. Ours is flushed while it is measured, by the same process; what is left
then is flushed before the next contestant, and has to be all that was accepted.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from sqlalchemy import func, select, text

from benchmarks._harness import Bar, Call, Effort, Load, Open, interleave, run, under
from benchmarks._readers import pool
from benchmarks._shop import User, fill, plain_engine, servers
from benchmarks._writers import CORE, INCREMENT, ROWS, asyncpg_update, plain_update, warm
from repocache import Database, Flush, KeyOwner, Settings, WriteBehind
from repocache.alembic_ops.ddl import create_write_behind
from repocache.events import ignore
from repocache.testing import Endpoints

FEW = 16
"""Rows that all callers add to."""
OURS, ASYNCPG = "repocache: add", "asyncpg: UPDATE and COMMIT"
ALONE = "asyncpg: UPDATE alone"
WANTED = 20.0
"""Of the increments a second of an UPDATE in a transaction."""


class Visits(WriteBehind[User, int]):
    """The benchmark's counter."""

    owner = KeyOwner("visits")
    flush = Flush(every=0.5, most=5_000)


@asynccontextmanager
async def behind(ends: Endpoints) -> AsyncIterator[Call]:
    before, added = await total(ends), 0
    async with Database(
        ends.primary, redis=ends.redis, repositories=[Visits], settings=Settings(observe=ignore)
    ) as db:
        visits = db[Visits]

        async def add(number: int) -> None:
            nonlocal added
            await visits.add(number, visits=1)
            added += 1

        yield await warm(add)
        await visits.flushed()
    found = await total(ends) - before
    if found != added:
        raise AssertionError(f"{found} increments of {added} are in the database")


@asynccontextmanager
async def autocommitted(ends: Endpoints) -> AsyncIterator[Call]:
    async with pool(ends) as opened:

        async def commit(number: int) -> None:
            async with opened.acquire() as connection:
                await connection.execute(INCREMENT, number)

        yield await warm(commit)


@asynccontextmanager
async def among(contestant: Open, rows: int) -> AsyncIterator[Call]:
    """All callers share so many rows."""
    async with contestant() as call:
        yield lambda number: call(number % rows)


async def total(ends: Endpoints) -> int:
    async with plain_engine(ends) as engine, engine.connect() as connection:
        return int((await connection.execute(select(func.sum(User.visits)))).scalar_one())


async def benchmark(effort: Effort) -> None:
    with servers(durable=True) as running:
        ends = await fill(running, ROWS)
        async with plain_engine(ends) as engine, engine.begin() as connection:
            for each in create_write_behind("public", ()):
                await connection.execute(text(each))
        contestants: dict[str, Open] = {
            CORE: partial(plain_update, ends),
            ASYNCPG: partial(asyncpg_update, ends),
            ALONE: partial(autocommitted, ends),
            OURS: partial(behind, ends),
        }
        for rows in (ROWS, FEW):
            table = await interleave(
                f"increments of {rows:,} rows, {effort.crowd} callers in a closed loop",
                {name: partial(among, each, rows) for name, each in contestants.items()},
                under(Load(effort.crowd, ROWS), max(0.5, 3 * effort.closed)),
                effort.rounds,
            )
            table.show([Bar(OURS, CORE, "calls", WANTED, at_least=True)])


if __name__ == "__main__":
    run(benchmark)
