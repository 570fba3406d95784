"""Who else keeps a row in Redis: clients and caching libraries, each opened with what its own pages
tell asyncio's users to do.

All keep the same row of eleven columns as msgpack, and give it back as the same `msgspec.Struct`.
dogpile.cache has no asyncio interface: its calls run in threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

import msgspec
import redis.asyncio

from benchmarks._shop import Row
from repocache.testing import Endpoints

TTL = 3600
"""Seconds."""
REDIS_PY = "redis-py"
GLIDE = "valkey-glide"

encode = msgspec.msgpack.encode
decode = msgspec.msgpack.Decoder(Row).decode


@dataclass(frozen=True, slots=True)
class Peer:
    """Keeps rows by a key's text. `get`: the row, None if there is none."""

    get: Callable[[str], Awaitable[Row | None]]
    put: Callable[[str, Row], Awaitable[object]]
    drop: Callable[[str], Awaitable[object]]


@asynccontextmanager
async def redis_py(ends: Endpoints) -> AsyncIterator[Peer]:
    async with redis.asyncio.Redis.from_url(ends.redis, max_connections=1000) as client:

        async def get(key: str) -> Row | None:
            found: Any = await client.get(key)
            return None if found is None else decode(found)

        async def put(key: str, row: Row) -> None:
            await client.set(key, encode(row), ex=TTL)

        yield Peer(get, put, client.delete)


@asynccontextmanager
async def coredis(ends: Endpoints) -> AsyncIterator[Peer]:
    async with import_module("coredis").Redis.from_url(ends.redis, max_connections=300) as client:

        async def get(key: str) -> Row | None:
            found = await client.get(key)
            return None if found is None else decode(found)

        async def put(key: str, row: Row) -> None:
            await client.set(key, encode(row), ex=TTL)

        async def drop(key: str) -> None:
            await client.delete([key])

        yield Peer(get, put, drop)


@asynccontextmanager
async def glide(ends: Endpoints) -> AsyncIterator[Peer]:
    library, address = import_module("glide"), urlsplit(ends.redis)
    configuration = library.GlideClientConfiguration(
        [library.NodeAddress(address.hostname, address.port)],
        credentials=library.ServerCredentials(password=address.password),
    )
    lasting = library.ExpirySet(library.ExpiryType.SEC, TTL)
    client = await library.GlideClient.create(configuration)

    async def get(key: str) -> Row | None:
        found = await client.get(key)
        return None if found is None else decode(found)

    async def put(key: str, row: Row) -> None:
        await client.set(key, encode(row), expiry=lasting)

    async def drop(key: str) -> None:
        await client.delete([key])

    try:
        yield Peer(get, put, drop)
    finally:
        await client.close()


@asynccontextmanager
async def cashews(ends: Endpoints) -> AsyncIterator[Peer]:
    library = import_module("cashews")
    null = import_module("cashews.picklers").PicklerType.NULL  # bytes are kept as they are
    cache = library.Cache()
    cache.setup(ends.redis, max_connections=300, pickle_type=null)

    async def get(key: str) -> Row | None:
        found = await cache.get(key)
        return None if found is None else decode(found)

    async def put(key: str, row: Row) -> None:
        await cache.set(key, encode(row), expire=TTL)

    try:
        yield Peer(get, put, cache.delete)
    finally:
        await cache.close()


@asynccontextmanager
async def aiocache(ends: Endpoints) -> AsyncIterator[Peer]:
    library, address = import_module("aiocache"), urlsplit(ends.redis)
    cache = library.RedisCache(
        serializer=import_module("aiocache.serializers").NullSerializer(encoding=None),
        endpoint=address.hostname,
        port=address.port,
        password=address.password,
        pool_max_size=300,
    )

    async def get(key: str) -> Row | None:
        found = await cache.get(key)
        return None if found is None else decode(found)

    async def put(key: str, row: Row) -> None:
        await cache.set(key, encode(row), ttl=TTL)

    try:
        yield Peer(get, put, cache.delete)
    finally:
        await cache.close()


@asynccontextmanager
async def dogpile(ends: Endpoints) -> AsyncIterator[Peer]:
    region = import_module("dogpile.cache").make_region(serializer=encode, deserializer=decode)
    region.configure(
        "dogpile.cache.redis", arguments={"url": ends.redis, "redis_expiration_time": TTL}
    )

    async def get(key: str) -> Row | None:
        found = await asyncio.to_thread(region.get, key)
        return found if isinstance(found, Row) else None

    async def put(key: str, row: Row) -> None:
        await asyncio.to_thread(region.set, key, row)

    async def drop(key: str) -> None:
        await asyncio.to_thread(region.delete, key)

    yield Peer(get, put, drop)
    region.backend.writer_client.close()


PEERS: dict[str, Callable[[Endpoints], AbstractAsyncContextManager[Peer]]] = {
    REDIS_PY: redis_py,
    "coredis": coredis,
    GLIDE: glide,
    "cashews": cashews,
    "aiocache": aiocache,
    "dogpile.cache": dogpile,
}
