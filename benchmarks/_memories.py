"""Caches in this process as contestants: each hands out the same kind of shared frozen object from
an `async` function."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

from benchmarks._harness import Call, Open
from benchmarks._shop import Card

KEYS = 10_000
TTL = 3600.0
"""Seconds."""
CACHETOOLS = "cachetools TTLCache"
CASHEWS = "cashews @cache"


def card(number: int) -> Card:
    return Card(number, f"Ada Lovelace {number}", f"ada{number}@example.org", "GB")


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


@asynccontextmanager
async def dogpile_get() -> AsyncIterator[Call]:
    """Without a thread, since it never waits."""
    region = import_module("dogpile.cache").make_region()
    region.configure("dogpile.cache.memory", expiration_time=TTL)
    for number in range(KEYS):
        region.set(str(number), card(number))

    async def get(number: int) -> object:
        return region.get(str(number))

    yield get


async def warm(get: Callable[[int], Awaitable[Any]]) -> Call:
    for number in range(KEYS):
        await get(number)
    return get


MEMORIES: dict[str, Open] = {
    CACHETOOLS: cachetools,
    "async_lru": async_lru,
    "cashews get": cashews_get,
    CASHEWS: cashews_decorator,
    "aiocache get": aiocache_get,
    "dogpile.cache region.get": dogpile_get,
}
