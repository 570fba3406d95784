"""`find(options=...)`, `page()` and `rows()`."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import func, select, text, union_all
from sqlalchemy.orm import aliased, joinedload, load_only, selectinload
from sqlalchemy.orm.exc import DetachedInstanceError

from repocache import CachedEntityRefused, Page, UsageError
from repocache.events import Served
from repocache.testing import Servers
from tests.reading.library import Author, Authors, Being, Beings, Book, Books, Robot
from tests.shop import Shop


def ids(items: Any) -> list[int]:
    return [each.id for each in items]


@pytest.mark.parametrize("loading", [selectinload, joinedload])
async def test_find_takes_loader_options(shop: Shop, loading: Any) -> None:
    found = await shop.db[Authors].find(
        Author.id > 1, order_by=[Author.name.desc()], limit=2, options=[loading(Author.books)]
    )
    assert [(each.id, len(each.books)) for each in found] == [(4, 4), (3, 3)]
    after = await shop.db[Authors].find(
        order_by=[Author.name.desc()], after=found[-1], options=[loading(Author.books)]
    )
    assert [(each.id, len(each.books)) for each in after] == [(2, 2), (1, 1)]
    with pytest.raises(CachedEntityRefused):
        async with shop.db.unit_of_work() as work:
            work.add(found[0])


async def test_what_no_option_loads_is_not_there(shop: Shop) -> None:
    [author] = await shop.db[Authors].find(Author.id == 2, options=[load_only(Author.id)])
    with pytest.raises(DetachedInstanceError):
        _ = author.books


async def test_a_find_with_options_is_a_read_as_others(shop: Shop) -> None:
    before = len(shop.seen)
    await shop.db[Authors].find(options=[selectinload(Author.books)])
    await shop.db[Authors].on_primary().find(options=[selectinload(Author.books)])
    served = [each for each in shop.seen[before:] if isinstance(each, Served)]
    assert [(each.owner, each.node == "primary", each.rows) for each in served] == [
        ("author", False, 4),
        ("author", True, 4),
    ]


async def test_options_in_a_unit_of_work_give_its_entities(shop: Shop) -> None:
    async with shop.db.unit_of_work() as work:
        author = await work[Authors].require(2)
        author.name = "new"
        [found] = await work[Authors].find(
            Author.name == "new", options=[selectinload(Author.books)]
        )
        assert found is author
        assert ids(found.books) == [20, 21]
        await work.rollback()


async def test_options_on_a_hierarchy(shop: Shop) -> None:
    beings = await shop.db[Beings].find(order_by=[Being.id], options=[load_only(Being.id)])
    assert [type(each) for each in beings] == [Being, Robot]
    assert isinstance(beings[1], Robot)
    assert beings[1].arms == 6


PAGES: dict[str, tuple[int, int, list[int], bool]] = {
    "the first": (0, 4, [10, 20, 21, 30], True),
    "one between": (4, 4, [31, 32, 40, 41], True),
    "the last": (8, 4, [42, 43], False),
    "one that ends it": (6, 4, [40, 41, 42, 43], False),
    "one behind it": (40, 4, [], False),
    "all": (0, 100, [10, 20, 21, 30, 31, 32, 40, 41, 42, 43], False),
}


@pytest.mark.parametrize("name", PAGES)
async def test_a_page(shop: Shop, name: str) -> None:
    offset, limit, expected, has_more = PAGES[name]
    books = shop.db[Books]
    page = await books.page(order_by=[Book.id], offset=offset, limit=limit, total=True)
    assert page == Page(page.items, offset, limit, has_more, total=10)
    assert ids(page) == expected
    assert len(page) == len(expected)
    if expected:
        assert page[0].id == expected[0]
    alone = await books.page(order_by=[Book.id], offset=offset, limit=limit)
    assert (ids(alone), alone.has_more, alone.total) == (expected, has_more, None)
    async with shop.db.unit_of_work() as work:
        inside = await work[Books].page(order_by=[Book.id], offset=offset, limit=limit, total=True)
        assert (ids(inside), inside.total) == (expected, 10)


async def test_a_page_of_some(shop: Shop) -> None:
    page = await shop.db[Books].page(
        Book.author_id == 4, order_by=[Book.title.desc()], offset=1, limit=2, total=True
    )
    assert ([each.title for each in page], page.total) == (["t2", "t1"], 4)
    nothing = await shop.db[Books].page(Book.author_id == 40, limit=2, total=True)
    assert (nothing.items, nothing.total, nothing.has_more) == ([], 0, False)


async def test_a_page_counts_only_if_it_does_not_tell(shop: Shop) -> None:
    books, before = shop.db[Books], len(shop.seen)
    await books.page(order_by=[Book.id], offset=4, limit=4, total=True)
    await books.page(order_by=[Book.id], offset=8, limit=4, total=True)
    await books.page(order_by=[Book.id], offset=80, limit=4, total=True)
    served = [each.rows for each in shop.seen[before:] if isinstance(each, Served)]
    assert served == [5, 1, 2, 0, 1], "the page, and its count; the last one; one behind it"


@pytest.mark.parametrize("offset, limit", [(-1, 5), (0, 0), (0, -3), (0, "2"), (None, 2)])
async def test_a_page_that_cannot_be(shop: Shop, offset: Any, limit: Any) -> None:
    with pytest.raises(UsageError, match=r"page\(offset=.*limit="):
        await shop.db[Books].page(offset=offset, limit=limit)


async def test_rows_of_any_select(shop: Shop) -> None:
    counted = (
        select(Author.name, func.count(Book.id).label("books"))
        .join(Author.books)
        .group_by(Author.name)
        .order_by(Author.name)
    )
    rows = await shop.db[Authors].rows(counted)
    assert [(row.name, row.books) for row in rows] == [("a1", 1), ("a2", 2), ("a3", 3), ("a4", 4)]
    assert rows[0]._mapping["books"] == 1
    with pytest.raises(AttributeError):
        rows[0].name = "new"
    other = aliased(Author)
    pairs = select(Author.id, other.id).where(other.id == Author.id + 1).order_by(Author.id)
    assert [tuple(row) for row in await shop.db[Authors].rows(pairs)] == [(1, 2), (2, 3), (3, 4)]
    both = union_all(select(Author.id), select(Book.id)).order_by("id").limit(2)
    assert [tuple(row) for row in await shop.db[Authors].rows(both)] == [(1,), (2,)]
    async with shop.db.unit_of_work() as work:
        (await work[Authors].require(1)).name = "a0"
        assert (await work[Authors].rows(counted))[0].name == "a0"
        await work.rollback()


async def test_rows_are_not_older_than_what_the_session_wrote(
    shop: Shop, repocache_servers: Servers
) -> None:
    names = select(Author.name).where(Author.id == 1)
    for replica in repocache_servers.replicas:
        replica.pause_replay()
    try:
        async with shop.db.causal_session(None):
            async with shop.db.unit_of_work() as work:
                (await work[Authors].require(1)).name = "new"
                await work.commit()
            assert [tuple(row) for row in await shop.db[Authors].rows(names)] == [("new",)]
            assert (await shop.db[Authors].page(Author.name == "new", limit=1)).items
            found = await shop.db[Authors].find(
                Author.name == "new", options=[selectinload(Author.books)]
            )
            assert ids(found) == [1]
    finally:
        for replica in repocache_servers.replicas:
            replica.resume_replay()


@pytest.mark.parametrize(
    "statement",
    [
        select(Author),
        select(Author.id, Book),
        select(aliased(Author)),
        union_all(select(Author), select(Author)),
        text("SELECT 1"),
        "SELECT 1",
        None,
    ],
)
async def test_rows_of_what_is_no_select_of_columns(shop: Shop, statement: Any) -> None:
    with pytest.raises(UsageError, match=r"rows\("):
        await shop.db[Authors].rows(statement)


async def test_rows_that_would_write_are_refused(shop: Shop) -> None:
    with pytest.raises(UsageError, match=r"read-only transaction: repositories only read outside"):
        await shop.db[Authors].rows(select(func.nextval("authors_id_seq")))
    with pytest.raises(UsageError, match=r"call what writes in `async with db\.unit_of_work"):
        await shop.db[Authors].find(func.nextval("authors_id_seq") > 0)
