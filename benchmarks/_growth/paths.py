"""The main paths, ours and those of people without the library, over the rows of a place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import redis.asyncio
from sqlalchemy.ext.asyncio import async_sessionmaker

from benchmarks._growth.place import Place
from benchmarks._harness import Call
from benchmarks._shop import POOL_WAIT, database, plain_engine
from repocache import Database, OutboxMode
from repocache.testing import Endpoints

MOST = 4_096
"""Rows that warm a contestant up: enough to meet all 1,024 records of buckets."""
AT_ONCE = 1_000
CONNECTIONS = 2_048
GET, SESSION, UPDATE = "redis-py GET", "AsyncSession.get", "UPDATE and COMMIT"
HIT, MISS, COMMIT = "L2 hit", "miss", "commit"

encode = msgspec.msgpack.encode


def name_of(place: Place, number: int) -> str:
    """Of the peer's key in Redis."""
    return f"peer:{place.models[place.owner(number)].__tablename__}:{place.id(number)}"


def getter(db: Database, place: Place) -> Call:
    """Reads the row of a number."""
    gets = [db[each].get for each in place.repositories]
    return lambda number: gets[place.owner(number)](place.id(number))


@asynccontextmanager
async def our_hits(ends: Endpoints, place: Place) -> AsyncIterator[Call]:
    """From Redis, where `fill` has put all of it, or this does."""
    async with database(ends, *place.repositories) as db:
        get = getter(db, place)
        await warmed(get, place)
        yield get


@asynccontextmanager
async def redis_get(ends: Endpoints, place: Place, row: type[Any]) -> AsyncIterator[Call]:
    """A client's GET, and the row decoded."""
    decode = msgspec.msgpack.Decoder(row).decode
    async with redis.asyncio.Redis.from_url(ends.redis, max_connections=CONNECTIONS) as client:

        async def get(number: int) -> object:
            found: Any = await client.get(name_of(place, number))
            return decode(found)

        await warmed(get, place)
        yield get


@asynccontextmanager
async def our_misses(ends: Endpoints, place: Place) -> AsyncIterator[Call]:
    """Connected, and with records known, but no row in any cache."""
    async with database(ends, *place.repositories) as db:
        get = getter(db, place)
        await warmed(get, place)
        async with db.unit_of_work() as work:
            for each in place.repositories:
                work.changes(each)
            await work.commit()
        await asyncio.sleep(0.3)  # the replicas have replayed that, and their next samples say so
        yield get


@asynccontextmanager
async def session_get(ends: Endpoints, place: Place) -> AsyncIterator[Call]:
    async with plain_engine(ends) as engine:
        sessions = async_sessionmaker(engine, expire_on_commit=False)

        async def get(number: int) -> object:
            async with sessions() as session:
                return await session.get(place.models[place.owner(number)], place.id(number))

        await asyncio.gather(*map(get, range(min(64, place.numbers))))
        yield get


@asynccontextmanager
async def our_commits(ends: Endpoints, place: Place) -> AsyncIterator[Call]:
    """With the outbox."""
    opening = database(ends, *place.repositories, outbox=OutboxMode.REQUIRED, pool_wait=POOL_WAIT)
    async with opening as db:

        async def commit(number: int) -> None:
            async with db.unit_of_work() as work:
                await work.session.execute(place.statement(number))
                await work.commit()

        await asyncio.gather(*map(commit, range(min(64, place.numbers))))
        yield commit


@asynccontextmanager
async def plain_commits(ends: Endpoints, place: Place) -> AsyncIterator[Call]:
    async with plain_engine(ends) as engine:
        sessions = async_sessionmaker(engine, expire_on_commit=False)

        async def commit(number: int) -> None:
            async with sessions() as session:
                await session.execute(place.statement(number))
                await session.commit()

        await asyncio.gather(*map(commit, range(min(64, place.numbers))))
        yield commit


async def warmed(get: Call, place: Place) -> None:
    """Connections and records are known. All that are read must be there."""
    most = min(MOST, place.numbers)
    for first in range(0, most, 256):
        found = await asyncio.gather(*map(get, range(first, min(first + 256, most))))
        if None in found:
            raise LookupError(f"no value for number {first + found.index(None)}")


async def fill_redis(ends: Endpoints, place: Place) -> None:
    """All rows of the place, as the library keeps them. Twice, since an answer comes before its row
    is in Redis, and without it."""
    async with database(ends, *place.repositories) as db:
        for each in 2 * place.repositories:
            for first in range(place.begin, place.begin + place.count, AT_ONCE):
                last = min(first + AT_ONCE, place.begin + place.count)
                await db[each].get_many(range(first, last))


async def put(
    ends: Endpoints, numbers: Sequence[int], place: Place, row: Callable[[int], Any]
) -> None:
    """What the peer's client finds: the rows of these numbers. `row`: of an id."""
    async with redis.asyncio.Redis.from_url(ends.redis) as client:
        for first in range(0, len(numbers), AT_ONCE):
            some = numbers[first : first + AT_ONCE]
            pairs = {name_of(place, each): encode(row(place.id(each))) for each in some}
            await client.mset(pairs)
