"""Rows with what is pending: never twice, never less."""

from __future__ import annotations

import asyncio
import uuid
from decimal import Decimal

import pytest

from repocache import NotFound
from repocache.events import UndeclaredWrite, WrittenBehind
from tests.behind.counters import (
    Article,
    ArticleId,
    Articles,
    Counting,
    Device,
    Devices,
    Mood,
    PageView,
    PageViews,
)


async def hits(place: Counting, id: int = 7) -> int:
    return (await place.db[PageViews].require(id)).hits


async def test_what_is_accepted_is_read_at_once_and_written_later(
    one: Counting, other: Counting
) -> None:
    views = one.db[PageViews]
    assert await views.get(7) is None
    await views.add(7, hits=1)
    await views.add(7, hits=2, seconds=Decimal("0.125"))
    for place in (one, other):
        row = await place.db[PageViews].require(7)
        assert (row.hits, row.seconds, row.small) == (3, Decimal("0.125"), None)
    assert await one.sql("SELECT * FROM page_views") == []
    await views.flushed()
    assert await one.sql("SELECT id, hits, seconds FROM page_views") == [(7, 3, Decimal("0.125"))]
    assert [await hits(place) for place in (one, other)] == [3, 3]
    await other.db[PageViews].add(7, hits=-4)
    assert [await hits(place) for place in (one, other)] == [-1, -1]
    with pytest.raises(NotFound):
        await views.require(8)
    assert not one.seen.of(UndeclaredWrite)
    [event] = one.seen.of(WrittenBehind)
    assert (event.owner, event.rows, event.changes, event.left) == ("pageview", 1, 2, 0)
    assert event.seconds >= 0


async def test_the_last_put_wins_and_what_is_added_after_it_counts(one: Counting) -> None:
    views = one.db[PageViews]
    await views.add(7, hits=5, small=1)
    await views.put(PageView(id=7, hits=100, title="a"))
    await views.add(7, hits=1)
    await views.put(PageView(id=7, title="b"))
    expected = (101, 1, "b")
    found = await views.require(7)
    assert (found.hits, found.small, found.title) == expected
    await views.flushed()
    assert await one.sql("SELECT hits, small, title FROM page_views") == [expected]
    found = await views.require(7)
    assert (found.hits, found.small, found.title) == expected


async def test_a_put_sets_what_it_has_and_leaves_the_rest(one: Counting) -> None:
    await one.sql("INSERT INTO page_views (id, hits, title) VALUES (7, 5, 'a')")
    await one.db[PageViews].put(PageView(id=7, small=2))
    await one.db[PageViews].add(7, hits=1)
    await one.db[PageViews].flushed()
    assert await one.sql("SELECT hits, small, title, seen IS NOT NULL FROM page_views") == [
        (6, 2, "a", True)
    ], "and what an UPDATE of SQLAlchemy's would set"


async def test_a_put_without_columns_makes_a_row(one: Counting) -> None:
    await one.db[PageViews].put(PageView(id=7))
    assert await hits(one) == 0
    await one.db[PageViews].flushed()
    await one.db[PageViews].put(PageView(id=7))
    await one.db[PageViews].flushed()
    assert await one.sql("SELECT id, hits, title FROM page_views") == [(7, 0, None)]


async def test_ids_and_values_of_all_kinds(one: Counting) -> None:
    articles, devices = one.db[Articles], one.db[Devices]
    id, device, token = ArticleId(1, "a:b%"), uuid.uuid4(), uuid.uuid4()
    await articles.put(
        Article(
            tenant=1, slug="a:b%", title="é", token=token, mood=Mood.BAD, extra={"a": [1, None]}
        )
    )
    await articles.add(id, reads=2)
    await devices.add(device, pings=1)
    for _ in range(2):
        found = await articles.require(id)
        assert (found.title, found.reads, found.token) == ("é", 2, token)
        assert (found.mood, found.extra) == (Mood.BAD, {"a": [1, None]})
        assert (await devices.require(device)).pings == 1
        assert (await one.db[Devices].get_many([uuid.uuid4(), device])).keys() == {device}
        await articles.flushed()
        await devices.flushed()
    assert await one.sql("SELECT tenant, slug, reads, mood, extra FROM articles") == [
        (1, "a:b%", 2, "BAD", {"a": [1, None]})
    ]
    await devices.put(Device(id=device, pings=9))
    await devices.flushed()
    assert await one.sql("SELECT pings FROM devices") == [(9,)]


async def test_null_counts_as_nothing(one: Counting) -> None:
    await one.sql("INSERT INTO page_views (id, hits) VALUES (7, 0)")
    await one.db[PageViews].add(7, small=3, seconds=1)
    assert (await one.db[PageViews].require(7)).small == 3
    await one.db[PageViews].flushed()
    assert await one.sql("SELECT small, seconds FROM page_views") == [(3, Decimal("1.000"))]


async def test_many_are_read_in_one_round_in_the_order_asked(one: Counting) -> None:
    await asyncio.gather(*(one.db[PageViews].add(id, hits=id) for id in range(1, 6)))
    found = await one.db[PageViews].get_many([5, 9, 3, 1, 3])
    assert [(id, each.hits) for id, each in found.items()] == [(5, 5), (3, 3), (1, 1)]
    assert await one.db[PageViews].get_many([]) == {}


async def test_no_read_counts_twice_or_misses_while_flushes_run(
    one: Counting, other: Counting
) -> None:
    """A reader's own changes are all in what he reads, and no others than were made."""
    done = 0

    async def flush() -> None:
        while True:
            await other.db[PageViews].flushed()

    async def read() -> None:
        while done < 300:
            before, found = done, await one.db[PageViews].get(7)
            assert before <= (found.hits if found else 0) <= done + 1

    flushing = asyncio.create_task(flush())
    reading = [asyncio.create_task(read()) for _ in range(3)]
    for _ in range(300):
        await one.db[PageViews].add(7, hits=1)
        done += 1
    await asyncio.gather(*reading)
    flushing.cancel()
    await asyncio.wait([flushing])
    assert len(other.seen.of(WrittenBehind)) >= 5
    assert await hits(one) == await hits(other) == 300
