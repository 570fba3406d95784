"""Hits in Redis: whole reads of a repository that keeps nothing in the process, beside the clients
that people use.

    python3 dev.py benchmark hits_redis

Every contestant decodes what it gets: repocache to a fresh entity or a frozen view, the clients
msgpack to the same row as a `msgspec.Struct`, cashews its pickle to a dict. No two callers ask for
one key at a time, so nothing is shared but connections. With think time each caller sleeps 20 to 60
ms between calls, and the CPU of sleeping is taken off.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

import msgspec
import redis.asyncio

from benchmarks._harness import Bar, Call, Effort, Load, Open, interleave, run, under
from benchmarks._shop import Row, SharedUsers, database, fill, row_of, servers
from repocache.testing import Endpoints

KEYS = 2_560
TTL = 3600
REDIS_PY = "redis-py GET"
GLIDE = "valkey-glide GET"
ENTITY = "repocache: users.get"
VIEW = "repocache: users.card.get"

decode = msgspec.msgpack.Decoder(Row).decode


def key(number: int) -> str:
    return f"peer:user:{number}"


def decoded(get: Callable[[str], Awaitable[Any]]) -> Call:
    async def call(number: int) -> Row:
        return decode(await get(key(number)))

    return call


@asynccontextmanager
async def entity(ends: Endpoints) -> AsyncIterator[Call]:
    async with database(ends, SharedUsers) as db:
        users = db[SharedUsers]
        await warm(users.get)
        yield users.get


@asynccontextmanager
async def view(ends: Endpoints) -> AsyncIterator[Call]:
    async with database(ends, SharedUsers) as db:
        users = db[SharedUsers]
        await warm(users.card.get)
        yield users.card.get


@asynccontextmanager
async def redis_py(ends: Endpoints) -> AsyncIterator[Call]:
    async with redis.asyncio.Redis.from_url(ends.redis, max_connections=1000) as client:
        await warm(decoded(client.get))
        yield decoded(client.get)


@asynccontextmanager
async def coredis(ends: Endpoints) -> AsyncIterator[Call]:
    async with import_module("coredis").Redis.from_url(ends.redis, max_connections=300) as client:
        await warm(decoded(client.get))
        yield decoded(client.get)


@asynccontextmanager
async def glide(ends: Endpoints) -> AsyncIterator[Call]:
    library, address = import_module("glide"), urlsplit(ends.redis)
    configuration = library.GlideClientConfiguration(
        [library.NodeAddress(address.hostname, address.port)],
        credentials=library.ServerCredentials(password=address.password),
    )
    client = await library.GlideClient.create(configuration)
    try:
        await warm(decoded(client.get))
        yield decoded(client.get)
    finally:
        await client.close()


@asynccontextmanager
async def cashews(ends: Endpoints) -> AsyncIterator[Call]:
    cache = import_module("cashews").Cache()
    cache.setup(ends.redis, max_connections=300)

    async def get(number: int) -> object:
        return await cache.get("dict:" + key(number))

    try:
        await warm(get)
        yield get
    finally:
        await cache.close()


@asynccontextmanager
async def nothing() -> AsyncIterator[Call]:
    async def call(_: int) -> None:
        pass

    yield call


async def warm(call: Call) -> None:
    """Connections, caches and record states, before the clock starts. All must be hits from now
    on."""
    for first in range(0, KEYS, 256):
        found = await asyncio.gather(*map(call, range(first, first + 256)))
        if None in found:
            raise LookupError(f"no value for {first + found.index(None)}")


async def put(ends: Endpoints) -> None:
    """What the hand-written caches find: the rows as the library reads them, in their own form."""
    async with database(ends, SharedUsers) as db:
        found = await db[SharedUsers].get_many(range(KEYS))
    rows = {number: row_of(user) for number, user in found.items()}
    async with redis.asyncio.Redis.from_url(ends.redis) as client:
        for number, row in rows.items():
            await client.set(key(number), msgspec.msgpack.encode(row), ex=TTL)
    try:
        cache = import_module("cashews").Cache()
    except ImportError:
        return
    cache.setup(ends.redis)
    for number, row in rows.items():
        await cache.set("dict:" + key(number), msgspec.structs.asdict(row), expire=TTL)
    await cache.close()


async def benchmark(effort: Effort) -> None:
    with servers() as running:
        ends = await fill(running, KEYS)
        await put(ends)
        ours: dict[str, Open] = {ENTITY: partial(entity, ends), VIEW: partial(view, ends)}
        plain: dict[str, Open] = {REDIS_PY: partial(redis_py, ends)}
        others: dict[str, Open] = {
            "coredis GET": partial(coredis, ends),
            GLIDE: partial(glide, ends),
            "cashews get": partial(cashews, ends),
        }
        table = await interleave(
            "L2 hit, one caller", plain | ours, under(Load(1, KEYS), effort.closed), effort.rounds
        )
        table.show((Bar(ENTITY, REDIS_PY, "p50", 1.0), Bar(ENTITY, REDIS_PY, "cpu", 0.7)))
        table = await interleave(
            "L2 hit, 256 callers in a closed loop",
            plain | others | ours,
            under(Load(256, KEYS), effort.closed),
            effort.rounds,
        )
        table.show(
            (
                Bar(ENTITY, REDIS_PY, "calls", 8, at_least=True),
                Bar(ENTITY, GLIDE, "calls", 4, at_least=True),
            )
        )
        table = await interleave(
            "L2 hit, 64 callers with think time, CPU above the idle loop",
            {"idle": nothing} | plain | ours,
            under(Load(64, KEYS, think=(0.02, 0.06)), effort.thinking),
            effort.rounds,
        )
        bars = (
            Bar(ENTITY, REDIS_PY, "cpu", 0.4),
            Bar(ENTITY, REDIS_PY, "p50", 1),
            Bar(ENTITY, REDIS_PY, "p99", 1),
        )
        table.without("idle").show(bars)


if __name__ == "__main__":
    run(benchmark)
