"""Misses: rows that no cache has, through the whole fenced path, beside reading the database
directly.

    python3 dev.py benchmark misses

A miss of repocache takes a lease, reads the row in one statement with the others of its moment, and
fills Redis and this process; before each round its whole owner is invalidated, so that every row is
cold. The others read by primary key, each call for itself. No two callers ask for one row. With
think time each caller sleeps between calls, and the CPU of sleeping is taken off.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib import import_module

import asyncpg
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from benchmarks._harness import Bar, Call, Effort, Load, Open, interleave, run, under
from benchmarks._shop import POOL, User, Users, database, fill, plain_engine, servers
from repocache import Database
from repocache.testing import Endpoints

ROWS = 60_000
OURS = "repocache: users.get"
ALONE = "repocache without Redis"
PAST = "repocache: users.on_primary().get"
SESSION = "AsyncSession.get"
ASYNCPG = "asyncpg pool.fetchrow"


@asynccontextmanager
async def cold(ends: Endpoints) -> AsyncIterator[Call]:
    """Connected, and with every record known, but no row in any cache."""
    async with database(ends, Users) as db:
        users = db[Users]
        await asyncio.gather(*map(users.get, range(ROWS - 4_096, ROWS)))
        async with db.unit_of_work() as work:
            work.changes(Users)
            await work.commit()
        await asyncio.sleep(0.3)  # the replica has replayed that, and its next sample says so
        yield users.get


@asynccontextmanager
async def alone(ends: Endpoints) -> AsyncIterator[Call]:
    async with Database(primary=ends.primary, replicas=ends.replicas, repositories=[Users]) as db:
        users = db[Users]
        await asyncio.gather(*map(users.get, range(ROWS - 256, ROWS)))
        yield users.get


@asynccontextmanager
async def on_primary(ends: Endpoints) -> AsyncIterator[Call]:
    async with database(ends, Users) as db:
        users = db[Users].on_primary()
        await asyncio.gather(*map(users.get, range(256)))
        yield users.get


@asynccontextmanager
async def session_get(ends: Endpoints) -> AsyncIterator[Call]:
    async with plain_engine(ends) as engine:
        sessions = async_sessionmaker(engine, expire_on_commit=False)

        async def get(number: int) -> User | None:
            async with sessions() as session:
                return await session.get(User, number)

        await asyncio.gather(*map(get, range(64)))
        yield get


@asynccontextmanager
async def fetchrow(ends: Endpoints) -> AsyncIterator[Call]:
    dsn = make_url(ends.primary).set(drivername="postgresql").render_as_string(hide_password=False)
    async with asyncpg.create_pool(dsn, min_size=POOL, max_size=POOL) as pool:

        async def get(number: int) -> object:
            return await pool.fetchrow("SELECT * FROM users WHERE id = $1", number)

        await asyncio.gather(*map(get, range(64)))
        yield get


@asynccontextmanager
async def advanced_alchemy(ends: Endpoints) -> AsyncIterator[Call]:
    library = import_module("advanced_alchemy.repository")
    repository = type("Repository", (library.SQLAlchemyAsyncRepository,), {"model_type": User})
    async with plain_engine(ends) as engine:

        async def get(number: int) -> object:
            async with AsyncSession(engine, expire_on_commit=False) as session:
                return await repository(session=session).get(number)

        await asyncio.gather(*map(get, range(64)))
        yield get


@asynccontextmanager
async def nothing() -> AsyncIterator[Call]:
    async def call(_: int) -> None:
        pass

    yield call


async def benchmark(effort: Effort) -> None:
    with servers() as running:
        ends = await fill(running, ROWS)
        contestants: dict[str, Open] = {
            SESSION: partial(session_get, ends),
            "advanced-alchemy repository.get": partial(advanced_alchemy, ends),
            ASYNCPG: partial(fetchrow, ends),
            PAST: partial(on_primary, ends),
            ALONE: partial(alone, ends),
            OURS: partial(cold, ends),
        }
        table = await interleave(
            "database miss, 256 callers in a closed loop",
            contestants,
            under(Load(256, ROWS, once=True), effort.closed),
            effort.rounds,
        )
        table.show(
            (
                Bar(OURS, SESSION, "calls", 20, at_least=True),
                Bar(OURS, ASYNCPG, "calls", 6, at_least=True),
            )
        )
        few = {"idle": nothing} | {name: contestants[name] for name in (SESSION, ASYNCPG, OURS)}
        for think in ((0.02, 0.06), (0.1, 0.3)):
            low, high = (round(each * 1000) for each in think)
            table = await interleave(
                (
                    f"database miss, 64 callers that think for {low} to {high} ms, CPU above the "
                    "idle loop"
                ),
                few,
                under(Load(64, ROWS, think, once=True), effort.thinking),
                effort.rounds,
            )
            table.without("idle").show((Bar(OURS, SESSION, "cpu", 0.5),))


if __name__ == "__main__":
    run(benchmark)
