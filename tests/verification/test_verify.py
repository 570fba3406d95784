"""`Database.verify`: finds what is wrong in either tier, lets what is on its way arrive, and
repairs."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from repocache import CacheAside, CachedQueries, Database, KeyOwner, Repository
from repocache.errors import CacheUnavailable, ConfigurationError
from repocache.events import Verified
from repocache.testing import Endpoints, Servers
from repocache.verification.verdict import Found
from tests.shop import Shop, User, Users, open_shop, until
from tests.verification.conftest import Outside

IDS = tuple(range(1, 21))


async def fill(shop: Shop) -> None:
    await shop.users.get_many(IDS)
    await until(lambda: all(shop.users._peek(id) is not None for id in IDS), "L1 has them")


def only(found: tuple[Found, ...], tier: str) -> Found:
    [each] = [each for each in found if each.tier == tier]
    return each


async def test_what_is_right_is_found_to_be(shop: Shop) -> None:
    await fill(shop)
    verification = await shop.db.verify(within=0)
    assert only(verification.found, "l1") == Found("user", "l1", len(IDS), 0, 0, 0)
    assert only(verification.found, "l2") == Found("user", "l2", len(IDS), 0, 0, 0)
    assert verification.nines == pytest.approx(1.14, abs=0.01)
    assert [event for event in shop.seen if isinstance(event, Verified)] == [Verified(40, 0, 0, 0)]


async def test_what_is_wrong_is_found_in_both_tiers_and_repaired(
    shop: Shop, outside: Outside
) -> None:
    await fill(shop)
    await outside(3, 4, name="unheard")
    verification = await shop.db.verify(within=0)
    assert only(verification.found, "l1") == Found("user", "l1", 18, 0, 0, 2)
    assert only(verification.found, "l2") == Found("user", "l2", 18, 0, 0, 2)
    assert (verification.wrong, verification.repaired) == (4, 2)
    user = await shop.users.get(3)
    assert user is not None
    assert user.name == "unheard"
    assert (await shop.db.verify(within=0)).wrong == 0


async def test_another_process_repairs_for_all(
    shop: Shop, outside: Outside, repocache_endpoints: Endpoints
) -> None:
    await fill(shop)
    await outside(3, name="unheard")
    async with open_shop(repocache_endpoints) as other:
        verification = await other.db.verify(within=0)
        assert [each.tier for each in verification.found] == ["l2"]
        assert verification.wrong == 1
    await until(lambda: shop.users._peek(3) is None, "the first has dropped it from its L1")


async def test_an_invalidation_on_its_way_is_waited_for(shop: Shop, outside: Outside) -> None:
    await fill(shop)
    await outside(3, name="late")
    verifying = asyncio.create_task(shop.db.verify(within=1.5))
    await asyncio.sleep(0)
    async with shop.db.unit_of_work() as work:
        work.changes(Users, ids=[3])
        await work.commit()
    verification = await verifying
    assert verification.wrong == 0


async def test_a_row_that_is_gone_and_one_that_came(shop: Shop, outside: Outside) -> None:
    """A negative entry is a value like any other."""
    await shop.users.get_many([5, 7001])
    await until(lambda: shop.users._peek(7001) is not None, "it is known that there is none")
    verification = await shop.db.verify(within=0)
    assert (verification.judged, verification.wrong) == (4, 0)


async def test_leases_and_other_peoples_keys_are_no_values(
    shop: Shop, repocache_servers: Servers
) -> None:
    redis = repocache_servers.redis
    await fill(shop)
    name = next(
        str(key) for key in keys(redis) if ":user:3" in str(key) and str(key).endswith("user:3")
    )
    redis.command("SET", name, "Lsomebody")
    redis.command("SET", name.replace("user:3", "user:x3"), "V?")
    redis.command("SET", name.replace("user:3", "nobody:3"), "V?")
    redis.command("SET", "something:else", "V?")
    verification = await shop.db.verify(within=0)
    assert only(verification.found, "l2") == Found("user", "l2", len(IDS) - 1, 0, 0, 0)


async def test_without_redis_l1_is_looked_at(
    repocache_endpoints: Endpoints, outside: Outside
) -> None:
    async with open_shop(Endpoints(repocache_endpoints.primary, (), "")) as shop:
        await fill(shop)
        await outside(3, name="unheard")
        verification = await shop.db.verify(within=0)
        assert verification.found == (Found("user", "l1", 19, 0, 0, 1),)
        assert (await shop.db.verify(within=0)).wrong == 0


async def test_redis_away(shop: Shop, repocache_controls: Any) -> None:
    await shop.users.get(1)
    repocache_controls.redis.kill()
    with pytest.raises(CacheUnavailable):
        await shop.db.verify()


async def test_what_makes_no_sense(shop: Shop) -> None:
    with pytest.raises(ConfigurationError, match="samples=0"):
        await shop.db.verify(samples=0)
    with pytest.raises(ConfigurationError, match="within=-1"):
        await shop.db.verify(within=-1)


def keys(redis: Any) -> list[Any]:
    found = redis.command("KEYS", "*")
    assert isinstance(found, list)
    return found


async def test_what_stands_for_no_row_is_left_out(repocache_endpoints: Endpoints) -> None:
    """Tags of cached selects lie in L1 too."""

    class Selected(Repository[User, int]):
        owner = KeyOwner("user")
        policy = CacheAside(ttl=300, local_ttl=60)
        queries = CachedQueries(ttl=60, local_ttl=5)

    async with Database(
        repocache_endpoints.primary, redis=repocache_endpoints.redis, repositories=[Selected]
    ) as db:
        await db[Selected].find(User.age < 11)
        await db[Selected].find(User.age < 11)
        await db[Selected].get_many(IDS)
        assert not (await db.verify(within=0)).wrong
