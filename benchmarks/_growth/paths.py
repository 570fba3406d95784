"""The main paths, ours and those of people without the library, over the rows of a place."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import redis.asyncio
from sqlalchemy.ext.asyncio import async_sessionmaker

from benchmarks._growth.place import Place
from benchmarks._harness import Call, Figures, Load, Measure, under
from benchmarks._shop import POOL_WAIT, database, plain_engine
from repocache import Database, OutboxMode
from repocache.testing import Endpoints

MOST = 4_096
"""Rows that warm a contestant up: enough to meet all 1,024 records of buckets."""
AT_ONCE = 1_000
PATIENCE = 60.0
"""Seconds."""
CONNECTIONS = 2_048
WARMERS = 64
"""Callers that warm a contestant up, where no more are measured."""
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
async def our_hits(ends: Endpoints, place: Place, callers: int = WARMERS) -> AsyncIterator[Call]:
    """From Redis, where `fill_redis` has put all of it."""
    async with database(ends, *place.repositories) as db:
        get = getter(db, place)
        await warmed(get, place, callers)
        await settled(db)
        yield get


@asynccontextmanager
async def redis_get(
    ends: Endpoints, place: Place, row: type[Any], callers: int = WARMERS
) -> AsyncIterator[Call]:
    """A client's GET, and the row decoded. It has a connection for each caller."""
    decode = msgspec.msgpack.Decoder(row).decode
    async with redis.asyncio.Redis.from_url(ends.redis, max_connections=CONNECTIONS) as client:

        async def get(number: int) -> object:
            found: Any = await client.get(name_of(place, number))
            return decode(found)

        await warmed(get, place, callers)
        yield get


@asynccontextmanager
async def our_misses(ends: Endpoints, place: Place) -> AsyncIterator[Call]:
    """Connected, and with records known, but no row in any cache."""
    async with database(ends, *place.repositories) as db:
        get = getter(db, place)
        await warmed(get, place)
        await settled(db)
        async with db.unit_of_work() as work:
            for each in place.repositories:
                work.changes(each)
            await work.commit()
        await asyncio.sleep(0.3)  # the replicas have replayed that, and their next samples say so
        yield Filling(get, db)


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


async def settled(db: Database) -> None:
    """What was read is in Redis too: an answer comes before that, and is shared until then.

    Raises TimeoutError."""
    loads = db._started.cache.shared.inflight
    async with asyncio.timeout(PATIENCE):
        while len(loads):  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0.002)


class Filling:
    """Reads the row of a number, and leaves its value on the way to Redis."""

    def __init__(self, get: Call, db: Database) -> None:
        self._get = get
        self._db = db

    def __call__(self, number: int) -> Awaitable[object]:
        return self._get(number)

    async def settle(self) -> None:
        await settled(self._db)


def with_fills(load: Load, seconds: float) -> Measure:
    """As `under`, and until what the callers have left behind is done: it is part of the price."""
    callers = under(load, seconds)

    async def measure(call: Call) -> Figures:
        cpu, begin = time.process_time(), time.perf_counter()
        found = await callers(call)
        calls = found.calls * (time.perf_counter() - begin)
        if isinstance(call, Filling):
            await call.settle()
        took, cpu = time.perf_counter() - begin, time.process_time() - cpu
        return Figures(calls / took, cpu / calls * 1e6)

    return measure


async def warmed(get: Call, place: Place, callers: int = WARMERS) -> None:
    """Connections and records are known. All that are read must be there."""
    most = min(max(MOST, callers), place.numbers)
    for first in range(0, most, callers):
        found = await asyncio.gather(*map(get, range(first, min(first + callers, most))))
        if None in found:
            raise LookupError(f"no value for number {first + found.index(None)}")


async def fill_redis(ends: Endpoints, place: Place) -> None:
    """All rows of the place, as the library keeps them. Twice: what a busy Redis did not take in
    time is there at the second try."""
    async with database(ends, *place.repositories) as db:
        for each in 2 * place.repositories:
            for first in range(place.begin, place.begin + place.count, AT_ONCE):
                last = min(first + AT_ONCE, place.begin + place.count)
                await db[each].get_many(range(first, last))
                await settled(db)


async def put(
    ends: Endpoints, numbers: Sequence[int], place: Place, row: Callable[[int], Any]
) -> None:
    """What the peer's client finds: the rows of these numbers. `row`: of an id."""
    async with redis.asyncio.Redis.from_url(ends.redis) as client:
        for first in range(0, len(numbers), AT_ONCE):
            some = numbers[first : first + AT_ONCE]
            pairs = {name_of(place, each): encode(row(place.id(each))) for each in some}
            await client.mset(pairs)
