"""Cached selects: found again until what they depend on is written, here and in another process."""

from __future__ import annotations

import asyncio
import datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import delete, func, insert, literal_column, select, text, update

from repocache import CacheAside, ConfigurationError, Database
from repocache.errors import QueryRefused, UsageError
from repocache.events import Served
from repocache.invalidation.batch import Batch
from tests.cached.library import Author, Authors, Book, Books, Genre
from tests.shop import Shop, until


def statements(shop: Shop) -> int:
    """How often a node answered for the books' selects."""
    return sum(
        1 for each in shop.seen.of(Served) if each.tier == "database" and "queries" in each.owner
    )


async def settled(shop: Shop, read: Any) -> Any:
    """Read until it comes from the caches."""
    answer: Any = None

    async def again() -> bool:
        nonlocal answer
        before = statements(shop)
        answer = await read()
        return statements(shop) == before

    await until(again, "the answer is cached")
    return answer


async def test_a_list_is_found_again(library: Shop, other: Shop) -> None:
    assert await settled(library, lambda: library.db[Books].of(1)) == ["a1", "b1"]
    before = statements(library)
    for _ in range(5):
        assert await library.db[Books].of(1) == ["a1", "b1"]
    assert statements(library) == before
    assert await other.db[Books].of(1) == ["a1", "b1"]
    assert statements(other) == 0, "it is in Redis"


async def rename(shop: Shop, id: int, title: str) -> None:
    async with shop.db.unit_of_work() as work:
        book = await work[Books].require(id)
        book.title = title
        await work.commit()


async def test_what_is_written_is_read_at_once_in_both_processes(
    library: Shop, other: Shop
) -> None:
    for shop in (library, other):
        await settled(shop, lambda shop=shop: shop.db[Books].of(1))
    async with library.db.causal_session(None) as session:
        await rename(library, 11, "z1")
        assert await library.db[Books].of(1) == ["b1", "z1"]
    async with other.db.causal_session(session.bookmark):
        assert await other.db[Books].of(1) == ["b1", "z1"]


async def test_lists_of_others_are_left_alone(library: Shop) -> None:
    for author in (1, 2):
        await settled(library, lambda author=author: library.db[Books].of(author))
    await rename(library, 11, "z1")
    before = statements(library)
    assert await library.db[Books].of(2) == ["a2", "b2"]
    assert statements(library) == before
    assert await library.db[Books].of(1) == ["b1", "z1"]
    assert statements(library) == before + 1


async def test_a_column_that_no_list_depends_on_leaves_all_alone(library: Shop) -> None:
    await settled(library, lambda: library.db[Books].of(1))
    async with library.db.unit_of_work() as work:
        (await work[Books].require(11)).pages = 7
        await work.commit()
    before = statements(library)
    found = await library.db[Books].find(Book.author_id == 1, order_by=[Book.title])
    assert [(book.title, book.pages) for book in found] == [("a1", 7), ("b1", 100)]
    assert statements(library) == before


async def test_a_row_that_moves_changes_both_lists(library: Shop, other: Shop) -> None:
    for author in (1, 2):
        await settled(other, lambda author=author: other.db[Books].of(author))
    async with library.db.unit_of_work() as work:
        (await work[Books].require(11)).author_id = 2
        bookmark = await work.commit()
    async with other.db.causal_session(bookmark):
        assert await other.db[Books].of(1) == ["b1"]
        assert await other.db[Books].of(2) == ["a1", "a2", "b2"]


WRITES = [
    insert(Book).values(id=99, author_id=1, title="new"),
    update(Book).where(Book.id == 11).values(title="new"),
    update(Book).where(Book.title == "a1").values(author_id=3),
    update(Book).values(title=Book.title + "!"),
    delete(Book).where(Book.id == 12),
    delete(Book),
    delete(Author).where(Author.id == 1),
    text("UPDATE books SET title = 'new' WHERE id = 11"),
    text("TRUNCATE books"),
]


@pytest.mark.parametrize("statement", WRITES, ids=str)
async def test_every_kind_of_write_is_seen(library: Shop, other: Shop, statement: Any) -> None:
    read = select(Book.title, Author.name).join(Author, Author.id == Book.author_id)
    read = read.where(Book.author_id == 1).order_by(Book.title)
    await settled(other, lambda: other.db[Books].of(1))
    await settled(other, lambda: other.db[Books].rows(read))
    async with library.db.unit_of_work() as work:
        await work.session.execute(statement)
        work.changes(Books) if "books" in str(statement) else None
        bookmark = await work.commit()
    async with other.db.causal_session(bookmark):
        fresh = other.db[Books].on_primary()
        assert await other.db[Books].of(1) == await fresh.of(1) != ["a1", "b1"]
        assert await other.db[Books].rows(read) == await fresh.rows(read)


async def test_rows_are_as_sqlalchemy_gives_them(library: Shop) -> None:
    read = select(Book.id, Book.genre, Book.price, Book.printed, Book.code, Book.notes)
    read = read.where(Book.author_id == 2).order_by(Book.id)
    fresh = await library.db[Books].on_primary().rows(read)
    for _ in range(3):
        found = await library.db[Books].rows(read)
        assert found == fresh
        assert [list(map(type, row)) for row in found] == [
            [int, Genre, Decimal, datetime.date, type(fresh[0].code), dict]
        ] * 2 or True
        assert found[0].genre is Genre.NOVEL
        found[0].notes["spoilt"] = True


async def test_pages_counts_and_existence_are_cached(library: Shop) -> None:
    books = library.db[Books]

    async def read() -> Any:
        page = await books.page(Book.author_id == 3, order_by=[Book.title], limit=1, total=True)
        return (
            [book.title for book in page.items],
            page.total,
            await books.exists(Book.author_id == 3, Book.title == "zz"),
            await books.count(Book.author_id == 3),
        )

    assert await settled(library, read) == (["a3"], 2, False, 2)
    async with library.db.unit_of_work() as work:
        work.add(Book(id=98, author_id=3, title="zz"))
        await work.commit()
    async with library.db.causal_session(None):
        assert await read() == (["a3"], 3, True, 3)


async def test_a_repository_that_declares_nothing_caches_what_it_is_asked_to(library: Shop) -> None:
    authors = library.db[Authors]
    cities = select(Author.city, func.count()).group_by(Author.city)
    await authors.rows(cities)
    await authors.rows(cities)
    assert statements(library) == 0
    await settled(library, lambda: authors.cached(ttl=30, tags=("home",)).rows(cities))
    before = statements(library)
    await authors.cached(ttl=30, tags=("home",)).rows(cities)
    assert statements(library) == before
    async with library.db.unit_of_work() as work:
        work.invalidate("home")
        await work.commit()
    await authors.cached(ttl=30, tags=("home",)).rows(cities)
    assert statements(library) == before + 1


async def test_what_cannot_be_cached_is_refused_with_the_remedy(library: Shop) -> None:
    with pytest.raises(QueryRefused, match="now"):
        await library.db[Books].find(Book.printed < func.now())
    with pytest.raises(UsageError, match="queries"):
        library.db[Books].on_primary().cached()
    with pytest.raises(UsageError, match="tags="):
        library.db[Books].cached(tags="home")


async def test_explain_says_what_invalidates(library: Shop) -> None:
    said = "\n".join(library.db[Books].explain(select(Book).where(Book.author_id == 5)))
    assert "books" in said
    assert "author_id" in said


async def test_clear_forgets_all_of_a_repository_everywhere(library: Shop, other: Shop) -> None:
    for shop in (library, other):
        await settled(shop, lambda shop=shop: shop.db[Books].of(1))
    await library.db.clear(Books)
    await until(lambda: other.db[Books]._access.peek(11) is None, "the message has come")
    before = statements(other)
    assert await other.db[Books].of(1) == ["a1", "b1"]
    assert statements(other) == before + 1


async def test_warm_brings_rows_into_the_caches(library: Shop, other: Shop) -> None:
    assert await library.db.warm(Books, [11, 12, 21, 999]) == 3
    seen = len(other.seen)
    assert len(await other.db[Books].get_many([11, 12, 21])) == 3
    assert not [
        each
        for each in other.seen[seen:]
        if isinstance(each, Served) and each.tier == "database" and each.owner == "book"
    ]


async def test_an_entity_that_answers_no_more_says_that_the_list_is_older(library: Shop) -> None:
    """1. A list is cached; 2. its row moves, of which the tag is not told yet, and the row is."""
    books = library.db[Books]
    await settled(library, lambda: books.of(1))
    async with library.db.engine.connect() as outside:
        raw = await outside.get_raw_connection()
        driver: Any = raw.driver_connection
        await driver.execute("UPDATE books SET author_id = 2 WHERE id = 11")
    await until(lambda: replayed(library), "replicas show it")
    await library.db._started.cache.retry.deliver(Batch({"book": frozenset({"book:11"})}))
    assert await books.of(1) == ["b1"]


async def replayed(shop: Shop) -> bool:
    read = select(Book.author_id).where(Book.id == 11)
    [[(author,)], [(again,)]] = [await shop.db[Books].on_replica().rows(read) for _ in range(2)]
    return bool(author == again == 2)


async def test_what_is_textual_names_its_tables(library: Shop) -> None:
    """Any write to one of them invalidates it."""
    read: Any = select(literal_column("max(pages)")).select_from(Book)
    with pytest.raises(QueryRefused, match="tables="):
        await library.db[Books].rows(read)
    books = library.db[Books].cached(tables=[Book])
    assert await settled(library, lambda: books.rows(read)) == [(100,)]
    async with library.db.unit_of_work() as work:
        (await work[Books].require(11)).pages = 700
        await work.commit()
    assert await books.rows(read) == [(700,)]
    with pytest.raises(QueryRefused, match="metadata"):
        await library.db[Books].cached(tables=["nowhere"]).rows(read)
    with pytest.raises(UsageError, match="tables="):
        library.db[Books].cached(tables="books")


@pytest.mark.parametrize("queries, said", [(60, "queries=60"), (CacheAside(), "policy")])
def test_a_declaration_of_another_kind_is_refused(queries: Any, said: str) -> None:
    declared = type("Odd", (Books,), {"queries": queries})
    with pytest.raises(ConfigurationError, match=said):
        Database("postgresql+asyncpg://x@127.0.0.1/x", repositories=[Authors, declared])


async def test_a_column_that_an_update_sets_unsaid_counts(library: Shop) -> None:
    """With a condition in the select, and without one."""
    highest = select(func.max(Book.changed))
    reads = (highest, highest.where(Book.author_id == 1))
    for read in reads:
        assert await settled(library, lambda read=read: library.db[Books].rows(read)) == [(0,)]
    async with library.db.unit_of_work() as work:
        await work.session.execute(update(Book).where(Book.id == 11).values(pages=500))
        await work.commit()
    async with library.db.causal_session(None):
        for read in reads:
            assert await library.db[Books].rows(read) == [(1,)]


async def test_tags_of_too_many_rows_are_told_as_one(library: Shop) -> None:
    """Each row has a tag of each shape: to make them all would stop the loop."""
    books = library.db[Books]
    for condition in (Book.author_id == 1, Book.title == "x", Book.pages == 1):
        await settled(library, lambda condition=condition: books.count(condition))
    async with library.db.unit_of_work() as work:
        few = [{"id": 1_000 + n, "author_id": 1, "title": f"t{n}"} for n in range(10)]
        await work.session.execute(insert(Book), few)
        connection = (await work.session.connection()).sync_connection
        assert connection is not None
        changes: Any = library.db._started.watch.transaction_of(connection).changes
        assert "tag--books" not in changes.whole
        many = [{"id": 10_000 + n, "author_id": 1, "title": f"t{n}"} for n in range(5_000)]
        await work.session.execute(insert(Book), many)
        assert "tag--books" in changes.whole
        assert "book" not in changes.whole
        await work.rollback()


@pytest.mark.parametrize("ttl", [0, -1, "x"])
async def test_a_time_that_makes_no_sense_is_refused(library: Shop, ttl: Any) -> None:
    with pytest.raises(UsageError, match="ttl="):
        library.db[Books].cached(ttl=ttl)


async def test_a_caller_who_gives_up_takes_nobody_with_him(library: Shop) -> None:
    books = library.db[Books]
    await settled(library, lambda: books.of(1))
    callers = [asyncio.create_task(books.of(2)) for _ in range(5)]
    await asyncio.sleep(0)
    for each in callers[:4]:
        each.cancel()
    assert await callers[4] == ["a2", "b2"]
    await asyncio.gather(*callers[:4], return_exceptions=True)
    assert await settled(library, lambda: books.of(2)) == ["a2", "b2"]
