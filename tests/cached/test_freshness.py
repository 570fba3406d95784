"""Cached selects past their time, on real servers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from repocache import (
    CachedQueries,
    ConfigurationError,
    DatabaseUnavailable,
    Freshness,
    KeyOwner,
    Repository,
)
from repocache.events import Served
from repocache.testing import Endpoints, Servers
from tests.cached.aged import age, behind_a_door, held, lives, unseen
from tests.cached.library import POLICY, Authors, Book, open_library
from tests.cached.test_cached import statements
from tests.policies.aged import lose
from tests.policies.kinds import ended
from tests.shop import Shop, until

TTL, STALE, ASIDE = 1_000.0, 2_000.0, 4_000.0
PAST = STALE + ASIDE - 1


def books_with(freshness: Freshness) -> type[Repository[Book, int]]:
    class Books(Repository[Book, int]):
        owner = KeyOwner("book")
        policy = POLICY
        queries = CachedQueries(ttl=TTL, local_ttl=0, jitter=0, freshness=freshness)

    return Books


Books = books_with(Freshness(stale_while_revalidate=STALE, fail_safe=ASIDE))
Early = books_with(Freshness(refresh_early=True))
Timed = books_with(Freshness(fail_safe=ASIDE, soft_timeout=0.05, hard_timeout=0.5))


async def counted(shop: Shop, books: Any = Books, author: int = 1) -> int:
    return int(await shop.db[books].count(Book.author_id == author))


async def titles(shop: Shop) -> list[str]:
    found = await shop.db[Books].find(Book.author_id == 1, order_by=[Book.title])
    return [book.title for book in found]


async def settled(shop: Shop, read: Any) -> None:
    async def again() -> bool:
        before = statements(shop)
        await read()
        await ended(shop)
        return statements(shop) == before

    await until(again, "the answer is cached")
    shop.seen.clear()


async def insert(shop: Shop, id: int = 19, books: Any = Books) -> Any:
    async with shop.db.unit_of_work() as work:
        work.add(Book(id=id, author_id=1, title=f"z{id}"))
        return await work.commit()


UNSEEN = "INSERT INTO books SELECT 18, 1, 'u1', pages, genre, price, printed, code, notes, changed "
UNSEEN += "FROM books WHERE id = 11"


async def test_an_answer_past_its_ttl_is_given_at_once_and_asked_for_behind(
    repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    async with open_library(repocache_endpoints, repositories=(Authors, Books)) as shop:
        for read in (counted, titles, counted):  # each form that is new costs the others a miss
            await settled(shop, lambda read=read: read(shop))
        assert TTL + STALE < lives(repocache_servers, "book-queries") <= TTL + STALE + ASIDE
        unseen(repocache_servers, repocache_endpoints, UNSEEN)
        age(repocache_servers, "book-queries", PAST)
        assert (await titles(shop), await counted(shop)) == (["a1", "b1"], 2)
        await ended(shop)
        assert await counted(shop) == 3
        assert await titles(shop) == ["a1", "b1", "u1"]
        assert statements(shop) == 2
        assert lives(repocache_servers, "book-queries") > TTL + STALE


async def test_one_process_of_all_asks_for_it(
    repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    given = (Authors, Books)
    async with (
        open_library(repocache_endpoints, repositories=given) as one,
        open_library(repocache_endpoints, repositories=given) as two,
    ):
        for shop in (one, two):
            await settled(shop, lambda shop=shop: counted(shop))
        age(repocache_servers, "book-queries", PAST)
        await asyncio.gather(*(counted(shop) for shop in (one, two) for _ in range(30)))
        for shop in (one, two):
            await ended(shop)
        assert statements(one) + statements(two) == 1


async def test_an_answer_that_was_invalidated_is_found_by_nobody(
    repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    """It lies there still, past its time or not, under a name that has the old token."""
    given = (Authors, Books)
    async with (
        open_library(repocache_endpoints, repositories=given) as one,
        open_library(repocache_endpoints, repositories=given) as two,
    ):
        await settled(one, lambda: counted(one))
        age(repocache_servers, "book-queries", PAST)
        bookmark = await insert(two)
        assert await counted(two) == 3
        async with one.db.causal_session(bookmark):
            assert await counted(one) == 3


async def test_an_invalidation_that_a_renewal_meets_wins(
    repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    """1. It has read the old answer; 2. a row is written, and its tag moves; 3. it stores what it
    has read."""
    given = (Authors, Books)
    async with (
        open_library(repocache_endpoints, repositories=given) as one,
        open_library(repocache_endpoints, repositories=given) as two,
    ):
        await settled(one, lambda: counted(one))
        access: Any = one.db[Books]._access
        loader = access.queries.caches(Books.queries).entries._loader
        source, read, go = loader._source, asyncio.Event(), asyncio.Event()

        class Slow:
            @staticmethod
            async def load(wanted: object) -> object:
                rows = await source.load(wanted)
                read.set()
                await go.wait()
                return rows

        loader._source = Slow
        age(repocache_servers, "book-queries", PAST)
        assert await counted(one) == 2
        await read.wait()
        loader._source = source
        bookmark = await insert(two)
        go.set()
        await ended(one)
        for shop in (one, two):
            async with shop.db.causal_session(bookmark):
                assert await counted(shop) == 3
            assert await counted(shop) == 3


async def test_its_token_lives_as_long(
    repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    async with open_library(repocache_endpoints, repositories=(Authors, Books)) as shop:
        await settled(shop, lambda: counted(shop))
        before = held(repocache_servers, "tag--books")
        age(repocache_servers, "tag--books", 600)
        shop.db._started.cache.shared.local.clear()
        assert await counted(shop) == 2
        await ended(shop)
        assert lives(repocache_servers, "tag--books") > TTL + STALE + ASIDE
        assert held(repocache_servers, "tag--books") == before
        assert statements(shop) == 0


async def test_hot_answers_are_asked_for_early(
    repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    async with open_library(repocache_endpoints, repositories=(Authors, Early)) as shop:
        await settled(shop, lambda: counted(shop, Early))
        access: Any = shop.db[Early]._access
        renewals = access.queries.caches(Early.queries).entries._renewals
        renewals._seconds, renewals.draw = 60.0, lambda: 0.9
        age(repocache_servers, "book-queries", 60)
        assert await counted(shop, Early) == 2
        await ended(shop)
        assert statements(shop) == 1
        assert lives(repocache_servers, "book-queries") > 60


async def test_an_answer_long_past_its_time_is_given_while_the_database_is_away(
    repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    async with behind_a_door(repocache_endpoints, (Authors, Books)) as (shop, door):
        await settled(shop, lambda: counted(shop))
        age(repocache_servers, "book-queries", ASIDE - 1)
        await lose(door)
        async with shop.db.causal_session() as session:
            assert await counted(shop) == 2
            assert len(session.stale) == 1
        assert shop.seen.of(Served)[-1].tier == "aside"


async def test_while_the_database_answers_it_is_asked(
    repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    async with open_library(repocache_endpoints, repositories=(Authors, Books)) as shop:
        await settled(shop, lambda: counted(shop))
        unseen(repocache_servers, repocache_endpoints, UNSEEN)
        age(repocache_servers, "book-queries", ASIDE - 1)
        assert await counted(shop) == 3


async def test_what_an_invalidation_took_away_is_given_to_nobody(
    repocache_endpoints: Endpoints,
) -> None:
    async with behind_a_door(repocache_endpoints, (Authors, Books)) as (shop, door):
        await settled(shop, lambda: counted(shop))
        await insert(shop)
        await lose(door)
        with pytest.raises(DatabaseUnavailable):
            await counted(shop)
        async with shop.db.causal_session():
            with pytest.raises(DatabaseUnavailable):
                await counted(shop)


async def test_who_has_waited_is_given_what_is_kept_or_the_error(
    repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    async with behind_a_door(repocache_endpoints, (Authors, Timed)) as (shop, door):
        await settled(shop, lambda: counted(shop, Timed))
        age(repocache_servers, "book-queries", ASIDE - 1)
        door.freeze()
        async with asyncio.timeout(10):
            assert await counted(shop, Timed) == 2
            with pytest.raises(DatabaseUnavailable, match="in time"):
                await counted(shop, Timed, author=2)
        await lose(door)


async def test_a_shorter_time_has_the_same_freshness(
    repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    async with open_library(repocache_endpoints, repositories=(Authors, Books)) as shop:
        brief = shop.db[Books].cached(ttl=100)
        await settled(shop, lambda: brief.count(Book.author_id == 1))
        assert STALE + ASIDE < lives(repocache_servers, "book-queries") <= 100 + STALE + ASIDE


def test_a_function_of_a_row_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="ttl_of"):
        CachedQueries(freshness=Freshness(ttl_of=lambda _: 1.0))
    with pytest.raises(ConfigurationError, match="CachedQueries"):
        CachedQueries(freshness=3)  # type: ignore[arg-type]
