"""What a repository answers, read through the cache."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest
from sqlalchemy import inspect
from sqlalchemy.orm.attributes import set_committed_value

from repocache import DatabaseUnavailable, InvalidId, NotFound, UsageError
from repocache.events import Filled, Routed, Served
from repocache.testing import Servers
from tests.shop import (
    ODD_CODES,
    Countries,
    Document,
    Documents,
    Order,
    OrderId,
    Orders,
    Shop,
    User,
    UserCard,
    UserName,
    Users,
    document_id,
    open_shop,
    until,
)


async def test_get_answers_the_row_or_none(shop: Shop) -> None:
    user = await shop.users.get(7)
    assert user is not None
    assert (user.id, user.name, user.age, user.email, user.settings) == (7, "n07", 7, "7@x", {})
    assert await shop.users.get(7000) is None


async def test_a_second_get_asks_nobody(shop: Shop) -> None:
    await shop.users.get(7)
    await shop.users.get(7000)
    await until(lambda: shop.users._peek(7000) is not None, "L1 has both")
    before = len(shop.seen)
    assert await shop.users.get(7) is not None
    assert await shop.users.get(7000) is None
    assert list(await shop.users.get_many([7])) == [7]
    assert list(await shop.users.card.get_many([7])) == [7]
    assert list(await shop.users.get_many([7000, 7])) == [7]
    assert [event for event in shop.seen[before:] if isinstance(event, Served)] == []


async def test_another_process_finds_it_in_redis(shop: Shop, repocache_endpoints: Any) -> None:
    await shop.users.get(7)
    await shop.users.get(7000)
    async with open_shop(repocache_endpoints) as other:
        user = await other.users.get(7)
        assert user is not None
        assert user.name == "n07"
        assert await other.users.get(7000) is None
        assert {event.tier for event in other.seen.of(Served)} == {"l2"}


async def test_entities_are_fresh_clean_and_detached(shop: Shop) -> None:
    first, second = await shop.users.get(7), await shop.users.get(7)
    assert first is not None
    assert second is not None
    assert first is not second
    assert inspect(first).detached
    assert not inspect(first).modified
    first.settings["seen"] = True
    set_committed_value(first, "name", "spoilt")
    assert second.settings == {}
    third = await shop.users.get(7)
    assert third is not None
    assert (third.name, third.settings) == ("n07", {})


async def test_callers_of_one_load_do_not_share_an_entity(shop: Shop) -> None:
    first, second = await asyncio.gather(shop.users.require(7), shop.users.require(7))
    first.settings["seen"] = True
    assert second.settings == {}


async def test_get_many_answers_in_the_order_asked_without_those_that_are_not(shop: Shop) -> None:
    await shop.users.get(2)
    many = await shop.users.get_many([3, 7000, 1, 3, 2])
    assert list(many) == [3, 1, 2]
    assert [user.name for user in many.values()] == ["n03", "n01", "n02"]
    assert await shop.users.get_many([]) == {}


async def test_get_many_loads_what_is_missing_with_one_statement(shop: Shop) -> None:
    await shop.users.get_many([1, 2, 3])
    before = len([event for event in shop.seen.of(Served) if event.tier == "database"])
    await shop.users.get_many(list(range(1, 61)))
    loads = [event for event in shop.seen.of(Served) if event.tier == "database"][before:]
    assert sum(event.count for event in loads) == 57
    # One for those whose floor is known, one for those that only the primary may fill.
    assert len(loads) <= 2


async def test_require_says_what_is_missing(shop: Shop) -> None:
    assert (await shop.users.require(7)).name == "n07"
    with pytest.raises(NotFound, match="User 7000 does not exist"):
        await shop.users.require(7000)


async def test_composite_ids(shop: Shop) -> None:
    orders = shop.db[Orders]
    order = await orders.get(OrderId(tenant=2, number=3))
    assert order is not None
    assert order.total == 203
    assert await orders.get(OrderId(tenant=3, number=2)) is None
    many = await orders.get_many([OrderId(2, 1), OrderId(1, 9), OrderId(1, 2)])
    assert [(type(id), id.number, order.total) for id, order in many.items()] == [
        (OrderId, 1, 201),
        (OrderId, 2, 102),
    ]
    # Through Redis and back.
    assert list(await orders.get_many([OrderId(1, 2), OrderId(2, 1)])) == [
        OrderId(1, 2),
        OrderId(2, 1),
    ]


async def test_uuid_ids(shop: Shop) -> None:
    documents = shop.db[Documents]
    document = await documents.require(document_id(2))
    assert (document.title, type(document.id)) == ("t2", uuid.UUID)
    assert await documents.get(document_id(9)) is None
    assert list(await documents.get_many([document_id(3), document_id(1)])) == [
        document_id(3),
        document_id(1),
    ]


async def test_text_ids_of_any_characters(shop: Shop, repocache_endpoints: Any) -> None:
    countries = shop.db[Countries]
    assert [(await countries.require(code)).name for code in ODD_CODES] == [
        f"<{code}>" for code in ODD_CODES
    ]
    assert await countries.get("DE") is None
    assert await countries.get("d\0e") is None
    assert await countries.get("\ud800") is None
    async with open_shop(repocache_endpoints) as other:
        found = await other.db[Countries].get_many(ODD_CODES)
        assert [country.name for country in found.values()] == [f"<{code}>" for code in ODD_CODES]
        assert {event.tier for event in other.seen.of(Served)} == {"l2"}


@pytest.mark.parametrize(
    "repository, id, wanted",
    [
        ("users", "7", "int"),
        ("users", True, "int"),
        ("users", 7.0, "int"),
        ("users", None, "int"),
        ("users", (7,), "int"),
        ("users", [7], "int"),
        ("orders", 7, r"\(int, int\)"),
        ("orders", (1,), r"\(int, int\)"),
        ("orders", (1, 2, 3), r"\(int, int\)"),
        ("orders", (1, "2"), r"\(int, int\)"),
        ("orders", (1, True), r"\(int, int\)"),
        ("orders", [1, 2], r"\(int, int\)"),
        ("documents", str(document_id(1)), "UUID"),
        ("documents", 1, "UUID"),
        ("countries", 7, "str"),
        ("countries", b"de", "str"),
    ],
)
async def test_an_id_of_another_type_is_refused_everywhere(
    still: Shop, repository: str, id: Any, wanted: str
) -> None:
    reader: Any = {
        "users": still.users,
        "orders": still.db[Orders],
        "documents": still.db[Documents],
        "countries": still.db[Countries],
    }[repository]
    calls = [reader.get(id), reader.require(id), reader.get_many([id]), reader.on_primary().get(id)]
    if repository == "users":
        calls += [still.users.card.get(id), still.users.card.get_many([id])]
    for call in calls:
        with pytest.raises(InvalidId, match=f"is not of the key's type {wanted}"):
            await call


async def test_ids_that_no_row_can_have_are_not_there(shop: Shop) -> None:
    assert await shop.users.get(1 << 70) is None
    assert list(await shop.users.get_many([1 << 63, 7, -(1 << 80)])) == [7]


async def test_an_id_of_thousands_of_digits_is_an_invalid_id(shop: Shop) -> None:
    huge = 10**5000
    users, orders = shop.users, shop.db[Orders]
    calls = [
        users.get(huge),
        users.require(-huge),
        users.get_many([7, huge]),
        users.card.get(huge),
        orders.get(OrderId(1, huge)),
        shop.db[Countries].get(huge),  # type: ignore[arg-type]
        users.get_many(huge),  # type: ignore[arg-type]
    ]
    for call in calls:
        with pytest.raises(InvalidId, match="of thousands of digits"):
            await call
    assert await users.on_primary().get(huge) is None
    with pytest.raises(NotFound, match="of thousands of digits"):
        await users.on_primary().require(huge)
    with pytest.raises(UsageError, match="give at least 1"):
        await users.find(limit=-huge)
    async with shop.db.unit_of_work() as work:
        assert await work[Users].get(huge) is None
        with pytest.raises(InvalidId, match="of thousands of digits"):
            work.changes(Users, [huge])


async def test_a_view_is_one_object_for_all(shop: Shop) -> None:
    card = await shop.users.card.get(7)
    assert card == UserCard(7, "n07")
    assert await shop.users.card.get(7) is card
    assert await shop.db[type(shop.users)].card.get(7) is card
    assert await shop.users.name.get(7) == UserName("n07")
    assert await shop.users.card.get(7000) is None
    assert (await asyncio.gather(shop.users.card.get(7), shop.users.card.get(7)))[1] is card


async def test_views_in_the_order_asked(shop: Shop) -> None:
    cards = await shop.users.card.get_many([3, 7000, 1, 3])
    assert list(cards.items()) == [(3, UserCard(3, "n03")), (1, UserCard(1, "n01"))]
    assert (await shop.users.card.get_many([3]))[3] is cards[3]


async def test_a_view_follows_the_row(shop: Shop) -> None:
    await shop.users.card.get(7)
    await shop.rename(7, "Ada")
    assert await shop.users.card.get(7) == UserCard(7, "Ada")


async def test_views_past_the_cache_and_in_a_transaction(shop: Shop) -> None:
    assert await shop.users.on_primary().card.get(7) == UserCard(7, "n07")
    async with shop.db.unit_of_work() as work:
        (await work[type(shop.users)].require(7)).name = "Ada"
        assert await work[type(shop.users)].card.get(7) == UserCard(7, "Ada")
        assert list(await work[type(shop.users)].card.get_many([8, 7000, 7])) == [8, 7]
        await work.rollback()
    assert await shop.users.card.get(7) == UserCard(7, "n07")


async def test_find_conditions_order_and_limit(shop: Shop) -> None:
    assert [user.id for user in await shop.users.find(User.age >= 58, order_by=[User.id])] == [
        58,
        59,
        60,
    ]
    assert [
        user.id
        for user in await shop.users.find(User.age > 10, User.age < 13, order_by=[User.id.desc()])
    ] == [
        12,
        11,
    ]
    assert [user.id for user in await shop.users.find(limit=2)] == [1, 2]
    assert await shop.users.find(User.age > 100) == []
    assert len(await shop.users.adults()) == 43
    assert inspect((await shop.users.find(limit=1))[0]).detached


async def test_values_of_a_select_are_no_rows(shop: Shop) -> None:
    """A row's columns with uuids are treated by their place in it; a count stands at the first."""
    documents, orders = shop.db[Documents], shop.db[Orders]
    for routed in (documents, documents.on_primary(), documents.on_replica(60)):
        assert await routed.count() == 3
        assert await routed.count(Document.title == "t2") == 1
        assert await routed.exists() is True
        assert await routed.exists(Document.title == "t9") is False
    assert await orders.on_primary().count() == 6
    async with shop.db.unit_of_work() as work:
        assert await work[Documents].count() == 3
        assert await work[Documents].exists(Document.title == "t9") is False


async def test_exists_and_count(shop: Shop) -> None:
    assert await shop.users.exists(User.age == 60)
    assert not await shop.users.exists(User.age == 61)
    assert await shop.users.exists()
    assert await shop.users.count() == 60
    assert await shop.users.count(User.age <= 10, User.email.is_not(None)) == 5
    assert await shop.db[Orders].count(Order.tenant == 1) == 3


async def test_on_primary_and_on_replica_read_there_and_past_the_cache(
    repocache_controls: Servers, repocache_endpoints: Any
) -> None:
    async with open_shop(repocache_endpoints) as shop:
        for replica in repocache_controls.replicas:
            await asyncio.to_thread(replica.pause_replay)
        await shop.rename(7, "Ada")
        assert (await shop.users.on_primary().require(7)).name == "Ada"
        assert (await shop.users.on_replica(max_lag=60).require(7)).name == "n07"
        assert not shop.seen.of(Filled)
        # The cache fills from where the write is known to be.
        assert (await shop.users.require(7)).name == "Ada"


async def test_on_replica_obeys_the_session(
    repocache_controls: Servers, repocache_endpoints: Any
) -> None:
    async with open_shop(repocache_endpoints) as shop:
        for replica in repocache_controls.replicas:
            await asyncio.to_thread(replica.pause_replay)
        async with shop.db.causal_session():
            await shop.rename(7, "Ada")
            with pytest.raises(DatabaseUnavailable):
                await shop.users.on_replica(max_lag=60).get(7)
            assert (await shop.users.require(7)).name == "Ada"


async def test_reads_go_to_replicas(shop: Shop) -> None:
    await shop.users.find(limit=1)
    assert shop.seen.of(Routed)[-1].node != "primary"
