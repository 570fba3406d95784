"""Misses that the database answers, beside other ways to read a row by its id.

    python3 dev.py benchmark misses

Ours are cold keys through the whole fenced path: GET, lease, `= ANY` for all misses of the moment, fill. The others cache
nothing. 256 callers in a closed loop and, since that flatters batching, 64 callers that think 20 to 60 ms.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module

import asyncpg
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncSession

from benchmarks._harness import Bar, Call, Effort, Load, Open, as_it_is, interleave, run, under
from benchmarks._shop import POOL, SharedUsers, User, database, fill, plain_engine, servers
from repocache.testing import Endpoints, Servers

ROWS = 60_000
OURS = "repocache: users.get, cold"
SESSION = "AsyncSession.get"
ASYNCPG = "asyncpg fetchrow"
IDLE = "idle loop"


def contestants(running: Servers, ends: Endpoints) -> dict[str, Open]:
    @asynccontextmanager
    async def ours() -> AsyncIterator[Call]:
        """Every call takes a row that nobody has asked for yet."""
        running.redis.clear()
        fresh = itertools.count(256)
        async with database(ends, SharedUsers) as db:
            users = db[SharedUsers]
            await users.get_many(range(256))

            async def get(_: int) -> object:
                return await users.get(next(fresh) % ROWS)

            yield get

    @asynccontextmanager
    async def session() -> AsyncIterator[Call]:
        async with plain_engine(ends) as engine:

            async def get(number: int) -> object:
                async with AsyncSession(engine) as opened:
                    return await opened.get(User, number)

            yield get

    @asynccontextmanager
    async def advanced_alchemy() -> AsyncIterator[Call]:
        base = import_module("advanced_alchemy.repository").SQLAlchemyAsyncRepository

        class UserRepository(base):  # type: ignore[misc,valid-type]  # not installed where this is checked
            model_type = User

        async with plain_engine(ends) as engine:

            async def get(number: int) -> object:
                async with AsyncSession(engine) as opened:
                    return await UserRepository(session=opened).get(number)

            await get(0)
            yield get

    @asynccontextmanager
    async def driver() -> AsyncIterator[Call]:
        dsn = make_url(ends.primary).set(drivername="postgresql").render_as_string(hide_password=False)
        async with asyncpg.create_pool(dsn, min_size=POOL, max_size=POOL) as pool:

            async def get(number: int) -> object:
                return await pool.fetchrow("SELECT * FROM users WHERE id = $1", number)

            yield get

    return {SESSION: session, OURS: ours, ASYNCPG: driver, "advanced-alchemy get": advanced_alchemy}


async def sleep_only(_: int) -> None:
    """What the callers' own sleeping costs."""


async def benchmark(effort: Effort) -> None:
    with servers() as running:
        ends = await fill(running, ROWS)
        everyone = contestants(running, ends)
        closed = under(Load(256, ROWS), effort.closed)
        table = await interleave("database miss, 256 callers, closed loop", everyone, closed, effort.rounds)
        table.show((Bar(OURS, SESSION, "calls", 20, at_least=True), Bar(OURS, ASYNCPG, "calls", 6, at_least=True)))
        thinking = under(Load(64, ROWS, think=(0.02, 0.06)), effort.thinking)
        some = {IDLE: as_it_is(sleep_only), **{name: everyone[name] for name in (SESSION, OURS, ASYNCPG)}}
        table = (await interleave("database miss, 64 callers with think time", some, thinking, effort.rounds)).without(IDLE)
        table.show((Bar(OURS, SESSION, "cpu", 0.5),))


if __name__ == "__main__":
    run(benchmark)
