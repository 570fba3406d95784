"""Less than everything: each of them from the same constructor, and each says what is lost."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from repocache import Database, Settings
from repocache.events import Degraded, Published, Routed, Served
from repocache.testing import Endpoints
from tests.shop import (
    QUICK,
    Order,
    OrderId,
    Orders,
    Seen,
    Shop,
    User,
    Users,
    make_shop,
    open_shop,
    until,
)


async def try_everything(shop: Shop) -> None:
    """Reads, writes, sessions and the feed, whatever there is."""
    db, users = shop.db, shop.users
    assert (await users.require(7)).name == "n07"
    assert await users.get(7000) is None
    assert list(await users.get_many([3, 1, 2])) == [3, 1, 2]
    card = await users.card.get(7)
    assert card is not None
    assert card.name == "n07"
    await shop.rename(7, "Ada")

    async def renamed_for_all() -> bool:
        return (await users.require(7)).name == "Ada"

    await until(renamed_for_all, "a replica that reads without a session may ask has it")
    async with db.causal_session() as session:
        async with db.unit_of_work() as work:
            (await work[Users].require(8)).name = "Grace"
            work.add(Order(tenant=9, number=9, total=1))
            await work.commit()
        assert (await users.require(8)).name == "Grace"
        assert [user.name for user in await users.find(User.id == 8)] == ["Grace"]
        text = session.encode()
    async with db.causal_session(text):
        assert (await users.require(8)).name == "Grace"
    assert (await db[Orders].require(OrderId(9, 9))).total == 1
    assert await users.count(User.age > 50) == 10


@pytest.fixture
async def sqlite(tmp_path: Path) -> Endpoints:
    url = f"sqlite+aiosqlite:///{tmp_path / 'shop.db'}"
    await make_shop(url)
    return Endpoints(url, (), "")


def lost(seen: Seen) -> set[str]:
    return {event.what for event in seen.of(Degraded)}


async def test_sqlite_without_anything_else(sqlite: Endpoints) -> None:
    async with open_shop(sqlite, repositories=[Users, Orders]) as shop:
        await try_everything(shop)
        assert lost(shop.seen) == {"positions", "replicas", "redis"}


async def test_sqlite_with_redis(sqlite: Endpoints, repocache_endpoints: Endpoints) -> None:
    ends = Endpoints(sqlite.primary, (), repocache_endpoints.redis)
    async with (
        open_shop(ends, repositories=[Users, Orders]) as shop,
        open_shop(ends, repositories=[Users, Orders]) as other,
    ):
        await try_everything(shop)
        assert (await other.users.require(7)).name == "Ada"
        await shop.rename(7, "Bob")
        await until(
            lambda: any(event.keys for event in shop.seen.of(Published)), "it was published"
        )
        async with other.db.causal_session():
            await until(lambda: renamed(other), "the other process has heard of it", 5)
        assert lost(shop.seen) == {"positions", "replicas"}


async def renamed(shop: Shop) -> bool:
    return (await shop.users.require(7)).name == "Bob"


async def test_postgresql_without_replicas(repocache_endpoints: Endpoints) -> None:
    ends = Endpoints(repocache_endpoints.primary, (), repocache_endpoints.redis)
    async with open_shop(ends) as shop:
        await try_everything(shop)
        assert lost(shop.seen) == {"replicas", "outbox"}
        assert {event.node for event in shop.seen.of(Routed)} == {"primary"}


async def test_postgresql_without_redis(repocache_endpoints: Endpoints) -> None:
    ends = Endpoints(repocache_endpoints.primary, repocache_endpoints.replicas, "")
    async with open_shop(ends) as shop:
        await try_everything(shop)
        assert "redis" in lost(shop.seen)
        await shop.users.require(20)
        await asyncio.sleep(0)
        before = len(shop.seen.of(Served))
        await until(lambda: shop.users._peek(20) is not None, "L1 has it")
        for _ in range(10):
            await shop.users.require(20)
        assert len(shop.seen.of(Served)) == before, "L1 answers"


async def test_redis_that_is_away_from_the_start_fails_nobody(
    repocache_endpoints: Endpoints,
) -> None:
    ends = Endpoints(
        repocache_endpoints.primary, repocache_endpoints.replicas, "redis://127.0.0.1:1/0"
    )
    async with open_shop(ends) as shop:
        await try_everything(shop)
        async with shop.db.unit_of_work() as work:
            (await work[Users].require(9)).name = "Eve"
            bookmark = await work.commit()
        assert not bookmark.covered, "nobody could be told"


async def test_a_database_may_be_used_again_after_it_was_left(sqlite: Endpoints) -> None:
    db = Database(sqlite.primary, repositories=[Users], settings=Settings(topology=QUICK))
    for _ in range(2):
        async with db:
            assert (await db[Users].require(7)).name == "n07"
