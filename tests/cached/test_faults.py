"""Cached selects where servers are away or behind, and beside processes that know other selects."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Computed, func, select, text, update
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from repocache import (
    CachedQueries,
    CacheMode,
    KeyOwner,
    Repository,
    Settings,
    UsageError,
)
from repocache.errors import DatabaseUnavailable
from repocache.testing import Endpoints, Servers, memory
from tests.cached.library import POLICY, Author, Authors, Book, Books, open_library
from tests.cached.test_cached import rename, settled, statements
from tests.shop import QUICK, Shop, until


class OldBooks(Repository[Book, int]):
    """An older release of the same, which caches nothing by its selects but others do."""

    owner = KeyOwner("book")
    policy = POLICY
    queries = CachedQueries(ttl=300, local_ttl=60, by_default=False)


OLD: Any = (Authors, OldBooks)


async def test_a_release_that_does_not_know_a_select_invalidates_it(
    library: Shop, repocache_endpoints: Endpoints
) -> None:
    """The first write costs all tags of the table, and tells which there are: the next one only
    those that it moves."""
    async with open_library(repocache_endpoints, repositories=OLD) as old:
        for author in (1, 2):
            await settled(library, lambda author=author: library.db[Books].of(author))

        async def write(id: int, title: str) -> Any:
            async with old.db.unit_of_work() as work:
                (await work[OldBooks].require(id)).title = title
                return await work.commit()

        before = statements(library)
        async with library.db.causal_session(await write(11, "y1")):
            assert await library.db[Books].of(1) == ["b1", "y1"]
            assert await library.db[Books].of(2) == ["a2", "b2"]
        assert statements(library) == before + 2, "of both authors"
        for author in (1, 2):
            await settled(library, lambda author=author: library.db[Books].of(author))
        before = statements(library)
        async with library.db.causal_session(await write(11, "z1")):
            assert await library.db[Books].of(1) == ["b1", "z1"]
            assert await library.db[Books].of(2) == ["a2", "b2"]
        assert statements(library) == before + 1


async def test_a_miss_after_a_write_is_not_filled_from_a_lagging_replica(
    library: Shop, other: Shop, repocache_controls: Servers
) -> None:
    await settled(other, lambda: other.db[Books].of(1))
    for each in repocache_controls.replicas:
        await asyncio.to_thread(each.pause_replay)
    await rename(library, 11, "z1")

    async def is_new() -> bool:
        return await other.db[Books].of(1) == ["b1", "z1"]

    await until(is_new, "the message has come")
    for each in repocache_controls.replicas:
        await asyncio.to_thread(each.resume_replay)
    assert await other.db[Books].of(1) == ["b1", "z1"]


async def test_a_select_that_is_cached_first_after_a_write_is_not_of_before(
    library: Shop, repocache_controls: Servers
) -> None:
    """Nobody told its tag, since nobody knew it: its floor is unknown, and the primary answers."""
    for each in repocache_controls.replicas:
        await asyncio.to_thread(each.pause_replay)
    await rename(library, 11, "z1")
    for _ in range(5):
        assert await library.db[Books].of(1) == ["b1", "z1"]


async def test_without_redis_reads_are_right_and_commits_stand(
    library: Shop, other: Shop, repocache_controls: Servers
) -> None:
    for shop in (library, other):
        await settled(shop, lambda shop=shop: shop.db[Books].of(1))
    await asyncio.to_thread(repocache_controls.redis.kill)
    async with library.db.causal_session(None) as session:
        await rename(library, 11, "z1")
        assert await library.db[Books].of(1) == ["b1", "z1"]
    async with other.db.causal_session(session.bookmark):
        assert await other.db[Books].of(1) == ["b1", "z1"]
    await asyncio.to_thread(repocache_controls.redis.start)

    async def is_new() -> bool:
        return await other.db[Books].of(1) == ["b1", "z1"]

    await until(is_new, "the retry has told it")
    assert await settled(other, lambda: other.db[Books].of(1)) == ["b1", "z1"]


async def test_a_redis_that_was_emptied_leaves_no_old_answer(library: Shop, other: Shop) -> None:
    for shop in (library, other):
        await settled(shop, lambda shop=shop: shop.db[Books].of(1))
    link = library.db._started.cache.link
    assert link is not None
    await link.call("FLUSHALL")
    await rename(library, 11, "z1")

    async def is_new() -> bool:
        return await other.db[Books].of(1) == ["b1", "z1"]

    await until(is_new, "a new record was announced")
    assert await settled(library, lambda: library.db[Books].of(1)) == ["b1", "z1"]


async def test_a_process_alone(repocache_endpoints: Endpoints) -> None:
    async with open_library(replace(repocache_endpoints, redis="")) as shop:
        await settled(shop, lambda: shop.db[Books].of(1))
        await rename(shop, 11, "z1")
        assert await shop.db[Books].of(1) == ["b1", "z1"]


async def test_with_sqlite_in_memory() -> None:
    async with memory([Authors, Books]) as db:
        async with db.unit_of_work() as work:
            work.add(Author(id=1, name="n"))
            work.add(Book(id=11, author_id=1, title="t"))
            await work.commit()
        assert await db[Books].of(1) == ["t"]
        async with db.unit_of_work() as work:
            (await work[Books].require(11)).title = "u"
            await work.commit()
        assert await db[Books].of(1) == ["u"]


async def test_modes_and_shadow(library: Shop) -> None:
    for mode in (CacheMode.SHARED, CacheMode.OFF, CacheMode.SHADOW, CacheMode.ON):
        library.db.switch(Books, mode)
        assert await library.db[Books].of(1) == ["a1", "b1"]
    with library.db.bypass():
        assert await library.db[Books].of(1) == ["a1", "b1"]


async def test_a_session_with_monotonic_reads_goes_past_them(
    repocache_endpoints: Endpoints,
) -> None:
    monotonic = Settings(topology=QUICK, monotonic=True)
    async with open_library(repocache_endpoints, monotonic) as shop, shop.db.causal_session(None):
        await rename(shop, 11, "z1")
        assert await shop.db[Books].of(1) == ["b1", "z1"]


async def test_a_rollback_and_a_savepoint_tell_nothing(library: Shop) -> None:
    await settled(library, lambda: library.db[Books].of(1))
    before = statements(library)
    async with library.db.unit_of_work() as work:
        await work.session.execute(update(Book).where(Book.id == 11).values(title="z1"))
        await work.rollback()
    async with library.db.unit_of_work() as work:
        with suppress(LookupError):
            async with work.savepoint():
                await work.session.execute(update(Book).where(Book.id == 11).values(title="z1"))
                raise LookupError
        await work.commit()
    assert await library.db[Books].of(1) == ["a1", "b1"]
    assert statements(library) == before


async def test_many_callers_of_a_cold_select_make_one_statement(library: Shop) -> None:
    await settled(library, lambda: library.db[Books].of(1))
    before = statements(library)
    await asyncio.gather(*(library.db[Books].of(3) for _ in range(200)))
    assert statements(library) <= before + 2


async def test_a_select_that_fails_takes_no_other_with_it(library: Shop) -> None:
    books = library.db[Books]
    bad = select(Book.id / func.length(Book.title) / 0).where(Book.author_id == 1)
    good = [select(Book.title).where(Book.author_id == n) for n in (1, 2, 3)]
    found = await asyncio.gather(books.rows(bad), *map(books.rows, good), return_exceptions=True)
    assert "division by zero" in str(found[0])
    assert [len(each) for each in found[1:]] == [2, 2, 2]  # type: ignore[arg-type]


async def test_a_longer_time_than_is_declared_is_refused(library: Shop) -> None:
    with pytest.raises(UsageError, match="CachedQueries"):
        library.db[Books].cached(ttl=3000)
    with pytest.raises(UsageError, match="tag"):
        library.db[Books].cached(tags=("",))


async def test_writes_from_outside_are_seen_where_they_are_declared(
    library: Shop, other: Shop
) -> None:
    await settled(other, lambda: other.db[Books].of(1))
    async with library.db.sessionmaker() as session, session.begin():
        await session.execute(text("UPDATE books SET title = 'z1' WHERE id = 11"))
        await library.db.changes(session, Books, [11])

    async def is_new() -> bool:
        return await other.db[Books].of(1) == ["b1", "z1"]

    await until(is_new, "it was told")


async def test_a_primary_that_is_away_is_an_error_of_the_reader_and_leaves_nothing(
    repocache_endpoints: Endpoints, repocache_controls: Servers
) -> None:
    """What is cached is given."""
    async with open_library(replace(repocache_endpoints, replicas=())) as shop:
        books = shop.db[Books]
        await settled(shop, lambda: books.of(1))
        await asyncio.to_thread(repocache_controls.primary.kill)
        with pytest.raises(DatabaseUnavailable):
            await books.of(2)
        assert await books.of(1) == ["a1", "b1"]
        await asyncio.to_thread(repocache_controls.primary.start)

        async def answers() -> bool:
            try:
                return await books.of(2) == ["a2", "b2"]
            except DatabaseUnavailable:
                return False

        await until(answers, "the primary is back")


async def test_a_frozen_redis_holds_up_no_read_and_no_commit_for_ever(
    library: Shop, repocache_controls: Servers
) -> None:
    await settled(library, lambda: library.db[Books].of(1))
    await asyncio.to_thread(repocache_controls.redis.freeze)
    try:
        async with asyncio.timeout(15), library.db.causal_session(None):
            await rename(library, 11, "z1")
            assert await library.db[Books].of(1) == ["b1", "z1"]
    finally:
        await asyncio.to_thread(repocache_controls.redis.thaw)


class SheetBase(DeclarativeBase):
    pass


class Sheet(SheetBase):
    __tablename__ = "sheets"
    id: Mapped[int] = mapped_column(primary_key=True)
    pages: Mapped[int]
    kind: Mapped[str]
    half: Mapped[int] = mapped_column(Computed("pages / 2"))


class Sheets(Repository[Sheet, int]):
    owner = KeyOwner("sheet")
    policy = POLICY
    queries = CachedQueries(ttl=300, local_ttl=60)


async def test_a_column_that_the_database_computes_counts() -> None:
    """Where there is no catalogue that says so of the whole table: with a condition in the select,
    and without one."""
    highest = select(func.max(Sheet.half))
    reads = (highest, highest.where(Sheet.kind == "a"))
    async with memory([Sheets]) as db:
        async with db.unit_of_work() as work:
            work.add(Sheet(id=1, pages=10, kind="a"))
            await work.commit()
        for read in reads * 3:
            assert await db[Sheets].rows(read) == [(5,)]
        async with db.unit_of_work() as work:
            await work.session.execute(update(Sheet).where(Sheet.id == 1).values(pages=20))
            await work.commit()
        for read in reads:
            assert await db[Sheets].rows(read) == [(10,)]
