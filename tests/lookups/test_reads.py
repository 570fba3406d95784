"""What a lookup answers, and from where."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from repocache import InvalidId, NotFound
from repocache.events import Served
from repocache.testing import Endpoints
from tests.lookups.accounts import Accounts, Bosses, Pages, open_accounts, token
from tests.shop import Shop, until


async def test_a_lookup_answers_the_entity_or_none(shop: Shop) -> None:
    accounts = shop.db[Accounts]
    found = await accounts.by_email.get("7@x")
    assert found is not None
    assert (found.id, found.name) == (7, "n7")
    assert await accounts.by_email.get("nobody@x") is None
    by_token = await accounts.by_token.get(token(7))
    assert by_token is not None
    assert by_token.id == 7
    assert by_token is not found, "a fresh entity each"


async def test_a_second_lookup_asks_nobody(shop: Shop) -> None:
    accounts = shop.db[Accounts]
    emails = ["7@x", "nobody@x"]
    await accounts.by_email.get_many(emails)
    await until(lambda: all(accounts.by_email._peek_id(each) for each in emails), "L1 has both")
    await until(lambda: accounts._peek(7) is not None, "and the entity")
    before = len(shop.seen)
    assert (await accounts.by_email.require("7@x")).id == 7
    assert await accounts.by_email.get("nobody@x") is None
    assert list(await accounts.by_email.get_many(emails)) == ["7@x"]
    assert not [event for event in shop.seen[before:] if isinstance(event, Served)]


async def test_another_process_finds_it_in_redis(shop: Shop, other: Shop) -> None:
    await shop.db[Accounts].by_email.get_many(["7@x", "nobody@x"])
    before = len(other.seen)
    assert (await other.db[Accounts].by_email.require("7@x")).id == 7
    assert await other.db[Accounts].by_email.get("nobody@x") is None
    served = [event for event in other.seen[before:] if isinstance(event, Served)]
    assert [(event.owner, event.tier) for event in served] == [
        ("account-by_email", "l2"),
        ("account", "l2"),
        ("account-by_email", "l2"),
    ]


async def test_the_entity_is_kept_once(shop: Shop) -> None:
    """Under its id: by whatever it was found, a read by id finds it at hand."""
    accounts = shop.db[Accounts]
    await accounts.by_email.require("7@x")
    await until(lambda: accounts._peek(7) is not None, "L1 has it")
    before = len(shop.seen)
    await accounts.require(7)
    assert not [event for event in shop.seen[before:] if isinstance(event, Served)]


async def test_many_come_in_the_order_asked(shop: Shop) -> None:
    by_email = shop.db[Accounts].by_email
    asked = ["9@x", "nobody@x", "1@x", "9@x", "4@x"]
    found = await by_email.get_many(asked)
    assert [(email, each.id) for email, each in found.items()] == [
        ("9@x", 9),
        ("1@x", 1),
        ("4@x", 4),
    ]
    assert await by_email.get_many([]) == {}


async def test_several_columns_are_a_tuple(shop: Shop) -> None:
    pages = shop.db[Pages]
    found = await pages.by_slug.require((2, "s1"))
    assert (found.tenant, found.number, found.title) == (2, 1, "2.1")
    assert await pages.by_slug.get((3, "s1")) is None
    assert list(await pages.by_slug.get_many([(1, "s2"), (9, "s2")])) == [(1, "s2")]


async def test_a_class_that_shares_its_table_finds_its_own_rows(shop: Shop) -> None:
    bosses = shop.db[Bosses]
    assert (await bosses.by_badge.require("b")).kind == "boss"
    assert await bosses.by_badge.get("p") is None


async def test_exists_and_require(shop: Shop) -> None:
    by_email = shop.db[Accounts].by_email
    assert await by_email.exists("7@x")
    assert not await by_email.exists("nobody@x")
    with pytest.raises(NotFound, match=r"Account with account-by_email 'nobody@x' does not exist"):
        await by_email.require("nobody@x")


@pytest.mark.parametrize("value", [None, 7, b"7@x", ("7@x",), True])
async def test_a_value_of_another_type_is_refused(shop: Shop, value: Any) -> None:
    by_email = shop.db[Accounts].by_email
    for ask in (by_email.get, by_email.require, by_email.exists, lambda v: by_email.get_many([v])):
        with pytest.raises(InvalidId, match="account-by_email"):
            await ask(value)
    with pytest.raises(InvalidId):
        await shop.db[Pages].by_slug.get("s1")  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["\0", "\ud800", "a" * 300, "%", "a:b", "", "é", "x" * 5000])
async def test_odd_values_are_values(shop: Shop, value: str) -> None:
    """No row has them, or none can: nobody else's read fails with them."""
    by_email = shop.db[Accounts].by_email
    assert await by_email.get(value) is None
    assert list(await by_email.get_many([value, "7@x"])) == ["7@x"]
    if value.isprintable():
        async with shop.db.unit_of_work() as work:
            (await work[Accounts].require(7)).email = value
            await work.commit()
        assert (await by_email.require(value)).id == 7


async def test_on_a_node_it_is_one_statement(shop: Shop) -> None:
    before = len(shop.seen)
    for accounts in (shop.db[Accounts].on_primary(), shop.db[Accounts].on_replica()):
        assert (await accounts.by_email.require("7@x")).id == 7
        assert await accounts.by_email.get("nobody@x") is None
        assert list(await accounts.by_email.get_many(["2@x", "1@x"])) == ["2@x", "1@x"]
    served = [event for event in shop.seen[before:] if isinstance(event, Served)]
    assert [event.tier for event in served] == ["database"] * 6
    assert [event.node == "primary" for event in served] == [True] * 3 + [False] * 3


async def test_lookups_of_one_moment_are_one_statement(shop: Shop) -> None:
    by_email = shop.db[Accounts].by_email
    before = len(shop.seen)
    found = await asyncio.gather(*(by_email.get(f"{n}@x") for n in range(1, 10)))
    assert [each.id for each in found if each] == list(range(1, 10))
    asked = [e for e in shop.seen[before:] if isinstance(e, Served) and e.tier == "database"]
    assert len(asked) == 2, "the ids, then the rows"


async def test_without_redis(repocache_endpoints: Endpoints) -> None:
    alone = Endpoints(repocache_endpoints.primary, repocache_endpoints.replicas, "")
    async with open_accounts(alone) as shop:
        accounts = shop.db[Accounts]
        assert (await accounts.by_email.require("7@x")).id == 7
        async with shop.db.unit_of_work() as work:
            (await work[Accounts].require(7)).email = "new@x"
            await work.commit()
        assert await accounts.by_email.get("7@x") is None
        assert (await accounts.by_email.require("new@x")).id == 7
