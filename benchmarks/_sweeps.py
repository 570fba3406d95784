"""Who invalidates everything of one kind with one commit, beside the commit of one row: ours by
owner, the others by a search for their keys."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib import import_module

import redis.asyncio
from sqlalchemy import text

from benchmarks._harness import Bar, Call, Open
from benchmarks._prepared import Prepared
from benchmarks._shop import Users, database
from benchmarks._writers import plain_update, statement
from repocache import OutboxMode
from repocache.testing import Endpoints

ONE, WHOLE = "repocache: one key", "repocache: a whole owner"
BARS = (Bar(WHOLE, ONE, "p50", 5),)
TEXTUAL = text("UPDATE users SET visits = visits + 1 WHERE id = :id")
PATTERN = "sweep:*"


@asynccontextmanager
async def ours(ends: Endpoints, cached: int, *, whole: bool) -> AsyncIterator[Call]:
    async with database(ends, Users, outbox=OutboxMode.REQUIRED) as db:

        async def commit(number: int) -> None:
            async with db.unit_of_work() as work:
                if whole:
                    await work.session.execute(TEXTUAL, {"id": number})
                    work.changes(Users)
                else:
                    await work.session.execute(statement(number))
                await work.commit()

        await commit(0)
        yield Prepared(partial(db[Users].get_many, range(cached)), commit)


@asynccontextmanager
async def redis_py(ends: Endpoints, cached: int, *, whole: bool) -> AsyncIterator[Call]:
    async with redis.asyncio.Redis.from_url(ends.redis) as client, plain_update(ends) as update:

        async def commit(number: int) -> None:
            await update(number)
            if whole:
                keys = [key async for key in client.scan_iter(PATTERN, count=1_000)]
                await client.unlink(*keys)
            else:
                await client.delete(f"sweep:{number}")

        yield Prepared(partial(client.mset, values(cached)), commit)


@asynccontextmanager
async def cashews(ends: Endpoints, cached: int) -> AsyncIterator[Call]:
    cache = import_module("cashews").Cache()
    cache.setup(ends.redis)
    async with redis.asyncio.Redis.from_url(ends.redis) as client, plain_update(ends) as update:

        async def commit(number: int) -> None:
            await update(number)
            await cache.delete_match(PATTERN)

        yield Prepared(partial(client.mset, values(cached)), commit)
    await cache.close()


def values(cached: int) -> dict[str, bytes]:
    return {f"sweep:{number}": bytes(250) for number in range(cached)}


def sweeps(ends: Endpoints, cached: int) -> dict[str, Open]:
    """All have so many rows in their cache before each commit."""
    return {
        "UPDATE, COMMIT, DEL by redis-py": partial(redis_py, ends, cached, whole=False),
        "UPDATE, COMMIT, SCAN and UNLINK by redis-py": partial(redis_py, ends, cached, whole=True),
        "UPDATE, COMMIT, cashews delete_match": partial(cashews, ends, cached),
        ONE: partial(ours, ends, cached, whole=False),
        WHOLE: partial(ours, ends, cached, whole=True),
    }
