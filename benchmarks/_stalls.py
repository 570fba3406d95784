"""Calls that take many rows at once, as contestants: a bulk UPDATE that returns its ids, and the
reading of many rows by their ids."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib import import_module
from typing import Any

import redis.asyncio
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from benchmarks._clients import decode, encode
from benchmarks._harness import Bar, Call, Open
from benchmarks._prepared import Prepared
from benchmarks._readers import pool
from benchmarks._shop import (
    Item,
    Items,
    SharedUsers,
    User,
    Users,
    database,
    plain_engine,
    row_of,
)
from repocache import Database, OutboxMode
from repocache.testing import Endpoints

OURS = "repocache: unit of work"
L1, L2, MISS = (f"repocache: users.get_many, {tier}" for tier in ("L1", "L2", "a miss"))
BULK_BARS = (Bar(OURS, None, "turn", 50),)
MANY_BARS = tuple(Bar(each, None, "turn", 25) for each in (L1, L2, MISS))
RETURNING = update(Item).values(stock=Item.stock + 1).returning(Item.id)
KEPT = 10_000
"""Rows of the table that L1 has before it is updated."""
CHUNK = 1_000
"""Keys of one DEL."""


def bulks(ends: Endpoints) -> dict[str, Open]:
    return {
        "SQLAlchemy": partial(plain_bulk, ends),
        "asyncpg connection.fetch": partial(asyncpg_bulk, ends),
        "the textbook: SQLAlchemy, DEL": partial(textbook_bulk, ends),
        OURS: partial(our_bulk, ends),
    }


@asynccontextmanager
async def plain_bulk(ends: Endpoints) -> AsyncIterator[Call]:
    async with plain_engine(ends) as engine:
        sessions = async_sessionmaker(engine)

        async def write(_: int) -> Any:
            async with sessions() as session, session.begin():
                connection = await session.connection()
                return (await connection.execute(RETURNING)).scalars().all()

        yield write


@asynccontextmanager
async def asyncpg_bulk(ends: Endpoints) -> AsyncIterator[Call]:
    async with pool(ends) as opened:

        async def write(_: int) -> None:
            async with opened.acquire() as connection, connection.transaction():
                await connection.fetch("UPDATE items SET stock = stock + 1 RETURNING id")

        yield write


@asynccontextmanager
async def textbook_bulk(ends: Endpoints) -> AsyncIterator[Call]:
    async with redis.asyncio.Redis.from_url(ends.redis) as client, plain_bulk(ends) as plain:

        async def write(_: int) -> None:
            ids: Any = await plain(0)
            for first in range(0, len(ids), CHUNK):
                await client.delete(*(f"item:{each}" for each in ids[first : first + CHUNK]))

        yield write


@asynccontextmanager
async def our_bulk(ends: Endpoints) -> AsyncIterator[Call]:
    async with database(ends, Items, outbox=OutboxMode.REQUIRED) as db:

        async def write(_: int) -> object:
            async with db.unit_of_work() as work:
                connection = await work.session.connection()
                ids = (await connection.execute(RETURNING)).scalars().all()
                await work.commit()
                return ids

        yield Prepared(partial(db[Items].get_many, range(KEPT)), write)


def reads(ends: Endpoints, many: int) -> dict[str, Open]:
    """Of so many users at once."""
    ids = range(many)
    return {
        "SELECT by SQLAlchemy": partial(plain_select, ends, ids),
        "asyncpg connection.fetch": partial(asyncpg_select, ends, ids),
        "advanced-alchemy repository.list": partial(alchemy_list, ends, ids),
        "MGET by redis-py, decoded": partial(mget, ends, ids),
        L1: partial(near, ends, ids),
        L2: partial(shared, ends, ids),
        MISS: partial(missed, ends, ids),
    }


@asynccontextmanager
async def plain_select(ends: Endpoints, ids: range) -> AsyncIterator[Call]:
    async with plain_engine(ends) as engine:
        sessions = async_sessionmaker(engine, expire_on_commit=False)

        async def read(_: int) -> Any:
            async with sessions() as session:
                return (await session.scalars(select(User).where(User.id.in_(ids)))).all()

        await read(0)
        yield read


@asynccontextmanager
async def asyncpg_select(ends: Endpoints, ids: range) -> AsyncIterator[Call]:
    async with pool(ends) as opened:

        async def read(_: int) -> object:
            return await opened.fetch("SELECT * FROM users WHERE id = ANY($1)", list(ids))

        await read(0)
        yield read


@asynccontextmanager
async def alchemy_list(ends: Endpoints, ids: range) -> AsyncIterator[Call]:
    library = import_module("advanced_alchemy.repository")
    repository = type("Repository", (library.SQLAlchemyAsyncRepository,), {"model_type": User})
    async with plain_engine(ends) as engine:

        async def read(_: int) -> object:
            async with AsyncSession(engine, expire_on_commit=False) as session:
                return await repository(session=session).list(User.id.in_(ids))

        await read(0)
        yield read


@asynccontextmanager
async def mget(ends: Endpoints, ids: range) -> AsyncIterator[Call]:
    keys = [f"many:{id}" for id in ids]
    async with redis.asyncio.Redis.from_url(ends.redis) as client:
        async with plain_select(ends, ids) as select_all:
            users: Any = await select_all(0)
        await client.mset({f"many:{user.id}": encode(row_of(user)) for user in users})

        async def read(_: int) -> object:
            found: list[Any] = await client.mget(keys)
            return [decode(each) for each in found]

        yield read


@asynccontextmanager
async def near(ends: Endpoints, ids: range) -> AsyncIterator[Call]:
    async with database(ends, Users) as db:
        await db[Users].get_many(ids)
        yield reading(db, Users, ids)


@asynccontextmanager
async def shared(ends: Endpoints, ids: range) -> AsyncIterator[Call]:
    async with database(ends, SharedUsers) as db:
        await db[SharedUsers].get_many(ids)
        yield reading(db, SharedUsers, ids)


@asynccontextmanager
async def missed(ends: Endpoints, ids: range) -> AsyncIterator[Call]:
    async with database(ends, Users) as db:
        users = db[Users]
        await users.get_many(ids)

        async def forget() -> None:
            async with db.unit_of_work() as work:
                work.changes(Users)
                await work.commit()

        yield Prepared(forget, reading(db, Users, ids))


def reading(db: Database, kind: type[Users | SharedUsers], ids: range) -> Call:
    async def read(_: int) -> object:
        return await db[kind].get_many(ids)

    return read
