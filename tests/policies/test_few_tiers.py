"""Rows in the process alone, in Redis alone, in neither, and on the primary alone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import select, update

from repocache import (
    AlwaysConsistent,
    CacheAside,
    CachedQueries,
    ConfigurationError,
    Database,
    Freshness,
    KeyOwner,
    LocalOnly,
    Repository,
    Scope,
    SharedOnly,
    Uncached,
    UsageError,
    WriteThrough,
)
from repocache.cache.policies import Policy
from repocache.events import Invalidated, Served
from repocache.repository.promises import check_computed
from repocache.testing import Endpoints, Servers
from tests.policies.kinds import Baskets, Exact, Free, Lands, ended, keys_of, scripts_run, tiers
from tests.scopes.papers_of import Paper
from tests.shop import Country, Shop, User, open_shop, until


async def rename(shop: Shop, code: str, name: str) -> None:
    async with shop.db.unit_of_work() as work:
        await work.session.execute(update(Country).where(Country.code == code).values(name=name))
        await work.commit()


def in_l1(shop: Shop, repository: type[Repository[Any, Any]], id: object) -> bool:
    return shop.db[repository]._peek(id) is not None


async def test_local_rows_are_in_the_process_and_not_in_redis(
    shop: Shop, repocache_servers: Servers
) -> None:
    lands = shop.db[Lands]
    assert (await lands.require("de")).name == "<de>"
    await ended(shop)
    assert in_l1(shop, Lands, "de")
    assert await lands.get("none") is None
    await ended(shop)
    assert in_l1(shop, Lands, "none")
    assert keys_of(repocache_servers, "land") == []
    tiers(shop)
    assert (await lands.require("de")).name == "<de>"
    assert tiers(shop) == []


async def test_the_channel_tells_every_process_of_a_change(shop: Shop, other: Shop) -> None:
    assert (await other.db[Lands].require("de")).name == "<de>"
    async with shop.db.causal_session():
        await rename(shop, "de", "new")
        assert (await shop.db[Lands].require("de")).name == "new"
    await until(lambda: not in_l1(other, Lands, "de"), "the other has heard")
    assert (await other.db[Lands].require("de")).name == "new"


async def test_a_new_row_ends_what_was_kept_of_it(shop: Shop, other: Shop) -> None:
    assert await other.db[Lands].get("xx") is None
    async with shop.db.unit_of_work() as work:
        work.add(Country(code="xx", name="new"))
        await work.commit()
    await until(lambda: not in_l1(other, Lands, "xx"), "the other has heard")
    assert (await other.db[Lands].require("xx")).name == "new"


async def test_a_process_waits_for_nobody_else_s_local_rows(shop: Shop, other: Shop) -> None:
    """No lease is left in Redis for what nobody else will find there."""
    async with asyncio.timeout(10):
        found = await asyncio.gather(
            *(each.db[Lands].require("de") for each in (shop, other) for _ in range(20))
        )
    assert {each.name for each in found} == {"<de>"}
    assert tiers(shop) == tiers(other) == ["database"]


async def test_a_slow_local_read_keeps_nothing_that_was_invalidated_meanwhile(
    shop: Shop, other: Shop, repocache_servers: Servers
) -> None:
    """1. Its records are asked; 2. it reads, slowly, from before a commit; 3. that is told; 4. the
    rows come."""
    loader = shop.db[Lands]._access._cache._loader  # type: ignore[attr-defined]
    source, read, go = loader._source, asyncio.Event(), asyncio.Event()

    async def slow(wanted: object) -> object:
        rows = await source.load(wanted)
        read.set()
        await go.wait()
        return rows

    class Slow:
        load = staticmethod(slow)

    loader._source = Slow
    reading = asyncio.ensure_future(shop.db[Lands].require("de"))
    await read.wait()
    shop.seen.clear()
    await rename(other, "de", "new")
    await until(lambda: bool(shop.seen.of(Invalidated)), "it has heard")
    go.set()
    assert (await reading).name == "<de>"
    loader._source = source
    assert not in_l1(shop, Lands, "de")
    assert (await shop.db[Lands].require("de")).name == "new"


async def test_shared_rows_are_in_redis_and_not_in_the_process(
    shop: Shop, repocache_servers: Servers
) -> None:
    for _ in range(3):
        assert (await shop.db[Baskets].require(7)).name == "n07"
        await ended(shop)
    assert tiers(shop) == ["database", "l2", "l2"]
    assert not in_l1(shop, Baskets, 7)
    assert len(keys_of(repocache_servers, "basket")) == 1


async def test_uncached_rows_are_nowhere_and_their_writes_say_nothing(
    repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    async with open_shop(repocache_endpoints, repositories=(Free, Exact)) as shop:
        before = scripts_run(repocache_servers)
        for each in (Free, Exact):
            assert [(await shop.db[each].require(7)).name for _ in range(2)] == ["n07"] * 2
            assert tiers(shop) == ["database"] * 2
        async with shop.db.causal_session():
            async with shop.db.unit_of_work() as work:
                (await work[Free].require(7)).name = "new"
                await work.commit()
            assert (await shop.db[Free].require(7)).name == "new"
        assert scripts_run(repocache_servers) == before
        assert shop.seen.of(Invalidated) == []


async def test_uncached_reads_of_one_moment_are_one_statement(shop: Shop) -> None:
    await asyncio.gather(*(shop.db[Free].require(id) for id in range(1, 51) for _ in range(4)))
    assert [event.count for event in shop.seen.of(Served)] == [50]


async def test_nobody_hears_of_changes_that_are_not_told(shop: Shop) -> None:
    for each in (Free, Exact):
        with pytest.raises(UsageError, match=r"WriteAround\(fill=False\)"):
            shop.db.invalidations(each)


async def test_what_is_always_consistent_is_read_on_the_primary_alone(shop: Shop) -> None:
    exact = shop.db[Exact]
    await exact.require(7)
    await exact.get_many([1, 2, 3])
    await exact.find(User.id < 5)
    await exact.count()
    await exact.exists(User.id == 3)
    await exact.page(User.id < 9, limit=2)
    await exact.rows(select(User.id).limit(1))
    assert {event.node for event in shop.seen.of(Served)} == {"primary"}
    assert {event.node for event in shop.seen.of(Served) if event.why != "asked"} == set()


async def test_it_shares_no_read_that_was_sent_before(shop: Shop, other: Shop) -> None:
    """1. A read is sent; 2. somebody else commits; 3. the next caller comes, and the first read has
    not answered yet."""
    loader = shop.db[Exact]._access._cache._loader  # type: ignore[attr-defined]
    source, read, go = loader._source, asyncio.Event(), asyncio.Event()

    async def slow(wanted: object) -> object:
        rows = await source.load(wanted)
        read.set()
        await go.wait()
        return rows

    class Slow:
        load = staticmethod(slow)

    loader._source = Slow
    first = asyncio.ensure_future(shop.db[Exact].require(7))
    await read.wait()
    async with other.db.unit_of_work() as work:
        (await work[Exact].require(7)).name = "new"
        await work.commit()
    loader._source = source
    second = asyncio.ensure_future(shop.db[Exact].require(7))
    await asyncio.sleep(0)
    go.set()
    assert ((await first).name, (await second).name) == ("n07", "new")


async def test_strict_data_on_a_replica_is_refused(shop: Shop) -> None:
    class Strict(Repository[User, int]):
        owner = KeyOwner("price")
        policy = WriteThrough(strict=True)

    with pytest.raises(UsageError, match=r"Exact\.on_replica\(\).*a replica lags"):
        shop.db[Exact].on_replica()
    bound = shop.db[Exact]
    with pytest.raises(UsageError, match="a replica lags"):
        Strict(bound._binding, bound._access).on_replica(60)
    assert (await shop.db[Exact].on_primary().require(7)).name == "n07"
    assert shop.db[Free].on_replica() is not None


def test_cached_lists_of_what_is_always_consistent_are_refused(shop: Shop) -> None:
    class Lists(Repository[User, int]):
        owner = KeyOwner("list")
        policy = AlwaysConsistent()
        queries = CachedQueries(ttl=60)

    with pytest.raises(ConfigurationError, match="lists are the primary's"):
        Database("postgresql+asyncpg://app@nowhere/shop", repositories=[Lists])
    with pytest.raises(UsageError, match="lists are the primary's"):
        shop.db[Exact].cached(ttl=5)


@pytest.mark.parametrize("policy", [Uncached(), LocalOnly(ttl=5), WriteThrough()])
def test_computed_values_are_under_cache_aside(policy: Policy) -> None:
    with pytest.raises(ConfigurationError, match="nobody writes computed values"):
        check_computed("Prices", policy)
    check_computed("Prices", CacheAside(ttl=5, freshness=Freshness(fail_safe=60)))


def test_local_rows_of_a_scope_are_refused(repocache_endpoints: Endpoints) -> None:
    class Papers(Repository[Paper, int]):
        owner = KeyOwner("paper", scope=Scope("tenant", setting="app.tenant"))
        policy = LocalOnly(ttl=600)

    with pytest.raises(ConfigurationError, match="give SharedOnly"):
        Database(
            repocache_endpoints.primary, redis=repocache_endpoints.redis, repositories=[Papers]
        )


def test_times_that_a_policy_has_not_are_refused() -> None:
    with pytest.raises(TypeError, match="local_ttl"):
        SharedOnly(local_ttl=5)  # type: ignore[call-arg]
    with pytest.raises(ConfigurationError, match="LocalOnly"):
        LocalOnly(ttl=-1)
    assert LocalOnly(ttl=600).local_ttl == 600
