"""Hits in Redis, through the whole read path and decoded, beside what people use today.

    python3 dev.py benchmark hits_redis

One caller, 256 callers in a closed loop, and 64 callers that think 20 to 60 ms between two reads. Each contestant decodes the
same row: ours gives an entity, the others a frozen Struct (cashews its pickled one). CPU with think time is what stands
above an idle loop of as many sleepers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from urllib.parse import urlsplit

import msgspec

from benchmarks._harness import Bar, Call, Effort, Load, Open, as_it_is, interleave, run, under
from benchmarks._shop import Row, SharedUsers, database, fill, row_of, servers
from repocache.testing import Endpoints

KEYS = 2_560
OURS = "repocache: users.get"
REDIS_PY = "redis-py GET"
GLIDE = "valkey-glide GET"
IDLE = "idle loop"
ENCODE = msgspec.msgpack.Encoder().encode
DECODE = msgspec.msgpack.Decoder(Row).decode


def contestants(ends: Endpoints, rows: list[Row]) -> dict[str, Open]:
    url = urlsplit(ends.redis)

    @asynccontextmanager
    async def ours() -> AsyncIterator[Call]:
        async with database(ends, SharedUsers) as db:
            for _ in range(2):  # the first fill of a bucket makes its record
                await db[SharedUsers].get_many(range(KEYS))
                await asyncio.sleep(0.1)
            yield db[SharedUsers].get

    @asynccontextmanager
    async def redis_py() -> AsyncIterator[Call]:
        client = import_module("redis.asyncio").Redis.from_url(ends.redis, protocol=3, max_connections=600)

        async def get(number: int) -> Row:
            return DECODE(await client.get(f"plain:{number}"))

        yield get
        await client.aclose()

    @asynccontextmanager
    async def coredis() -> AsyncIterator[Call]:
        client = import_module("coredis").Redis.from_url(ends.redis, max_connections=600)
        async with client:

            async def get(number: int) -> Row:
                return DECODE(await client.get(f"plain:{number}"))

            await get(0)
            yield get

    @asynccontextmanager
    async def glide() -> AsyncIterator[Call]:
        module = import_module("glide")
        client = await module.GlideClient.create(
            module.GlideClientConfiguration(
                [module.NodeAddress(url.hostname, url.port)],
                credentials=module.ServerCredentials(password=url.password) if url.password else None,
            )
        )

        async def get(number: int) -> Row:
            return DECODE(await client.get(f"plain:{number}"))

        await get(0)
        yield get
        await client.close()

    @asynccontextmanager
    async def cashews() -> AsyncIterator[Call]:
        cache = import_module("cashews").Cache()
        cache.setup(ends.redis, max_connections=600)
        for row in rows:
            await cache.set(f"cashews:{row.id}", msgspec.to_builtins(row), expire=3600)

        async def get(number: int) -> object:
            return await cache.get(f"cashews:{number}")

        yield get
        await cache.close()

    return {REDIS_PY: redis_py, OURS: ours, GLIDE: glide, "coredis GET": coredis, "cashews get": cashews}


async def sleep_only(_: int) -> None:
    """What the callers' own sleeping costs."""


async def benchmark(effort: Effort) -> None:
    with servers() as running:
        ends = await fill(running, KEYS)
        async with database(ends, SharedUsers) as db:
            found = await db[SharedUsers].on_primary().get_many(range(KEYS))
        rows = [row_of(user) for user in found.values()]
        async with import_module("redis.asyncio").Redis.from_url(ends.redis, protocol=3) as client:
            await client.mset({f"plain:{row.id}": ENCODE(row) for row in rows})
        everyone = contestants(ends, rows)
        alone = Load(1, KEYS)
        table = await interleave("L2 hit, one caller", everyone, under(alone, effort.closed), effort.rounds)
        table.show((Bar(OURS, REDIS_PY, "p50", 1.0), Bar(OURS, REDIS_PY, "cpu", 0.7)))
        many = Load(256, KEYS)
        table = await interleave("L2 hit, 256 callers, closed loop", everyone, under(many, effort.closed), effort.rounds)
        table.show((Bar(OURS, REDIS_PY, "calls", 8, at_least=True), Bar(OURS, GLIDE, "calls", 4, at_least=True)))
        thinking = Load(64, KEYS, think=(0.02, 0.06))
        some = {IDLE: as_it_is(sleep_only), **{name: everyone[name] for name in (REDIS_PY, OURS)}}
        measure = under(thinking, effort.thinking)
        table = (await interleave("L2 hit, 64 callers with think time", some, measure, effort.rounds)).without(IDLE)
        table.show(tuple(Bar(OURS, REDIS_PY, figure, limit) for figure, limit in (("cpu", 0.4), ("p50", 1), ("p99", 1))))


if __name__ == "__main__":
    run(benchmark)
