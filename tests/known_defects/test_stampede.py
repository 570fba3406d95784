"""Many callers at once, and what a repository does unasked: loads together, negative entries, two
tiers, jitter."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from repocache import KeyOwner, Repository
from repocache.events import Served
from repocache.testing import Endpoints, Servers
from tests.known_defects.shops import PATIENT, hold_rows, in_l1, loads, names
from tests.shop import Countries, OrderId, Orders, Shop, User, Users, open_shop, until


async def test_the_first_caller_may_leave_and_the_others_get_their_row(shop: Shop) -> None:
    """Defect 13: the load ran on the session of the first caller, who may be gone before it ends.
    Defect C6: the cancellation of the first caller was that of all."""
    gate = hold_rows(shop)
    first = asyncio.ensure_future(shop.users.require(7))
    await gate.reached()
    others = [asyncio.ensure_future(shop.users.require(7)) for _ in range(20)]
    views = [asyncio.ensure_future(shop.users.card.get(7)) for _ in range(5)]
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    gate.open()
    assert {user.name for user in await asyncio.gather(*others)} == {"n07"}
    assert len(set(map(id, await asyncio.gather(*views)))) == 1
    assert loads(shop) == 1
    await until(lambda: shop.users._peek(7) is not None, "it was kept all the same")


async def test_a_caller_whose_transaction_ends_takes_nobody_with_it(shop: Shop) -> None:
    """Defect 13: the first caller's session was closed while others waited for what it loaded."""
    gate = hold_rows(shop)
    async with shop.db.unit_of_work() as work:
        await work[Users].require(1)
        first = asyncio.ensure_future(shop.users.require(7))
        await gate.reached()
        others = [asyncio.ensure_future(shop.users.require(7)) for _ in range(5)]
        await asyncio.sleep(0)
    gate.open()
    assert {user.name for user in await asyncio.gather(first, *others)} == {"n07"}
    assert loads(shop) == 1


class Bare(Repository[User, int]):
    owner = KeyOwner("bare")


async def test_what_is_declared_with_an_owner_alone_is_cached(
    repocache_endpoints: Endpoints,
) -> None:
    """Defect 9: without an option that the documents' own first example left out, nothing was
    cached, silently."""
    async with open_shop(repocache_endpoints, PATIENT, [Bare]) as one:
        bare = one.db[Bare]
        await bare.get(7)
        await until(lambda: bare._peek(7) is not None, "it is in L1")
        told = len(one.seen.of(Served))
        assert [await bare.get(7) is not None for _ in range(5)] == [True] * 5
        assert list(await bare.get_many([7])) == [7]
        assert len(one.seen.of(Served)) == told == 1
        async with open_shop(repocache_endpoints, PATIENT, [Bare]) as two:
            assert await two.db[Bare].get(7) is not None
            assert [event.tier for event in two.seen.of(Served)] == ["l2"]


async def test_what_is_not_there_is_cached_in_both_tiers(shop: Shop, other: Shop) -> None:
    """Defect 14: no negative caching."""
    assert await shop.users.get(7000) is None
    await until(lambda: shop.users._peek(7000) is not None, "it is in L1 that there is none")
    told = len(shop.seen.of(Served))
    assert await shop.users.get(7000) is None
    assert await shop.users.get_many([7000]) == {}
    assert len(shop.seen.of(Served)) == told == 1
    assert await other.users.get(7000) is None
    assert [event.tier for event in other.seen.of(Served)] == ["l2"]


async def test_misses_of_one_moment_are_one_statement(shop: Shop, other: Shop) -> None:
    """Defect 14: no batching, and no level beside the one in Redis."""
    found = await asyncio.gather(*(shop.users.require(id) for id in range(1, 61)))
    assert [user.id for user in found] == list(range(1, 61))
    assert loads(shop) <= 3
    await in_l1(other, *range(1, 61))
    assert loads(other) == 0
    told = len(other.seen.of(Served))
    await asyncio.gather(*(other.users.require(id) for id in range(1, 61)))
    assert len(other.seen.of(Served)) == told, "L1 answers"


async def test_every_owner_has_its_times_and_what_was_filled_together_ends_apart(
    shop: Shop, repocache_servers: Servers
) -> None:
    """Defect 14: no time to live of an entity's own, and no jitter."""
    await shop.users.get_many([*range(1, 61), *range(7001, 7031)])
    await shop.db[Orders].get_many([OrderId(t, n) for t in (1, 2) for n in (1, 2, 3)])
    await shop.db[Countries].get("de")
    lives = {
        kind: await asyncio.to_thread(lives_of, repocache_servers, kind)
        for kind in ("user:", "order:", "country:")
    }
    there = [life for key, life in lives["user:"].items() if int(key) < 7000]
    not_there = [life for key, life in lives["user:"].items() if int(key) > 7000]
    for found, count, ttl in (
        (there, 60, Users.policy.ttl),
        (not_there, 30, Users.policy.negative_ttl),
        (list(lives["order:"].values()), 6, Orders.policy.ttl),
        (list(lives["country:"].values()), 1, Countries.policy.ttl),
    ):
        assert len(found) == count
        assert 0.5 * ttl < min(found) <= max(found) <= ttl, "its own time, less a share"
    assert max(there) - min(there) > 0.03 * Users.policy.ttl
    assert max(not_there) - min(not_there) > 0.03 * Users.policy.negative_ttl


def lives_of(servers: Servers, kind: str) -> dict[str, float]:
    """Seconds left of the keys that end in `kind` and an id, by the id's text."""
    keys = cast("list[str]", servers.redis.command("KEYS", f"*:{kind}*"))
    lives = {
        key.rpartition(kind)[2]: cast("int", servers.redis.command("PTTL", key)) / 1000
        for key in keys
    }
    return {id: life for id, life in lives.items() if life > PATIENT.cache.lease}


async def test_both_levels_are_told_apart_by_what_is_observed(shop: Shop) -> None:
    """Defect 14: no metrics: nobody could say what was answered from where."""
    assert await names(shop, 7) == ["n07"]
    [served] = shop.seen.of(Served)
    assert (served.owner, served.tier, served.count) == ("user", "database", 1)
    assert served.node
    assert served.why
