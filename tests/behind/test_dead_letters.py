"""Rows that the database refuses, found among those that it takes."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from repocache import UsageError
from repocache.events import DeadLettered, WrittenBehind
from tests.behind.counters import Article, ArticleId, Articles, Counting, PageView, PageViews

BAD = 10**9
"""A check refuses so many hits."""


async def test_what_is_refused_is_found_among_what_is_taken(one: Counting) -> None:
    views = one.db[PageViews]
    bad = {3, 50, 51, 99}
    await asyncio.gather(
        *(views.add(id, hits=BAD if id in bad else 1) for id in range(100)), views.add(50, small=1)
    )
    await views.put(PageView(id=200, title="a\0b"))
    await views.add(201, small=2**40)
    await views.flushed()
    rows = await one.sql("SELECT id FROM page_views ORDER BY id")
    assert [id for (id,) in rows] == sorted({*range(100)} - bad)
    letters = await views.dead.list()
    assert {each.key for each in letters} == {f"pageview:{id}" for id in (*bad, 200, 201)}
    by_key = {each.key: each for each in letters}
    assert by_key["pageview:50"].adds == {"hits": BAD, "small": 1}
    assert by_key["pageview:200"].sets == {"title": "a\0b"}
    assert "constraint not_too_many" in by_key["pageview:50"].why
    assert str(BAD) not in by_key["pageview:50"].why
    [event] = one.seen.of(DeadLettered)
    assert (event.owner, event.letters) == ("pageview", 6)
    [written] = one.seen.of(WrittenBehind)
    assert written.rows == 96
    assert await views.dead.count() == 6


async def test_letters_are_replayed_once_the_cause_is_mended(one: Counting) -> None:
    views = one.db[PageViews]
    for id in (7, 8):
        await views.add(id, hits=BAD, seconds=Decimal("0.5"))
    await views.flushed()
    await views.add(7, hits=1)
    await views.flushed()
    assert await views.dead.replay() == 0
    assert await views.dead.count() == 2
    await one.sql("ALTER TABLE page_views DROP CONSTRAINT not_too_many")
    [first, second] = await views.dead.list()
    assert await views.dead.replay([first.id]) == 1
    told = await asyncio.gather(views.dead.replay(), views.dead.replay())
    assert sorted(told) == [0, 1]
    assert await views.dead.count() == 0
    assert await one.sql("SELECT id, hits, seconds FROM page_views ORDER BY id") == [
        (7, BAD + 1, Decimal("0.500")),
        (8, BAD, Decimal("0.500")),
    ]
    assert second.since <= (await one.sql("SELECT now()"))[0][0]


async def test_letters_are_dropped(one: Counting) -> None:
    views = one.db[PageViews]
    for id in range(4):
        await views.add(id, hits=BAD)
    await one.db[Articles].add(ArticleId(1, "x"), reads=1)
    await views.flushed()
    await one.db[Articles].flushed()
    letters = await views.dead.list(most=2)
    assert [each.key for each in letters] == ["pageview:0", "pageview:1"]
    assert await views.dead.drop([letters[0].id]) == 1
    assert await views.dead.drop([letters[0].id, 10**6]) == 0
    assert await views.dead.drop() == 3
    assert await views.dead.list() == []
    assert await one.db[Articles].dead.count() == 1, "another's"


async def test_a_row_that_cannot_be_made_of_a_count_has_to_be_there(one: Counting) -> None:
    articles = one.db[Articles]
    there, missing = ArticleId(1, "there"), ArticleId(1, "missing")
    await articles.put(Article(tenant=1, slug="there", title="a"))
    await articles.flushed()
    for id in (there, missing):
        await articles.add(id, reads=5)
    assert await articles.get(missing) is None
    assert (await articles.require(there)).reads == 5
    await articles.flushed()
    assert await one.sql("SELECT slug, reads FROM articles") == [("there", 5)]
    [letter] = await articles.dead.list()
    assert "there is no such row, and none can be made of reads" in letter.why
    await articles.put(Article(tenant=1, slug="missing", title="b"))
    await articles.flushed()
    assert await articles.dead.replay() == 1
    assert (await articles.require(missing)).reads == 5


@pytest.mark.parametrize("ids", ["7", 7, ["7"], [1.0]])
async def test_ids_of_letters_are_numbers(ids: object, one: Counting) -> None:
    for call in (one.db[PageViews].dead.replay, one.db[PageViews].dead.drop):
        with pytest.raises(UsageError, match="a list of letters' ids"):
            await call(ids)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="1 or more"):
        await one.db[PageViews].dead.list(most=0)
