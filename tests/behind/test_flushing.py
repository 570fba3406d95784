"""Exactly once: whoever flushes, and whatever becomes of its transaction, of Redis, or of its
lease."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from repocache import Flush, WriteBehind
from repocache.behind.change import RowChange, pack
from repocache.behind.flusher import Flusher
from repocache.behind.positions import KEPT, Item, Positions
from repocache.errors import AcceptedLost, DatabaseUnavailable
from repocache.events import BacklogLeft, FlushFailed, WrittenBehind
from repocache.testing import Endpoints, Servers
from tests.behind.counters import (
    OFTEN,
    RARELY,
    Counting,
    PageView,
    PageViews,
    Views,
    counting,
    page_views,
)
from tests.shop import until
from tests.tcp_proxy import TcpProxy

STATE = "app:behind:{pageview.0}"


async def hits(place: Counting, id: int = 7) -> int:
    rows = await place.sql(f"SELECT hits FROM page_views WHERE id = {id}")
    return int(rows[0][0]) if rows else 0


def flusher(views: WriteBehind[Any, Any]) -> Flusher:
    [found] = views._opened.flushers
    return found


async def waiting(views: WriteBehind[Any, Any]) -> list[Item]:
    return await flusher(views).stream.first(1_000_000)


async def test_it_is_flushed_by_itself(repocache_endpoints: Endpoints) -> None:
    often = page_views(OFTEN)
    async with counting(repocache_endpoints, [often]) as place:
        for _ in range(3):
            before = await hits(place)
            await place.db[often].add(7, hits=1)

            async def written(wanted: int = before + 1) -> bool:
                return await hits(place) == wanted

            await until(written, "it is written")


async def test_a_flush_begins_at_once_when_enough_waits(repocache_endpoints: Endpoints) -> None:
    many = page_views(Flush(every=0.2, most=10))
    rare = page_views(RARELY)
    async with counting(repocache_endpoints, [rare]) as writer:
        for id in range(35):
            await writer.db[rare].add(id, hits=1)
        async with counting(repocache_endpoints, [many]) as place:
            await until(lambda: len(place.seen.of(WrittenBehind)) >= 4, "all are written")
            written = [each.changes for each in place.seen.of(WrittenBehind)]
            assert written == [10, 10, 10, 5]
            assert [each.left for each in place.seen.of(WrittenBehind)] == [25, 15, 5, 0]


async def test_caches_of_the_rows_are_told(one: Counting, other: Counting) -> None:
    await one.sql("INSERT INTO page_views (id, hits) VALUES (7, 1), (8, 1)")
    for place in (one, other):
        await place.db[Views].get_many([7, 8])
    await one.db[PageViews].add(7, hits=1)
    await one.db[PageViews].flushed()
    for place in (one, other):

        async def seen(place: Counting = place) -> bool:
            return (await place.db[Views].require(7)).hits == 2

        await until(seen, "its own commit is known")


async def test_items_that_two_flush_are_written_once(one: Counting, other: Counting) -> None:
    """The lease has ended under the first. All of them have the items, and wait: one for the row,
    the others for it."""
    await one.db[PageViews].add(7, hits=1)
    await one.db[PageViews].flushed()
    for _ in range(5):
        await one.db[PageViews].add(7, hits=1)
    items = await waiting(one.db[PageViews])
    async with one.db.engine.connect() as connection:
        await connection.execute(text("SELECT FROM page_views FOR UPDATE"))
        flushing = [
            asyncio.create_task(
                flusher(place.db[PageViews])._transaction.flush(f"{STATE}:items", items)
            )
            for place in (one, other, one, other)
        ]

        async def all_wait() -> bool:
            rows = await one.sql(
                "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
                "AND datname = current_database()"
            )
            return len(rows) == 4

        await until(all_wait, "all wait")
        await connection.rollback()
    done = await asyncio.gather(*flushing)
    assert sorted(each.changes for each in done) == [0, 0, 0, 5]
    assert await hits(one) == 6
    await other.db[PageViews].add(7, hits=1)
    assert (await one.db[PageViews].require(7)).hits == 7, "written, and in the stream still"
    await one.db[PageViews].flushed()
    assert await hits(one) == 7
    assert await waiting(one.db[PageViews]) == []


async def test_what_another_stream_holds_is_not_taken_out(
    one: Counting, repocache_servers: Servers, repocache_endpoints: Endpoints
) -> None:
    """1. A flush commits; 2. Redis loses all, and has an item of that id again; 3. the flush takes
    out what it has written."""
    await one.db[PageViews].add(7, hits=1)
    [item] = await waiting(one.db[PageViews])
    await flusher(one.db[PageViews])._transaction.flush(f"{STATE}:items", [item])
    repocache_servers.redis.command("FLUSHALL")
    data = pack({"pageview:7": RowChange(adds={"hits": 10})})
    async with Redis.from_url(repocache_endpoints.redis) as redis:
        await redis.hset(f"{STATE}:state", mapping={"i": "x", "r": "x", "a": "1", "f": "0"})
        await redis.xadd(f"{STATE}:items", {"i": "x", "n": 1, "c": 1, "d": data}, id=item.text)
    assert await flusher(one.db[PageViews]).stream.trim(item) is None
    await one.db[PageViews].flushed()
    assert await hits(one) == 11


async def test_what_leaves_redis_is_on_the_disk(one: Counting) -> None:
    transaction = flusher(one.db[PageViews])._transaction
    for given, wanted in (("off", "on"), ("local", "local"), ("remote_write", "remote_write")):
        async with transaction._opening() as work:
            await work.session.execute(text(f"SET LOCAL synchronous_commit = {given}"))
            await transaction._locked(work.session, "a stream")
            shown = await work.session.execute(text("SHOW synchronous_commit"))
            assert shown.scalar_one() == wanted
            await work.rollback()


async def test_nobody_flushes_while_another_has_the_lease(
    one: Counting, repocache_servers: Servers
) -> None:
    await one.db[PageViews].add(7, hits=1)
    repocache_servers.redis.command("SET", f"{STATE}:lease", "somebody", "PX", 400)
    flushing = asyncio.create_task(one.db[PageViews].flushed())
    await asyncio.sleep(0.1)
    assert (flushing.done(), await hits(one)) == (False, 0)
    await flushing
    assert await hits(one) == 1
    assert repocache_servers.redis.command("GET", f"{STATE}:lease") is None


@asynccontextmanager
async def primary_behind_a_proxy(
    ends: Endpoints, kind: Any
) -> AsyncIterator[tuple[Counting, TcpProxy]]:
    async with TcpProxy(ends.primary) as proxy:
        placed = dataclasses.replace(ends, primary=proxy.url, replicas=())
        async with counting(placed, [kind]) as place:
            yield place, proxy


@pytest.mark.parametrize("arrives", [True, False])
async def test_a_commit_of_which_nobody_knows(
    arrives: bool, repocache_endpoints: Endpoints
) -> None:
    """1. COMMIT is sent; 2. the connection is lost; 3. the position says whether it was done."""
    async with primary_behind_a_proxy(repocache_endpoints, PageViews) as (place, proxy):
        views = place.db[PageViews]
        await views.add(7, hits=1)
        await views.flushed()
        await views.add(7, hits=2)
        trapped = proxy.trap(b"COMMIT")
        flushing = asyncio.create_task(views.flushed())
        held = await trapped
        if arrives:
            held.deliver_and_hang_up()
        else:
            held.lose()
        with pytest.raises((DBAPIError, DatabaseUnavailable)):
            await flushing
        await views.add(7, hits=4)

        async def again() -> bool:
            try:
                assert (await views.require(7)).hits == 7
                await views.flushed()
            except (DBAPIError, DatabaseUnavailable):
                return False
            return True

        await until(again, "the primary is back")
        assert await hits(place) == 7


async def test_a_database_that_is_away_is_waited_for(repocache_endpoints: Endpoints) -> None:
    often = page_views(OFTEN)
    async with primary_behind_a_proxy(repocache_endpoints, often) as (place, proxy):
        proxy.freeze()
        await place.db[often].add(7, hits=1)
        await proxy.cut()
        await place.db[often].add(7, hits=1)
        await until(lambda: bool(place.seen.of(FlushFailed)), "the flush fails")
        proxy.thaw()

        async def written() -> bool:
            try:
                return await hits(place) == 2
            except DBAPIError:
                return False

        await until(written, "it is written")


async def test_another_life_of_the_stream_is_not_covered_by_the_position(
    one: Counting,
    other: Counting,
    repocache_servers: Servers,
    repocache_endpoints: Endpoints,
) -> None:
    """Its ids say nothing of those of before: here they are lower."""
    views = one.db[PageViews]
    await views.add(7, hits=1)
    await views.flushed()
    assert (await one.db[PageViews].require(7)).hits == 1
    repocache_servers.redis.command("FLUSHALL")
    data = pack({"pageview:7": RowChange(adds={"hits": 10})})
    async with Redis.from_url(repocache_endpoints.redis) as redis:
        await redis.hset(f"{STATE}:state", mapping={"i": "x", "r": "x", "a": "1", "f": "0"})
        await redis.xadd(f"{STATE}:items", {"i": "x", "n": 1, "c": 1, "d": data}, id="5-0")
    for place in (one, other):
        assert (await place.db[PageViews].require(7)).hits == 11
    await views.add(7, hits=100)
    for place in (one, other):
        assert (await place.db[PageViews].require(7)).hits == 111
    await views.flushed()
    assert await hits(one) == 111
    [(stored,)] = await one.sql("SELECT positions FROM repocache_write_behind")
    assert len(stored) == 3


async def test_a_redis_that_comes_back_with_old_data_flushes_none_of_it_again(
    repocache_endpoints: Endpoints, repocache_controls: Servers
) -> None:
    redis = repocache_controls.redis
    async with counting(repocache_endpoints, [PageViews]) as place:
        views = place.db[PageViews]
        await views.add(7, hits=1)
        redis.snapshot()
        await views.flushed()
        await views.add(7, hits=10)
        await views.flushed()
        await asyncio.to_thread(redis.kill)
        await asyncio.to_thread(redis.start)

        async def back() -> bool:
            try:
                await views.add(7, hits=100)
            except Exception:  # noqa: BLE001  # whatever it is, it is away
                return False
            return True

        await until(back, "Redis is back")
        assert (await views.require(7)).hits == 111
        await views.flushed()
        assert await hits(place) == 111


async def test_what_redis_has_lost_is_said(one: Counting, repocache_servers: Servers) -> None:
    views = one.db[PageViews]
    await views.add(7, hits=1)
    repocache_servers.redis.command("SET", f"{STATE}:lease", "somebody", "PX", 60_000)
    flushing = asyncio.create_task(views.flushed())
    await asyncio.sleep(0.1)
    repocache_servers.redis.command("FLUSHALL")
    with pytest.raises(AcceptedLost, match="gone from Redis"):
        await flushing
    await views.add(7, hits=2)
    await views.flushed()
    assert await hits(one) == 2


async def test_a_cancelled_caller_goes_at_once(one: Counting) -> None:
    """redis-py loses cancellations now and then."""
    stream = flusher(one.db[PageViews]).stream

    async def ask() -> None:
        while True:
            await stream.since("", None)
            await stream.look()

    for number in range(200):
        asking = asyncio.create_task(ask())
        await asyncio.sleep(number * 2e-5)
        asking.cancel()
        done, _ = await asyncio.wait([asking], timeout=5)
        assert done


async def test_leaving_flushes(repocache_endpoints: Endpoints, one: Counting) -> None:
    async with counting(repocache_endpoints, [PageViews]) as place:
        adding = [asyncio.create_task(place.db[PageViews].add(7, hits=1)) for _ in range(5)]
        await asyncio.sleep(0)
    assert [each.exception() for each in adding] == [None] * 5
    assert await hits(one) == 5
    assert not place.seen.of(BacklogLeft)


async def test_leaving_says_what_it_could_not_flush(
    repocache_endpoints: Endpoints, one: Counting
) -> None:
    async with primary_behind_a_proxy(repocache_endpoints, PageViews) as (place, proxy):
        await place.db[PageViews].add(7, hits=1)
        await place.db[PageViews].add(8, hits=1)
        proxy.freeze()
    [left] = place.seen.of(BacklogLeft)
    assert (left.owner, left.changes) == ("pageview", 2)
    assert left.remedy
    await one.db[PageViews].flushed()
    assert await hits(one) == await hits(one, 8) == 1


async def test_streams_that_are_not_written_to_any_more_are_flushed(
    repocache_endpoints: Endpoints, one: Counting
) -> None:
    many, few = page_views(dataclasses.replace(RARELY, streams=4)), page_views(RARELY)
    async with counting(repocache_endpoints, [many]) as before:
        await asyncio.gather(*(before.db[many].add(id, hits=1) for id in range(40)))
        await before.db[many].flushed()
        assert len(await one.sql("SELECT 1 FROM repocache_write_behind")) == 4
        await asyncio.gather(*(before.db[many].add(id, hits=1) for id in range(40)))
        async with counting(repocache_endpoints, [few]) as after:
            await asyncio.gather(*(after.db[few].add(id, hits=1) for id in range(40)))
            found = await after.db[few].get_many(range(40))
            assert {each.hits for each in found.values()} == {3}
            await after.db[few].flushed()
            assert await one.sql("SELECT hits, count(*) FROM page_views GROUP BY 1") == [(3, 40)]
            assert (await before.db[many].require(7)).hits == 3


async def test_a_constraint_that_waits_for_commit_is_looked_at_before(one: Counting) -> None:
    """Else nobody could say which row it is."""
    await one.sql(
        "ALTER TABLE page_views ADD CONSTRAINT u UNIQUE (title) DEFERRABLE INITIALLY DEFERRED"
    )
    for id in (7, 8):
        await one.db[PageViews].put(PageView(id=id, title="same"))
    await one.db[PageViews].flushed()
    assert await one.sql("SELECT id FROM page_views") == [(7,)]
    assert [each.key for each in await one.db[PageViews].dead.list()] == ["pageview:8"]


def test_lives_are_remembered_the_last_flushed_longest() -> None:
    positions = Positions()
    for number in range(KEPT + 10):
        items = [Item((number, 0), f"life{number}", 1, 1, b""), Item((9, 9), "first", 1, 1, b"")]
        positions = positions.after(items)
    read = Positions.read(positions.stored)
    assert len(read.by_life) == KEPT
    assert read.covers("first", (9, 9))
    assert not read.covers("first", (9, 10))
    assert not read.covers("life0", (0, 0))
    assert not read.covers("nobody's", (0, 0))
