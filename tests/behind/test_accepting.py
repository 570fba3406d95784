"""What is accepted, what is not, and what nobody can say of."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from repocache import BacklogFull, Flush, LinkSettings, Settings, WriteBehind
from repocache.behind.scripts import ACCEPT
from repocache.errors import AcceptanceUnknown, BehindUnavailable, NotStarted
from repocache.redis_link import BreakerSettings, Limits
from repocache.testing import Endpoints, Servers
from repocache.testing.ports import free_port
from tests.behind.counters import (
    OFTEN,
    RARELY,
    Counting,
    PageView,
    PageViews,
    counting,
    page_views,
)
from tests.shop import QUICK, until
from tests.tcp_proxy import Held, TcpProxy

Task = asyncio.Task[None]
LINK = LinkSettings(
    limits=Limits(reply_timeout=0.4, pulse=0.2), breaker=BreakerSettings(first=0.02)
)


async def total(place: Counting) -> int:
    [(found,)] = await place.sql("SELECT coalesce(sum(hits), 0)::int FROM page_views")
    return int(found)


async def test_callers_of_one_moment_are_one_item(
    one: Counting, repocache_servers: Servers
) -> None:
    await asyncio.gather(*(one.db[PageViews].add(id % 10, hits=1) for id in range(500)))
    length = repocache_servers.redis.command("XLEN", "app:behind:{pageview.0}:items")
    assert length in (1, 2, 3)
    found = await one.db[PageViews].backlog()
    assert found.changes <= 30
    assert 0 <= found.seconds < 60
    await one.db[PageViews].flushed()
    assert await total(one) == 500
    assert (await one.db[PageViews].backlog()).changes == 0


@pytest.mark.parametrize("streams", [1, 3])
async def test_no_more_is_taken_than_may_wait_and_nothing_is_lost(
    streams: int, repocache_endpoints: Endpoints
) -> None:
    few = page_views(dataclasses.replace(RARELY, backlog=9, streams=streams))
    async with counting(repocache_endpoints, [few]) as place:
        views = place.db[few]
        refused: list[str] = []
        for id in range(40):
            try:
                await views.add(id, hits=1)
            except BacklogFull as error:
                refused.append(str(error))
        assert len(refused) == 31
        assert all(f"{9 // streams} may wait" in each for each in refused)
        assert (await views.backlog()).changes == 9
        await views.flushed()
        assert await total(place) == 9
        await views.add(7, hits=1)


async def test_what_comes_at_once_fills_the_room_that_there_is(
    repocache_endpoints: Endpoints,
) -> None:
    few = page_views(dataclasses.replace(RARELY, backlog=10))
    async with counting(repocache_endpoints, [few]) as place:
        views = place.db[few]
        told = await asyncio.gather(
            *(views.add(id, hits=1) for id in range(15)), return_exceptions=True
        )
        assert [each is None for each in told].count(True) == 10
        assert sum(isinstance(each, BacklogFull) for each in told) == 5
        await views.flushed()
        assert await total(place) == 10


async def test_a_caller_that_is_cancelled_leaves_the_others(one: Counting) -> None:
    adding = [asyncio.create_task(one.db[PageViews].add(7, hits=1)) for _ in range(10)]
    await asyncio.sleep(0)
    adding[3].cancel()
    told = await asyncio.gather(*adding, return_exceptions=True)
    assert sum(each is None for each in told) == 9
    await one.db[PageViews].flushed()
    assert await total(one) == 10


@asynccontextmanager
async def behind_a_proxy(
    ends: Endpoints, flush: Flush
) -> AsyncIterator[tuple[Counting, type[WriteBehind[PageView, int]], TcpProxy]]:
    kind = page_views(flush)
    async with TcpProxy(ends.redis) as proxy:
        settings = Settings(topology=QUICK, link=LINK)
        placed = dataclasses.replace(ends, redis=proxy.url)
        async with counting(placed, [kind], settings) as place:
            yield place, kind, proxy


async def on_its_way(proxy: TcpProxy, adding: Coroutine[Any, Any, None]) -> tuple[Task, Held]:
    """A change that has been sent, and has not arrived."""
    trapped = proxy.trap(ACCEPT.sha.encode())
    task = asyncio.create_task(adding)
    return task, await trapped


async def test_a_change_whose_answer_was_lost_counts_once(repocache_endpoints: Endpoints) -> None:
    """1. Redis takes it; 2. the answer is lost with the connection; 3. it is sent again."""
    async with behind_a_proxy(repocache_endpoints, RARELY) as (place, kind, proxy):
        await place.db[kind].add(7, hits=1)
        for arrives in (True, False, True):
            adding, held = await on_its_way(proxy, place.db[kind].add(7, hits=1))
            if arrives:
                held.deliver_and_hang_up()
            else:
                held.lose()
            await adding
        assert (await place.db[kind].require(7)).hits == 4
        await place.db[kind].flushed()
        assert await total(place) == 4


async def test_what_redis_forgot_meanwhile_is_unknown(
    repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    async with behind_a_proxy(repocache_endpoints, RARELY) as (place, kind, proxy):
        await place.db[kind].add(7, hits=1)
        adding, held = await on_its_way(proxy, place.db[kind].add(7, hits=1))
        repocache_servers.redis.command("FLUSHALL")
        held.lose()
        with pytest.raises(AcceptanceUnknown):
            await adding


async def test_redis_away(repocache_endpoints: Endpoints) -> None:
    impatient = Flush(every=3_600, patience=0.3)
    async with behind_a_proxy(repocache_endpoints, impatient) as (place, kind, proxy):
        views = place.db[kind]
        await views.add(7, hits=1)
        adding, held = await on_its_way(proxy, views.add(7, hits=1))
        proxy.lead_to(f"redis://127.0.0.1:{free_port()}")
        held.deliver_and_hang_up()
        await proxy.cut()
        with pytest.raises(AcceptanceUnknown):
            await adding
        for call in (
            lambda: views.add(7, hits=1),
            lambda: views.get(7),
            views.flushed,
            views.backlog,
        ):
            with pytest.raises(BehindUnavailable):
                await call()
        proxy.lead_to(repocache_endpoints.redis)

        refused: list[str] = []

        async def again() -> bool:
            try:
                await views.add(8, hits=1)
            except BehindUnavailable as error:
                refused.append(str(error))
            return not refused or "nothing was accepted" not in refused.pop()

        await until(again, "Redis is back")
        assert (await views.require(7)).hits == 2
        await views.flushed()
        assert await total(place) == 3


async def test_a_redis_without_memory_refuses_and_loses_nothing(
    one: Counting, repocache_servers: Servers
) -> None:
    redis = repocache_servers.redis
    await one.db[PageViews].add(7, hits=1)
    redis.command("CONFIG", "SET", "maxmemory", "1")
    try:
        with pytest.raises(BehindUnavailable, match=r"nothing was accepted.*OOM"):
            await one.db[PageViews].add(7, hits=1)
    finally:
        redis.command("CONFIG", "SET", "maxmemory", "0")
    await one.db[PageViews].flushed()
    assert await total(one) == 1


async def test_nothing_is_accepted_once_the_database_is_left(
    repocache_endpoints: Endpoints,
) -> None:
    often = page_views(OFTEN)
    async with counting(repocache_endpoints, [often]) as place:
        views = place.db[often]
    for call in (
        lambda: views.add(7, hits=1),
        lambda: views.put(PageView(id=7)),
        lambda: views.get(7),
        views.flushed,
        views.backlog,
        views.dead.list,
    ):
        with pytest.raises(NotStarted):
            await call()
    with pytest.raises(NotStarted):
        _ = place.db[often]
