"""Many callers of what is not cached: one load a process, one lease among processes, one statement
a batch."""

from __future__ import annotations

import asyncio

from repocache.events import Served
from repocache.testing import Endpoints
from tests.shop import Shop, open_shop, until


def loads(*shops: Shop) -> int:
    return sum(1 for shop in shops for event in shop.seen.of(Served) if event.tier == "database")


async def test_a_cold_key_is_read_once_whoever_asks(repocache_endpoints: Endpoints) -> None:
    async with open_shop(repocache_endpoints) as one, open_shop(repocache_endpoints) as two:
        found = await asyncio.gather(
            *(shop.users.require(7) for _ in range(200) for shop in (one, two))
        )
        assert {user.name for user in found} == {"n07"}
        assert len({id(user) for user in found}) == 400
        assert loads(one, two) <= 2


async def test_an_id_that_does_not_exist_is_asked_for_once(repocache_endpoints: Endpoints) -> None:
    async with open_shop(repocache_endpoints) as shop:
        for _ in range(5):
            assert await asyncio.gather(*(shop.users.get(7000) for _ in range(50))) == [None] * 50
            await asyncio.sleep(0.01)
        assert loads(shop) == 1


async def test_misses_of_one_moment_are_few_statements(repocache_endpoints: Endpoints) -> None:
    async with open_shop(repocache_endpoints) as shop:
        found = await asyncio.gather(*(shop.users.require(id) for id in range(1, 61)))
        assert [user.id for user in found] == list(range(1, 61))
        assert loads(shop) <= 3


async def test_callers_that_are_cancelled_leave_the_others_their_row(
    repocache_endpoints: Endpoints,
) -> None:
    async with open_shop(repocache_endpoints) as shop:
        tasks = [asyncio.ensure_future(shop.users.require(7)) for _ in range(20)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        assert {user.name for user in await asyncio.gather(*tasks[1::2])} == {"n07"}
        await until(lambda: shop.users._peek(7) is not None, "the fill went on")
        assert loads(shop) == 1
