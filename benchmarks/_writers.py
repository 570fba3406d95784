"""Who commits one row a transaction: plain, by the textbook (UPDATE, COMMIT, then DEL of the cached
row by redis-py), and ours.

Ours also leaves a row in the outbox and takes it away again, learns the commit's position, runs the
invalidation's script in Redis and clears this process.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib import import_module

from sqlalchemy import Update, text, update
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from benchmarks._clients import redis_py
from benchmarks._harness import Call, Open
from benchmarks._readers import pool
from benchmarks._shop import User, Users, database, plain_engine
from repocache import OutboxMode
from repocache.alembic_ops.ddl import create_outbox
from repocache.testing import Endpoints

ROWS = 6_400
CORE, ORM = "UPDATE and COMMIT", "get, change, COMMIT"
ASYNCPG, ALCHEMY = "asyncpg: UPDATE and COMMIT", "advanced-alchemy: get, update, COMMIT"
TEXTBOOK = "the textbook: UPDATE, COMMIT, DEL"
TEXTBOOK_ORM = "the textbook: get, change, COMMIT, DEL"
WITH, WITHOUT = "repocache: unit of work", "the same, no outbox"
INCREMENT = "UPDATE users SET visits = visits + 1 WHERE id = $1"


WANTED = {CORE: 0.6, ORM: 0.68}
"""Of the plain commit's calls, with 16 and 64 callers and the outbox."""


def forms(ends: Endpoints) -> dict[str, dict[str, Open]]:
    """The contestants of each form, the plain one first, which has the form's name."""
    off, on = OutboxMode.OFF, OutboxMode.REQUIRED
    return {
        CORE: {
            CORE: partial(plain_update, ends),
            ASYNCPG: partial(asyncpg_update, ends),
            TEXTBOOK: partial(textbook, ends),
            WITH: partial(our_update, ends, on),
            WITHOUT: partial(our_update, ends, off),
        },
        ORM: {
            ORM: partial(plain_entity, ends),
            ALCHEMY: partial(alchemy_entity, ends),
            TEXTBOOK_ORM: partial(textbook, ends, entity=True),
            WITH: partial(our_entity, ends, on),
            WITHOUT: partial(our_entity, ends, off),
        },
    }


def statement(number: int) -> Update:
    return update(User).where(User.id == number).values(visits=User.visits + 1)


async def warm(commit: Call) -> Call:
    await asyncio.gather(*map(commit, range(64)))
    return commit


async def make_outbox(ends: Endpoints) -> None:
    async with plain_engine(ends) as engine, engine.begin() as connection:
        for each in create_outbox("public", ()):
            await connection.execute(text(each))


@asynccontextmanager
async def plain_update(ends: Endpoints) -> AsyncIterator[Call]:
    async with plain_engine(ends) as engine:
        sessions = async_sessionmaker(engine, expire_on_commit=False)

        async def commit(number: int) -> None:
            async with sessions() as session:
                await session.execute(statement(number))
                await session.commit()

        yield await warm(commit)


@asynccontextmanager
async def plain_entity(ends: Endpoints) -> AsyncIterator[Call]:
    async with plain_engine(ends) as engine:
        sessions = async_sessionmaker(engine, expire_on_commit=False)

        async def commit(number: int) -> None:
            async with sessions() as session:
                user = await session.get_one(User, number)
                user.visits += 1
                await session.commit()

        yield await warm(commit)


@asynccontextmanager
async def asyncpg_update(ends: Endpoints) -> AsyncIterator[Call]:
    async with pool(ends) as opened:

        async def commit(number: int) -> None:
            async with opened.acquire() as connection, connection.transaction():
                await connection.execute(INCREMENT, number)

        yield await warm(commit)


@asynccontextmanager
async def alchemy_entity(ends: Endpoints) -> AsyncIterator[Call]:
    library = import_module("advanced_alchemy.repository")
    repository = type("Repository", (library.SQLAlchemyAsyncRepository,), {"model_type": User})
    async with plain_engine(ends) as engine:

        async def commit(number: int) -> None:
            async with AsyncSession(engine, expire_on_commit=False) as session:
                users = repository(session=session, auto_commit=True, auto_refresh=False)
                user = await users.get(number)
                user.visits += 1
                await users.update(user)

        yield await warm(commit)


@asynccontextmanager
async def textbook(ends: Endpoints, *, entity: bool = False) -> AsyncIterator[Call]:
    form = plain_entity if entity else plain_update
    async with redis_py(ends) as peer, form(ends) as plain:

        async def commit(number: int) -> None:
            await plain(number)
            await peer.drop(f"textbook:{number}")

        yield await warm(commit)


@asynccontextmanager
async def our_update(
    ends: Endpoints, outbox: OutboxMode, secrets: tuple[str, ...] = ()
) -> AsyncIterator[Call]:
    async with database(ends, Users, outbox=outbox, secrets=secrets) as db:

        async def commit(number: int) -> None:
            async with db.unit_of_work() as work:
                await work.session.execute(statement(number))
                await work.commit()

        yield await warm(commit)


@asynccontextmanager
async def our_session(ends: Endpoints, outbox: OutboxMode) -> AsyncIterator[Call]:
    async with database(ends, Users, outbox=outbox) as db:
        sessions = db.sessionmaker

        async def commit(number: int) -> None:
            async with sessions() as session:
                await session.execute(statement(number))
                await session.commit()

        yield await warm(commit)


@asynccontextmanager
async def our_entity(ends: Endpoints, outbox: OutboxMode) -> AsyncIterator[Call]:
    async with database(ends, Users, outbox=outbox) as db:

        async def commit(number: int) -> None:
            async with db.unit_of_work() as work:
                user = await work[Users].require(number)
                user.visits += 1
                await work.commit()

        yield await warm(commit)
