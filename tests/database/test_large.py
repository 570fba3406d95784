"""Rows that are large, and values that are too large to be ours: neither costs the process its
channel."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from repocache import CacheAside, CacheSettings, Settings, WriteThrough
from repocache.events import CacheFailed, ChannelDown, Event, Served, ValueRefused
from repocache.records.names import VALUE
from repocache.redis_link import Limits, LinkSettings
from repocache.testing import Endpoints, Servers
from tests.shop import QUICK, Seen, Users, open_shop, until

ROWS = range(1001, 1031)
SIZE = 900_000
LIMIT = 8 * 1024 * 1024
LIMITS = "client-output-buffer-limit"
# Neither a lease nor a reply is late on a busy machine.
PATIENT = Settings(
    topology=QUICK,
    cache=CacheSettings(lease=60),
    link=LinkSettings(connect_timeout=20, limits=Limits(reply_timeout=30, pulse=1)),
)
FOREIGN = 70 * 1024 * 1024


class SharedUsers(Users):
    policy = CacheAside(ttl=300, local_ttl=0)


class StrictUsers(Users):
    policy = WriteThrough(ttl=300, strict=True)  # type: ignore[assignment]


@pytest.fixture
async def large(
    repocache_endpoints: Endpoints, repocache_servers: Servers
) -> AsyncIterator[Endpoints]:
    """With more rows of nearly 1 MB than a subscriber's buffer may have."""
    engine = create_async_engine(repocache_endpoints.primary)
    rows = (
        "INSERT INTO users (id, name, age, settings) SELECT n, n || repeat('x', CAST(:size AS "
        "int)), 1, '{}' "
    )
    async with engine.begin() as connection:
        await connection.execute(
            text(rows + "FROM generate_series(CAST(:first AS int), CAST(:last AS int)) n"),
            {"size": SIZE, "first": ROWS[0], "last": ROWS[-1]},
        )
    await engine.dispose()
    await asyncio.to_thread(repocache_servers.catch_up)
    redis = repocache_servers.redis
    before = str(redis.command("CONFIG", "GET", LIMITS)[1])  # type: ignore[index]
    redis.command("CONFIG", "SET", LIMITS, f"pubsub {LIMIT} 0 0")
    yield repocache_endpoints
    redis.command("CONFIG", "SET", LIMITS, before)
    redis.clear()


def troubles(seen: Seen) -> list[Event]:
    return [event for event in seen if isinstance(event, ChannelDown | CacheFailed | ValueRefused)]


async def read(users: Users, ids: Sequence[int]) -> None:
    found = await users.get_many(ids)
    assert all(user.name == f"{id}{'x' * SIZE}" for id, user in found.items())
    assert len(found) == len(ROWS)


@pytest.mark.parametrize("owner", [SharedUsers, StrictUsers])
async def test_many_large_rows_at_once(
    large: Endpoints, repocache_servers: Servers, owner: type[Users]
) -> None:
    """By the script, where no record is known yet, and by name."""
    async with open_shop(large, PATIENT, [owner]) as first:
        await read(first.db[owner], ROWS)
        await until(lambda: len(stored(repocache_servers)) == len(ROWS), "all are stored")
    async with open_shop(large, PATIENT, [owner]) as second:
        for _ in range(2):
            await read(second.db[owner], ROWS)
        assert troubles(second.seen) == []
        assert [event.tier for event in second.seen.of(Served)] == ["l2"] * 2 * len(ROWS)


def stored(servers: Servers, text: str = "user:1[01]??") -> list[str]:
    """The names of values under these keys."""
    found = servers.redis.command("KEYS", f"*:{text}")
    assert isinstance(found, list)
    return [
        str(key)
        for key in found
        if servers.redis.command("GETRANGE", str(key), 0, 0) == VALUE.decode()
    ]


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("owner", [SharedUsers, StrictUsers])
async def test_a_value_too_large_to_be_ours_is_replaced_unread(
    repocache_endpoints: Endpoints, repocache_servers: Servers, owner: type[Users], known: bool
) -> None:
    redis = repocache_servers.redis
    async with (
        open_shop(repocache_endpoints, PATIENT, [owner]) as shop,
        open_shop(repocache_endpoints, PATIENT, [owner]) as fresh,
    ):
        await shop.db[owner].require(1)
        await until(lambda: bool(stored(repocache_servers, "user:1")), "the row is stored")
        [name] = stored(repocache_servers, "user:1")
        await asyncio.to_thread(redis.command, "SETRANGE", name, FOREIGN, "x")
        reader = shop if known else fresh

        async def again() -> bool:
            reader.seen.clear()
            assert (await reader.db[owner].require(1)).name == "n01"
            return [event.tier for event in reader.seen.of(Served)] == ["l2"]

        assert not await again()
        refused = [event.why for event in reader.seen.of(ValueRefused)]
        assert refused == ["1048577 bytes are more than max_value=1048576"] * (
            known and owner is SharedUsers
        )
        await until(again, "it is replaced")
        assert not [*shop.seen.of(CacheFailed), *fresh.seen.of(CacheFailed)]
        assert not [*shop.seen.of(ChannelDown), *fresh.seen.of(ChannelDown)]
