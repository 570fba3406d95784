"""Hits in this process: a frozen view beside in-process caches, an entity beside other ways to a
fresh one.

    python3 dev.py benchmark hits_local

Views: every contestant hands out the same kind of shared frozen object from an `async` function,
over one hot key and over 10,000 keys at random. Entities: every call gives a fresh, clean, detached
one. Their floor is what the technique costs by hand: a new instance, its `__dict__` filled from a
ready dict, its identity key; no lookup, no time to live.
"""

from __future__ import annotations

import asyncio
import pickle
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

from sqlalchemy.orm import Session, configure_mappers
from sqlalchemy.orm.attributes import instance_state, manager_of_class

from benchmarks._harness import Bar, Call, Effort, Open, as_it_is, in_a_row, interleave, opened, run
from benchmarks._shop import Card, User, Users, database, fill, servers
from repocache import Database
from repocache.testing import Endpoints

KEYS = 10_000
HOT = 7
TTL = 3600.0
VIEW = "repocache: users.card.get"
CACHETOOLS = "cachetools TTLCache"
CASHEWS = "cashews @cache"
ENTITY = "repocache: users.get"
FLOOR = "floor: instance, dict, key"


def card(number: int) -> Card:
    return Card(number, f"Ada Lovelace {number}", f"ada{number}@example.org", "GB")


@asynccontextmanager
async def filled(ends: Endpoints) -> AsyncIterator[Database]:
    """With every row in L1."""
    async with database(ends, Users) as db:
        users = db[Users]
        while not all(users._peek(id) for id in range(KEYS)):
            await users.get_many(range(KEYS))
            # An answer comes before its row is in L1, and hits let nobody else run.
            await asyncio.sleep(0.01)
            await asyncio.sleep(0.01)  # hits never wait: the fills need a turn of the loop
        yield db


@asynccontextmanager
async def cachetools() -> AsyncIterator[Call]:
    cache = import_module("cachetools").TTLCache(KEYS, TTL)
    cache.update((number, card(number)) for number in range(KEYS))

    async def get(number: int) -> object:
        try:  # faster than `cache.get`, which looks twice
            return cache[number]
        except KeyError:
            return None

    yield get


@asynccontextmanager
async def async_lru() -> AsyncIterator[Call]:
    async def load(number: int) -> Card:
        return card(number)

    yield await warm(import_module("async_lru").alru_cache(maxsize=KEYS, ttl=TTL)(load))


@asynccontextmanager
async def cashews_get() -> AsyncIterator[Call]:
    cache = import_module("cashews").Cache()
    cache.setup("mem://", size=2 * KEYS)
    for number in range(KEYS):
        await cache.set(f"card:{number}", card(number), expire=TTL)

    async def get(number: int) -> object:
        return await cache.get(f"card:{number}")

    yield get
    await cache.close()


@asynccontextmanager
async def cashews_decorator() -> AsyncIterator[Call]:
    cache = import_module("cashews").Cache()
    cache.setup("mem://", size=2 * KEYS)

    async def load(number: int) -> Card:
        return card(number)

    yield await warm(cache(ttl=TTL, key="card:{number}")(load))
    await cache.close()


@asynccontextmanager
async def aiocache_get() -> AsyncIterator[Call]:
    cache = import_module("aiocache").SimpleMemoryCache()
    for number in range(KEYS):
        await cache.set(number, card(number))  # without a ttl, which would be a timer for each key
    yield cache.get


async def warm(get: Callable[[int], Awaitable[Any]]) -> Call:
    for number in range(KEYS):
        await get(number)
    return get


def entities(db: Database, ready: User) -> dict[str, Open]:
    configure_mappers()
    new_instance = manager_of_class(User).new_instance
    values = {each.key: getattr(ready, each.key) for each in User.__mapper__.column_attrs}
    pickled, session = pickle.dumps(ready), Session()

    async def floor(number: int) -> User:
        made: User = new_instance()
        made.__dict__.update(values)
        instance_state(made).key = (User, (number,), None)
        return made

    async def constructed(_: int) -> User:
        return User(**values)

    async def unpickled(_: int) -> object:
        return pickle.loads(pickled)

    async def merged(_: int) -> User:
        made = session.merge(ready, load=False)
        session.expunge(made)
        return made

    return {
        FLOOR: as_it_is(floor),
        ENTITY: as_it_is(db[Users].get),
        "User(**row), not clean": as_it_is(constructed),
        "pickle.loads": as_it_is(unpickled),
        "session.merge(load=False)": as_it_is(merged),
    }


async def benchmark(effort: Effort) -> None:
    with servers() as running:
        ends = await fill(running, KEYS)
        async with filled(ends) as db:
            contestants: dict[str, Open] = {
                CACHETOOLS: cachetools,
                VIEW: as_it_is(db[Users].card.get),
                "async_lru": async_lru,
                "cashews get": cashews_get,
                CASHEWS: cashews_decorator,
                "aiocache get": aiocache_get,
            }
            bars = (
                Bar(VIEW, CACHETOOLS, "cpu", 1.5),
                Bar(VIEW, CASHEWS, "calls", 30, at_least=True),
            )
            seconds, rounds = effort.closed / 4, 2 * effort.rounds
            async with opened(contestants) as entrants:
                for title, numbers in (
                    ("one hot key", [HOT] * KEYS),
                    ("10,000 keys at random", random.Random(0).choices(range(KEYS), k=KEYS)),
                ):
                    table = await interleave(
                        f"L1 hit, shared frozen view, {title}",
                        entrants,
                        in_a_row(numbers, seconds),
                        rounds,
                    )
                    table.show(bars)
            ready = await db[Users].require(HOT)
            measure = in_a_row([HOT] * KEYS, seconds)
            table = await interleave(
                "L1 hit, fresh detached entity", entities(db, ready), measure, rounds
            )
            table.show((Bar(ENTITY, FLOOR, "cpu", 2.5),))


if __name__ == "__main__":
    run(benchmark)
