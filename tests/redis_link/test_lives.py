"""A link in one event loop after the other, and one whose own task dies."""

from __future__ import annotations

import asyncio

import pytest

from repocache.errors import CacheUnavailable
from repocache.redis_link import Address, Link
from repocache.testing import Servers
from tests.redis_link.heard import PATIENT, Heard, until


def test_it_is_entered_in_one_loop_after_the_other(repocache_servers: Servers) -> None:
    heard = Heard()
    link = Link(
        Address.parse(repocache_servers.redis.url), heard, channels=["news"], settings=PATIENT
    )

    async def lives() -> None:
        async with asyncio.timeout(30), link:
            assert await asyncio.gather(*(link.call("PING") for _ in range(3))) == [b"PONG"] * 3
        with pytest.raises(CacheUnavailable, match="closed"):
            link.call("PING")

    for _ in range(3):
        asyncio.run(lives())


async def test_one_whose_task_was_cancelled_fails_its_callers_and_connects_again(
    repocache_servers: Servers,
) -> None:
    heard, mine = Heard(), asyncio.current_task()
    async with Link(Address.parse(repocache_servers.redis.url), heard, settings=PATIENT) as link:
        waiting = link.call("PING")
        for task in asyncio.all_tasks() - {mine}:
            task.cancel()
        async with asyncio.timeout(30):
            await asyncio.wait([waiting])
            await until(lambda: not link.alive)
            with pytest.raises(CacheUnavailable):
                link.call("PING")
            await until(lambda: link.alive)
            assert await link.call("PING") == b"PONG"
