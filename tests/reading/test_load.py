"""`load=`: relationships that come along with a read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import selectinload
from sqlalchemy.orm.exc import DetachedInstanceError

from repocache import CachedEntityRefused, UsageError
from repocache.events import Served
from repocache.repository.relations import Relations
from repocache.testing import Servers
from tests.reading.library import Author, Authors, Book, Books, Shelf, Shelves
from tests.shop import Shop, until

Read = Callable[[Any], Awaitable[Any]]


def served(shop: Shop, since: int) -> list[tuple[str, str]]:
    return [(each.owner, each.tier) for each in shop.seen[since:] if isinstance(each, Served)]


async def test_a_foreign_key_leads_through_the_target_s_caches(shop: Shop) -> None:
    books = shop.db[Books]
    found = await books.get_many([20, 21, 30], load=[Book.author])
    assert [each.author.name for each in found.values()] == ["a2", "a2", "a3"]
    assert found[20].author is found[21].author, "one row is one entity within a read"
    await until(lambda: shop.db[Authors]._peek(3) is not None, "L1 has the authors")
    await until(lambda: books._peek(30) is not None, "and the books")
    before = len(shop.seen)
    again = await books.require(30, load=[Book.author])
    assert again.author.name == "a3"
    assert again.author is not found[30].author
    assert served(shop, before) == [], "all of it was at hand"


async def test_collections_are_read_on_a_node_in_one_statement_each(shop: Shop) -> None:
    before = len(shop.seen)
    authors = await shop.db[Authors].get_many([1, 2, 3, 4], load=[Author.books])
    assert [[book.id for book in each.books] for each in authors.values()] == [
        [10],
        [20, 21],
        [30, 31, 32],
        [40, 41, 42, 43],
    ]
    asked = [each for each in served(shop, before) if each[1] == "database"]
    assert len(asked) == 2, "the rows, then the collections of all four"
    with pytest.raises(DetachedInstanceError):
        _ = authors[1].books[0].tags
    assert await shop.db[Authors].get_many([9], load=[Author.books]) == {}


async def test_ways_go_on_from_what_was_loaded(shop: Shop) -> None:
    [author] = (
        await shop.db[Authors].page(
            Author.id == 2,
            limit=1,
            load=[(Author.books, Book.tags), (Author.books, Book.author)],
        )
    ).items
    assert [sorted(tag.name for tag in book.tags) for book in author.books] == [["x", "y"], ["y"]]
    assert {book.author.name for book in author.books} == {"a2"}
    [book] = await shop.db[Books].find(Book.id == 21, load=[(Book.author, Author.books, Book.tags)])
    assert [tag.name for each in book.author.books for tag in each.tags if each.id == 21] == ["y"]


async def test_nothing_is_there_where_nothing_is(shop: Shop) -> None:
    shelves = await shop.db[Shelves].get_many([1, 2], load=[Shelf.owner, Shelf.by_title])
    assert shelves[1].owner is None
    assert shelves[1].by_title == {}
    assert shelves[2].owner is not None
    assert shelves[2].owner.name == "a1"
    assert sorted(shelves[2].by_title) == ["t0", "t1"], "a collection of the mapping's own kind"


@pytest.mark.parametrize("where", ["caches", "primary", "replica", "find", "lookup", "work"])
async def test_it_is_what_sqlalchemy_loads(shop: Shop, where: str) -> None:
    load: Relations = [(Book.author, Author.books), Book.tags]
    async with shop.db.reading() as session:
        options = [selectinload(Book.author).selectinload(Author.books), selectinload(Book.tags)]
        theirs = await session.scalars(select(Book).options(*options).order_by(Book.id))
        expected = {each.id: shape(each) for each in theirs}
    books = shop.db[Books]
    match where:
        case "caches":
            found = await books.get_many(list(expected), load=load)
        case "primary":
            found = await books.on_primary().get_many(list(expected), load=load)
        case "replica":
            found = await books.on_replica().get_many(list(expected), load=load)
        case "find":
            found = {each.id: each for each in await books.find(load=load)}
        case "lookup":
            codes = [f"c{id}" for id in expected]
            by_code = await books.by_code.get_many(codes, load=load)
            found = {each.id: each for each in by_code.values()}
            assert shape(await books.by_code.require("c20", load=load)) == expected[20]
        case _:
            async with shop.db.unit_of_work() as work:
                found = await work[Books].get_many(list(expected), load=load)
                assert {id: shape(each) for id, each in found.items()} == expected
                await work.rollback()
            return
    assert {id: shape(each) for id, each in found.items()} == expected


def shape(book: Book) -> Any:
    return (
        book.title,
        book.author.name,
        [each.id for each in book.author.books],
        sorted(tag.name for tag in book.tags),
    )


async def test_in_a_session_it_is_not_older_than_what_that_wrote(
    shop: Shop, repocache_servers: Servers
) -> None:
    books, authors = shop.db[Books], shop.db[Authors]
    load = [Book.author, Book.tags]
    await books.require(20, load=load)
    await authors.require(2, load=[Author.books])
    for replica in repocache_servers.replicas:
        replica.pause_replay()
    try:
        async with shop.db.causal_session(None):
            async with shop.db.unit_of_work() as work:
                (await work[Authors].require(2)).name = "new"
                book = await work[Books].require(20, load=[Book.tags])
                book.tags.clear()
                work.add(Book(id=29, author_id=2, title="t9", code="c29"))
                await work.commit()
            book = await books.require(20, load=load)
            assert (book.author.name, book.tags) == ("new", [])
            author = await authors.require(2, load=[Author.books])
            assert [each.id for each in author.books] == [20, 21, 29]
    finally:
        for replica in repocache_servers.replicas:
            replica.resume_replay()


async def test_a_unit_of_work_keeps_its_own_changes(shop: Shop) -> None:
    async with shop.db.unit_of_work() as work:
        author = await work[Authors].require(2)
        author.name = "new"
        same = await work[Authors].require(2, load=[Author.books])
        assert same is author
        assert author.name == "new"
        author.books.append(Book(id=28, title="t8", code="c28"))
        again = await work[Authors].require(2, load=[Author.books])
        assert [each.id for each in again.books] == [20, 21, 28]
        await work.rollback()


async def test_what_came_along_is_no_base_of_a_write(shop: Shop) -> None:
    author = await shop.db[Authors].require(2, load=[Author.books])
    for entity in (author, author.books[0]):
        with pytest.raises(CachedEntityRefused):
            async with shop.db.unit_of_work() as work:
                work.add(entity)


@pytest.mark.parametrize(
    "load, why",
    [
        ([Author.name], r"load=\[Author.name\]: it is no relationship of Author"),
        ([Book.author], r"load=\[Book.author\]: it is no relationship of Author"),
        ([(Author.books, Author.books)], r"load=\[Author.books\]: it is no relationship of Book"),
        (["books"], r"load=\[books\]: it is no relationship of Author.*load=\[Author.books\]"),
        ("books", r"load='books': give a list of relationships"),
        ([()], r"a way has at least one relationship"),
        ([Author.latest], r"lazy='write_only', which is never loaded"),
        (Author.books, r"give a list of relationships, as in load=\[Author.books\]"),
    ],
)
async def test_what_cannot_be_loaded_is_told(shop: Shop, load: Any, why: str) -> None:
    authors = shop.db[Authors]
    for ask in (
        lambda: authors.get(1, load=load),
        lambda: authors.get_many([1], load=load),
        lambda: authors.find(load=load),
        lambda: authors.page(limit=1, load=load),
    ):
        with pytest.raises(UsageError, match=why):
            await ask()


async def test_more_than_one_statement_takes(shop: Shop) -> None:
    async with shop.db.unit_of_work() as work:
        work.add_all([Author(id=n, name=f"a{n}") for n in range(100, 2_200)])
        await work.commit()
    async with shop.db.causal_session(None):
        found = await shop.db[Authors].on_primary().find(load=[Author.books])
    assert sum(len(each.books) for each in found) == 10
    assert len(found) == 2_104
