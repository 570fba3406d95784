"""Stale-while-revalidate, early renewal and a ttl by row, on real servers."""

from __future__ import annotations

import asyncio

import pytest

from repocache import CacheAside, ConfigurationError, Freshness, LocalOnly, Uncached, WriteThrough
from repocache.cache.freshness import Age
from repocache.events import CacheFailed, Filled, Invalidated, Served
from repocache.testing import Endpoints, Servers
from tests.policies.aged import (
    ASIDE,
    STALE,
    TTL,
    age,
    aged_users,
    answers,
    behind_a_door,
    change_unseen,
    filled,
    lives,
    lose,
    name_of,
    opened,
    users_under,
)
from tests.policies.kinds import ended
from tests.shop import User, until


async def test_a_row_past_its_ttl_is_given_at_once_and_read_anew_behind(
    repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    users = aged_users()
    async with opened(repocache_endpoints, users) as shop:
        await filled(shop, users, 7)
        assert TTL + STALE < lives(repocache_servers, 7) <= TTL + STALE + ASIDE
        change_unseen(repocache_servers, repocache_endpoints, 7, "new")
        assert (await shop.db[users].require(7)).name == "n07"
        assert answers(shop) == [("l2", "a value")]
        repocache_servers.catch_up()
        age(repocache_servers, 7, STALE + ASIDE - 1)
        assert (await shop.db[users].require(7)).name == "n07"
        await ended(shop)
        assert answers(shop) == [("l2", "stale"), ("database", "")]
        assert (await shop.db[users].require(7)).name == "new"
        assert answers(shop) == [("l2", "a value")]
        assert lives(repocache_servers, 7) > TTL + STALE
        assert name_of(repocache_servers, 7, "~") is None


async def test_one_process_of_all_reads_it_anew(
    repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    users = aged_users()
    async with (
        opened(repocache_endpoints, users) as one,
        opened(repocache_endpoints, users) as two,
        opened(repocache_endpoints, users) as three,
    ):
        shops = (one, two, three)
        for each in shops:
            await filled(each, users, 7)
        age(repocache_servers, 7, STALE + ASIDE - 1)
        await asyncio.gather(*(each.db[users].require(7) for each in shops for _ in range(30)))
        for each in shops:
            await ended(each)
        told = [event for each in shops for event in each.seen.of(Served)]
        assert [event.tier for event in told].count("database") == 1
        assert [event.why for event in told].count("stale") >= 3


async def test_nobody_waits_for_a_slow_renewal_and_leaving_ends_it(
    repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    users = aged_users()
    async with behind_a_door(repocache_endpoints, users) as (shop, door):
        await filled(shop, users, 7)
        age(repocache_servers, 7, STALE + ASIDE - 1)
        door.freeze()
        async with asyncio.timeout(10):
            for _ in range(3):
                assert (await shop.db[users].require(7)).name == "n07"
        assert answers(shop) == [("l2", "stale")] * 3
        assert len(shop.db._started.cache.shared.inflight) == 1
        await lose(door)


async def test_a_renewal_that_fails_is_not_tried_again_at_once(
    repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    """Its lease stays: a database that is away is not asked by every read."""
    users = aged_users()
    async with behind_a_door(repocache_endpoints, users) as (shop, door):
        await filled(shop, users, 7)
        age(repocache_servers, 7, STALE + ASIDE - 1)
        await lose(door)
        for _ in range(20):
            assert (await shop.db[users].require(7)).name == "n07"
            await ended(shop)
        assert 0 < lives(repocache_servers, 7, "~") <= 30
        assert {tier for tier, _ in answers(shop)} == {"l2"}


async def test_a_renewal_that_an_invalidation_meets_stores_nothing(
    repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    """1. It takes its lease, and reads; 2. the row changes, and is invalidated; 3. it comes to
    store what it read."""
    users = aged_users()
    async with (
        behind_a_door(repocache_endpoints, users) as (shop, _),
        opened(repocache_endpoints, users) as other,
    ):
        await filled(shop, users, 7)
        age(repocache_servers, 7, STALE + ASIDE - 1)
        source = shop.db[users]._access._cache._loader._source  # type: ignore[attr-defined]
        read, go = asyncio.Event(), asyncio.Event()

        class Slow:
            @staticmethod
            async def load(wanted: object) -> object:
                rows = await source.load(wanted)
                read.set()
                await go.wait()
                return rows

        shop.db[users]._access._cache._loader._source = Slow  # type: ignore[attr-defined]
        assert (await shop.db[users].require(7)).name == "n07"
        await read.wait()
        async with other.db.unit_of_work() as work:
            (await work[users].require(7)).name = "new"
            await work.commit()
        await until(lambda: bool(shop.seen.of(Invalidated)), "it has heard")
        assert (await other.db[users].require(7)).name == "new"
        await ended(other)
        shop.seen.clear()
        go.set()
        await ended(shop)
        assert [event.landed for event in shop.seen.of(Filled)] == [False]
        assert (await other.db[users].require(7)).name == "new"
        assert (await shop.db[users].require(7)).name == "new"


async def test_a_renewal_reads_no_replica_that_lacks_what_was_invalidated(
    repocache_endpoints: Endpoints, repocache_controls: Servers
) -> None:
    users = aged_users()
    async with opened(repocache_endpoints, users) as shop:
        await filled(shop, users, 7)
        for replica in repocache_controls.replicas:
            await asyncio.to_thread(replica.pause_replay)
        async with shop.db.unit_of_work() as work:
            (await work[users].require(7)).name = "new"
            await work.commit()
        await filled(shop, users, 7)
        age(repocache_controls, 7, STALE + ASIDE - 1)
        assert (await shop.db[users].require(7)).name == "new"
        await ended(shop)
        assert [event.node for event in shop.seen.of(Served)] == ["", "primary"]
        assert (await shop.db[users].require(7)).name == "new"


async def test_a_stale_row_does_not_enter_the_process(
    repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    """It would be given there for another `local_ttl`."""
    users = aged_users(local_ttl=100.0)
    async with behind_a_door(repocache_endpoints, users) as (shop, door):
        await filled(shop, users, 7)
        shop.db._started.cache.shared.local.clear()
        age(repocache_servers, 7, STALE + ASIDE - 1)
        await lose(door)
        assert (await shop.db[users].require(7)).name == "n07"
        await ended(shop)
        assert shop.db[users]._peek(7) is None


async def test_a_row_that_is_gone_is_given_no_more_once_that_is_read(
    repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    users = aged_users()
    database = repocache_endpoints.primary.rpartition("/")[2].partition("?")[0]
    async with opened(repocache_endpoints, users) as shop:
        await filled(shop, users, 7)
        repocache_servers.primary.sql("DELETE FROM users WHERE id = 7", database)
        repocache_servers.catch_up()
        age(repocache_servers, 7, STALE + ASIDE - 1)
        assert await shop.db[users].get(7) is not None
        await ended(shop)
        assert await shop.db[users].get(7) is None


@pytest.mark.parametrize("draw, renewed", [(0.0, False), (1.0 - 1e-12, True)])
async def test_a_hot_row_is_read_anew_before_it_expires(
    repocache_endpoints: Endpoints, repocache_servers: Servers, draw: float, renewed: bool
) -> None:
    """By chance: who draws low is not the one."""
    users = users_under(
        CacheAside(ttl=TTL, local_ttl=50, jitter=0, freshness=Freshness(refresh_early=True))
    )
    async with opened(repocache_endpoints, users) as shop:
        await filled(shop, users, 7)
        shop.db._started.cache.shared.local.clear()
        age(repocache_servers, 7, TTL / 2)
        shop.db[users]._access._cache._renewals.draw = lambda: draw  # type: ignore[attr-defined]
        assert (await shop.db[users].require(7)).name == "n07"
        await ended(shop)
        assert answers(shop) == [("l2", "a value")] + [("database", "")] * renewed
        assert (lives(repocache_servers, 7) > TTL / 2) is renewed


def test_an_entry_is_early_the_more_often_the_nearer_its_end_is() -> None:
    fresh = Freshness(refresh_early=True, stale_while_revalidate=10)
    draws = [number / 1000 for number in range(1, 1001)]
    shares = [
        sum(fresh.is_early(10 + left, 5.0, draw) for draw in draws) / 1000 for left in (0, 5, 50)
    ]
    assert shares[0] == 1.0
    assert shares[1] == pytest.approx(0.368, abs=0.01)
    assert shares[2] < 0.001
    assert not Freshness().is_early(0.0, 5.0, 0.001)


def test_ages() -> None:
    fresh = Freshness(stale_while_revalidate=10, fail_safe=100)
    assert [fresh.age(left) for left in (111, 110, 101, 100, -1)] == [
        Age.FRESH,
        Age.STALE,
        Age.STALE,
        Age.KEPT,
        Age.KEPT,
    ]


async def test_a_row_s_ttl_is_a_function_of_the_row(
    repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    def ttl_of(user: User) -> float:
        if user.id == 3:
            raise ZeroDivisionError
        return {1: 10.0, 2: 1e9, 4: 0.0, 5: -1.0}[user.id]

    users = users_under(CacheAside(ttl=TTL, jitter=0, freshness=Freshness(ttl_of=ttl_of)))
    async with opened(repocache_endpoints, users) as shop:
        assert len(await shop.db[users].get_many([1, 2, 3, 4, 5])) == 5
        await ended(shop)
        found = [lives(repocache_servers, id) for id in (1, 2, 3)]
        assert 5 < found[0] <= 10
        assert TTL - 5 < found[1] <= TTL
        assert TTL - 5 < found[2] <= TTL
        assert name_of(repocache_servers, 4) is name_of(repocache_servers, 5) is None
        assert [shop.db[users]._peek(id) is None for id in (3, 4, 5)] == [False, True, True]
        assert "ttl_of" in {event.what for event in shop.seen.of(CacheFailed)}


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"stale_while_revalidate": -1}, r"stale_while_revalidate=-1\): give seconds"),
        ({"fail_safe": 1e6}, "at most a day"),
        ({"fail_safe": "1"}, "give seconds"),
        ({"soft_timeout": 1}, r"give fail_safe=\.\.\. too"),
        ({"fail_safe": 9, "soft_timeout": 2, "hard_timeout": 1}, "more than soft_timeout=2"),
        ({"ttl_of": 60}, "give a function"),
    ],
)
def test_times_that_make_no_sense_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Freshness(**arguments)  # type: ignore[arg-type]


def test_freshness_that_a_policy_cannot_have_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="never be stale"):
        WriteThrough(strict=True, freshness=Freshness(fail_safe=60))
    for policy in (LocalOnly, Uncached):
        with pytest.raises(ConfigurationError, match="hard_timeout alone"):
            policy(freshness=Freshness(stale_while_revalidate=60))
        assert policy(freshness=Freshness(hard_timeout=2)).freshness.hard_timeout == 2
    with pytest.raises(ConfigurationError, match=r"give Freshness\(\.\.\.\)"):
        CacheAside(freshness=60)  # type: ignore[arg-type]
