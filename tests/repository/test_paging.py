"""Keyset paging: every row once, in order, whatever the order."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import func

from repocache import UsageError
from tests.shop import Order, OrderId, Orders, Shop, User


async def walk(users: Any, size: int, *where: Any, order_by: Any) -> list[Any]:
    """All pages; each but the last is full."""
    pages = []
    last = None
    while page := await users.find(*where, order_by=order_by, limit=size, after=last):
        pages.append(page)
        last = page[-1]
    assert all(len(page) == size for page in pages[:-1])
    return [row for page in pages for row in page]


@pytest.mark.parametrize(
    "order_by",
    [
        [],
        [User.id],
        [User.id.desc()],
        [User.name],
        [User.name.desc()],
        [User.age.asc()],
        [User.age, User.name.desc()],
        [User.age.desc(), User.name],
        [User.age.desc(), User.name.desc(), User.id.desc()],
    ],
    ids=lambda order_by: ", ".join(map(str, order_by)) or "none",
)
async def test_pages_in_any_order_with_ties(ties: Shop, order_by: list[Any]) -> None:
    whole = await ties.users.find(order_by=order_by)
    assert len(whole) == 60
    for size in (7, 60):
        paged = await walk(ties.users, size, order_by=order_by)
        assert [user.id for user in paged] == [user.id for user in whole]


async def test_the_order_is_the_one_that_was_asked_for(ties: Shop) -> None:
    rows = await walk(ties.users, 7, order_by=[User.age.desc(), User.name])
    assert [user.age for user in rows] == sorted((user.age for user in rows), reverse=True)
    assert all(a.name <= b.name for a, b in pairwise(rows) if a.age == b.age)
    assert all(a.id < b.id for a, b in pairwise(rows) if (a.age, a.name) == (b.age, b.name))


async def test_pages_of_conditions_and_of_composite_keys(shop: Shop) -> None:
    assert [
        user.id for user in await walk(shop.users, 3, User.age > 50, order_by=[User.age.desc()])
    ] == [*range(60, 50, -1)]
    orders = shop.db[Orders]
    assert [
        OrderId(o.tenant, o.number) for o in await walk(orders, 4, order_by=[Order.number.desc()])
    ] == [OrderId(tenant, number) for number in (3, 2, 1) for tenant in (1, 2)]


async def test_pages_in_a_transaction_and_on_the_primary(shop: Shop) -> None:
    async with shop.db.unit_of_work() as work:
        assert [
            user.id for user in await walk(work[type(shop.users)], 25, order_by=[User.name])
        ] == [*range(1, 61)]
    assert [user.id for user in await walk(shop.users.on_primary(), 25, order_by=[User.name])] == [
        *range(1, 61)
    ]


async def test_a_row_that_went_does_not_move_the_page(shop: Shop) -> None:
    page = await shop.users.find(order_by=[User.name], limit=10)
    async with shop.db.unit_of_work() as work:
        await work.delete(await work[type(shop.users)].require(10))
        await work.commit()
    behind = await shop.users.on_primary().find(order_by=[User.name], limit=2, after=page[-1])
    assert [user.id for user in behind] == [11, 12]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            {"order_by": [User.email], "after": User(id=1, email="x")},
            "email may be NULL, which no comparison finds",
        ),
        (
            {"order_by": [func.lower(User.name)]},
            "give mapped columns of User, with .asc() or .desc() at most",
        ),
        (
            {"order_by": [User.name.desc().nulls_last()]},
            "give mapped columns of User, with .asc() or .desc() at most",
        ),
        ({"order_by": [Order.total]}, "give mapped columns of User"),
        (
            {"order_by": ["name"]},
            "order_by=['name']): give mapped columns of User, with .asc() or .desc() at most",
        ),
        ({"order_by": "name"}, "order_by='name'): give a list of columns: order_by=[User.id]"),
        (
            {"order_by": User.name},
            "order_by=User.name): give a list of columns: order_by=[User.id]",
        ),
        ({"order_by": 7}, "order_by=7): give a list of columns"),
        ({"limit": 0}, "limit=0): give at least 1"),
        ({"limit": -1}, "limit=-1): give at least 1"),
        ({"after": 7}, "give the last User of the page before"),
        ({"after": Order(tenant=1, number=2)}, "give the last User of the page before"),
    ],
)
async def test_what_cannot_be_paged_is_refused(
    still: Shop, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        await still.users.find(**arguments)


async def test_a_nullable_column_orders_one_page(shop: Shop) -> None:
    assert len(await shop.users.find(order_by=[User.email], limit=40)) == 40
