"""Long values, many at once, on a subscribed connection whose buffer the server bounds."""

from __future__ import annotations

import asyncio

import pytest

from repocache.errors import CacheUnavailable
from repocache.redis_link import Address, Limits, Link, LinkSettings, PubsubLimit, Script
from repocache.redis_link.connection import room_for
from repocache.redis_link.parts import PART
from repocache.testing import RedisServer
from tests.redis_link.conftest import StartRedis
from tests.redis_link.heard import PATIENT, QUICK, Heard, until

pytestmark = pytest.mark.usefixtures("clean_loop")

KIB = 1024
FILL = Script(
    "for n = 1, tonumber(ARGV[1]) do redis.call('SET', 'k' .. n, n .. string.rep('x', ARGV[2])) end"
)
MOST = 120 * KIB


def small(start_redis: StartRedis) -> RedisServer:
    """512 KB at once, of which replies may have half."""
    return start_redis("small", "client-output-buffer-limit pubsub 512kb 0 0")


def link_to(redis: RedisServer, heard: Heard) -> Link:
    return Link(
        Address.parse(redis.url), heard, scripts=[FILL], channels=["news"], settings=PATIENT
    )


@pytest.mark.parametrize(
    "size, count", [(100 * KIB, 60), (PART - 4, 300), (PART, 300), (100, 5_000)]
)
async def test_many_at_once_never_meet_the_servers_limit(
    start_redis: StartRedis, size: int, count: int
) -> None:
    heard = Heard()
    async with link_to(await asyncio.to_thread(small, start_redis), heard) as link:
        await link.run(FILL, [], [count, size])
        values = await asyncio.gather(*(link.fetch(f"k{n}", MOST) for n in range(1, count + 1)))
        assert values == [b"%d" % n + b"x" * size for n in range(1, count + 1)]
        assert heard.events == ["up"]


async def test_without_parts_they_do_meet_it(start_redis: StartRedis) -> None:
    heard = Heard()
    async with link_to(await asyncio.to_thread(small, start_redis), heard) as link:
        await link.run(FILL, [], [60, 100 * KIB])
        asked = asyncio.gather(
            *(link.call("GETRANGE", f"k{n}", 0, -1) for n in range(1, 61)), return_exceptions=True
        )
        assert any(isinstance(each, CacheUnavailable) for each in await asked)
        assert heard.events[1:2] == ["down: the server closed the connection"]


async def test_a_value_is_cut_where_it_was_said(redis: RedisServer) -> None:
    async with link_to(redis, Heard()) as link:
        await link.run(FILL, [], [1, 1000 * KIB])
        assert await link.fetch("k1", 200_000) == (b"1" + b"x" * 200_000)[:200_000]
        assert await link.fetch("k2", 200_000) is None


async def test_what_may_be_more_than_the_limit_is_not_asked_for(start_redis: StartRedis) -> None:
    heard = Heard()
    async with link_to(await asyncio.to_thread(small, start_redis), heard) as link:
        await link.run(FILL, [], [2, 100 * KIB])
        with pytest.raises(CacheUnavailable, match="131072 may be asked for at once"):
            await link.fetch("k1", 200 * KIB)
        await link.call("SET", "k2", "short")
        assert await link.fetch("k2", 200 * KIB) == b"short"
        assert heard.events == ["up"]


async def test_a_value_that_changes_between_its_parts_is_read_whole(redis: RedisServer) -> None:
    async with link_to(redis, Heard()) as link:
        for later in (b"a" * 100_000, b"short", b""):
            await link.call("SET", "k", b"b" * 50_000)
            fetched = link.fetch("k", MOST)
            await link.call("SET", "k", later)
            assert await fetched == (later or None)


async def test_callers_that_leave_take_no_room(redis: RedisServer) -> None:
    """What they asked for comes all the same."""
    limits = Limits(reply_timeout=20, pulse=20, max_unread=4 * MOST)
    settings = LinkSettings(connect_timeout=20, limits=limits)
    async with Link(
        Address.parse(redis.url), Heard(), scripts=[FILL], channels=["news"], settings=settings
    ) as link:
        await link.run(FILL, [], [40, 100 * KIB])

        async def fetch(n: int) -> object:
            return await link.fetch(f"k{n}", MOST)

        tasks = [asyncio.create_task(fetch(n)) for n in range(1, 41)]
        await until(tasks[0].done)
        for task in tasks[1::2]:
            task.cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert [len(each) for each in found[::2] if isinstance(each, bytes)] == [
            100 * KIB + len(str(n)) for n in range(1, 41, 2)
        ]
        connection = link._connection
        assert (connection._whole._under_way, len(connection._whole._queue)) == (0, 0)  # type: ignore[union-attr]


async def test_those_in_line_hear_of_the_loss(own_redis: RedisServer) -> None:
    heard = Heard()
    settings = LinkSettings(
        limits=Limits(reply_timeout=20, pulse=20, max_unread=2 * MOST), breaker=QUICK.breaker
    )
    async with Link(
        Address.parse(own_redis.url), heard, scripts=[FILL], channels=["news"], settings=settings
    ) as link:
        await link.run(FILL, [], [30, 100 * KIB])
        fetches = [asyncio.ensure_future(link.fetch(f"k{n}", MOST)) for n in range(1, 31)]
        await until(lambda: any(each.done() for each in fetches))
        await asyncio.to_thread(own_redis.kill)
        found = await asyncio.gather(*fetches, return_exceptions=True)
        assert {type(each) for each in found} <= {bytes, CacheUnavailable}


@pytest.mark.parametrize(
    "window, on_the_way, held, room",
    [
        (8, 0, False, 8),
        (8, 5, False, 3),
        (8, 8, False, 0),
        (8, 9, False, 0),
        (8, 5, True, 0),
        (8, 4, True, 4),
        (1, 0, True, 1),
    ],
)
def test_calls_go_out_by_half_windows_once_some_were_held(
    window: int, on_the_way: int, held: bool, room: int
) -> None:
    assert room_for(window, on_the_way, held=held) == room


@pytest.mark.parametrize(
    "hard, soft, within",
    [(0, 0, 8), (32, 8, 8), (10, 0, 5), (0, 3, 3), (10, 3, 3), (1, 0, 0), (100, 100, 8)],
)
def test_the_lowest_limit_counts(hard: int, soft: int, within: int) -> None:
    assert PubsubLimit(hard, soft, 60).within(8) == within
