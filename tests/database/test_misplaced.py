"""A row that lies in Redis under another id's key, whoever put it there, is nobody's answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from repocache import CacheMode, WriteThrough
from repocache.events import ValueRefused
from repocache.records.names import VALUE
from repocache.testing import Endpoints, RedisServer, Servers
from tests.shop import (
    Countries,
    Documents,
    OrderId,
    Orders,
    Shop,
    Users,
    document_id,
    open_shop,
    until,
)


class StrictUsers(Users):
    policy = WriteThrough(ttl=300, strict=True)  # type: ignore[assignment]


async def get(shop: Shop) -> list[str]:
    return [(await shop.users.require(id)).name for id in (1, 2, 3)]


async def get_many(shop: Shop) -> list[str]:
    return [user.name for user in (await shop.users.get_many([1, 2, 3])).values()]


async def card(shop: Shop) -> list[str]:
    found = [await shop.users.card.get(id) for id in (1, 2, 3)]
    return [card.name for card in found if card is not None]


async def cards(shop: Shop) -> list[str]:
    return [card.name for card in (await shop.users.card.get_many([1, 2, 3])).values()]


async def shadowed(shop: Shop) -> list[str]:
    shop.db.switch(Users, CacheMode.SHADOW)
    return await get_many(shop)


def keys(redis: RedisServer) -> list[str]:
    found = redis.command("KEYS", "*")
    assert isinstance(found, list)
    return [str(key) for key in found]


async def misplace(servers: Servers, text: str, under: str) -> None:
    """One frame under the key of another row, once both are there."""
    redis = servers.redis

    def names() -> list[str]:
        found = [
            next((key for key in keys(redis) if key.endswith(f":{each}")), "")
            for each in (text, under)
        ]
        return [
            key for key in found if key and redis.command("GETRANGE", key, 0, 0) == VALUE.decode()
        ]

    await until(lambda: len(names()) == 2, "both rows are stored")
    assert redis.command("COPY", *names(), "REPLACE") == 1


@pytest.mark.parametrize("read", [get, get_many, card, cards, shadowed])
async def test_a_row_of_another_id_is_a_miss(
    shop: Shop,
    repocache_endpoints: Endpoints,
    repocache_servers: Servers,
    read: Callable[[Shop], Awaitable[list[str]]],
) -> None:
    await shop.users.get_many([1, 2, 3])
    await misplace(repocache_servers, "user:1", "user:2")
    async with open_shop(repocache_endpoints) as other:
        assert await read(other) == ["n01", "n02", "n03"]
        assert other.seen.of(ValueRefused) == [
            ValueRefused("user:2", "the row under this key has the id 1")
        ]
    async with open_shop(repocache_endpoints) as third:
        # The right one is there again.
        assert await read(third) == ["n01", "n02", "n03"]
        assert not third.seen.of(ValueRefused)


async def test_nobody_keeps_it_once_his_own_copy_has_gone(
    shop: Shop, repocache_servers: Servers
) -> None:
    """By GET, where the record is known."""
    await shop.users.get_many([1, 2, 3])
    await misplace(repocache_servers, "user:1", "user:2")
    shop.db.switch(Users, CacheMode.ON)  # L1 begins empty
    assert (await shop.users.require(2)).name == "n02"
    assert [event.key for event in shop.seen.of(ValueRefused)] == ["user:2"]


async def test_under_a_strict_owner_too(
    repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    async with open_shop(repocache_endpoints, repositories=[StrictUsers]) as strict:
        await strict.db[StrictUsers].get_many([1, 2])
        await misplace(repocache_servers, "user:1", "user:2")
        assert (await strict.db[StrictUsers].require(2)).name == "n02"
        assert [event.key for event in strict.seen.of(ValueRefused)] == ["user:2"]


async def test_ids_of_every_kind_are_compared(
    shop: Shop, repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    await shop.db[Orders].get_many([OrderId(1, 2), OrderId(2, 1)])
    await shop.db[Documents].get_many([document_id(1), document_id(2)])
    await shop.db[Countries].get_many(["de", "A"])
    await misplace(repocache_servers, "order:1:2", "order:2:1")
    await misplace(
        repocache_servers, f"document:{document_id(1).hex}", f"document:{document_id(2).hex}"
    )
    await misplace(repocache_servers, "country:de", "country:A")
    async with open_shop(repocache_endpoints) as other:
        assert (await other.db[Orders].require(OrderId(2, 1))).total == 201
        assert (await other.db[Documents].require(document_id(2))).title == "t2"
        assert (await other.db[Countries].require("A")).name == "<A>"
        assert len(other.seen.of(ValueRefused)) == 3
        # And what lies where it belongs is an answer.
        assert (await other.db[Orders].require(OrderId(1, 2))).total == 102
        assert (await other.db[Documents].require(document_id(1))).title == "t1"
        assert (await other.db[Countries].require("de")).name == "<de>"
        assert len(other.seen.of(ValueRefused)) == 3


async def test_verification_judges_no_row_of_another_id(
    shop: Shop, repocache_servers: Servers
) -> None:
    await shop.users.get_many([1, 2, 3])
    await until(lambda: all(shop.users._peek(id) for id in (1, 2, 3)), "L1 has them")
    await misplace(repocache_servers, "user:1", "user:2")
    verification = await shop.db.verify(within=0)
    assert {each.tier: each.right for each in verification.found if each.owner == "user"} == {
        "l1": 3,
        "l2": 2,
    }
    assert verification.wrong == 0
