"""Who reads rows that no cache has: ours through the whole fenced path, the others by primary key,
each call for itself; and cache-aside by hand over every client."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib import import_module

import asyncpg
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from benchmarks._clients import PEERS
from benchmarks._harness import Call, Open
from benchmarks._shop import POOL, Row, User, Users, database, plain_engine, row_of
from repocache import Database
from repocache.testing import Endpoints

ROWS = 60_000
OURS = "repocache: users.get"
ALONE = "repocache without Redis"
PAST = "repocache: users.on_primary().get"
SESSION = "AsyncSession.get"
ASYNCPG = "asyncpg pool.fetchrow"
ALCHEMY = "advanced-alchemy repository.get"


def plain(ends: Endpoints) -> dict[str, Open]:
    """Those without a cache."""
    return {
        SESSION: partial(session_get, ends),
        ALCHEMY: partial(advanced_alchemy, ends),
        ASYNCPG: partial(fetchrow, ends),
    }


def asides(ends: Endpoints, crowd: int) -> dict[str, Open]:
    """The textbook: get, else `AsyncSession.get` and set, over each client, with connections for so
    many callers."""
    return {f"{name}, {SESSION}": partial(aside, ends, name, crowd) for name in PEERS}


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
async def pool(ends: Endpoints) -> AsyncIterator[asyncpg.Pool]:
    dsn = make_url(ends.primary).set(drivername="postgresql").render_as_string(hide_password=False)
    async with asyncpg.create_pool(dsn, min_size=POOL, max_size=POOL) as opened:
        yield opened


@asynccontextmanager
async def fetchrow(ends: Endpoints) -> AsyncIterator[Call]:
    async with pool(ends) as opened:

        async def get(number: int) -> object:
            return await opened.fetchrow("SELECT * FROM users WHERE id = $1", number)

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
async def aside(ends: Endpoints, name: str, crowd: int) -> AsyncIterator[Call]:
    """Under keys that nobody has asked for."""
    prefix = f"aside:{secrets.token_hex(4)}"
    async with PEERS[name](ends) as peer, session_get(ends) as load:

        async def get(number: int) -> Row:
            key = f"{prefix}:{number}"
            found = await peer.get(key)
            if found is None:
                user = await load(number)
                assert isinstance(user, User)
                found = row_of(user)
                await peer.put(key, found)
            return found

        await asyncio.gather(*map(get, range(ROWS - crowd, ROWS)))
        yield get
