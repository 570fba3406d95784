"""One process's link to Redis stays open and carries nothing, while the others write on.

Replay is paused, so that whatever is read of a replica is an old row for certain.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from proof.acceptance.conftest import Start, Truth, nothing_waits, until_busy
from proof.acceptance.storm import IDS
from repocache.redis_link import LinkSettings
from repocache.redis_link.breaker import BreakerSettings
from repocache.redis_link.connection import Limits
from repocache.testing import Endpoints, Servers
from tests.tcp_proxy import TcpProxy, Way

WATCHFUL = LinkSettings(
    connect_timeout=1.0, limits=Limits(pulse=0.3), breaker=BreakerSettings(retry=0.3, cooldown=0.3)
)
WAYS = {"both ways": Way.BOTH, "to Redis": Way.TO_SERVER, "from Redis": Way.TO_CLIENT}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_silence_is_not_taken_for_health(
    start: Start,
    truth: Truth,
    repocache_endpoints: Endpoints,
    repocache_controls: Servers,
    way: Way,
) -> None:
    async with TcpProxy(repocache_endpoints.redis) as proxy:
        frozen, other = await asyncio.gather(start(redis=proxy.url, link=WATCHFUL), start())
        await truth.assert_caches_right(frozen, other)
        for replica in repocache_controls.replicas:
            await asyncio.to_thread(replica.pause_replay)
        mark = len(frozen.events)
        proxy.freeze(way)
        wrote: dict[str, Any] = {}
        for id in IDS[:20]:
            wrote = await other.ask("write", id=id)
            assert (wrote["read"], wrote["covered"]) == (id + 1, True), (
                "one silent link is nothing to the others"
            )
        down = await frozen.until_told("ChannelDown", mark)
        assert "no reply within" in down["why"], "without any call: the link asks by itself"
        for id in (1, 40):
            seen = await frozen.ask("read", id=id)
            assert seen["tier"] == "database", (
                "from the bound on L1 serves nothing, be it right or not"
            )
        assert (await frozen.ask("read", id=20, bookmark=wrote["bookmark"]))["age"] == 21
        own = await frozen.ask("write", id=40)
        assert (own["age"], own["read"], own["covered"]) == (41, 41, False)
        proxy.thaw()
        up = await frozen.until_told("ChannelUp", mark)
        assert up["local"] == 0
        await nothing_waits(frozen)
        await truth.assert_caches_right(frozen, other)
        for id in (1, 40):
            assert (await frozen.ask("read", id=id))["tier"] == "l1", "it is as it was before"
        assert (await frozen.ask("write", id=40))["covered"]
        await truth.assert_caches_right(frozen, other)


async def test_a_session_is_never_shown_what_a_silent_link_has_not_told(
    start: Start, truth: Truth, repocache_endpoints: Endpoints
) -> None:
    """Within the bound L1 may be old; a session that knows of the write is past it already."""
    unhurried = LinkSettings(limits=Limits(pulse=600.0))
    async with TcpProxy(repocache_endpoints.redis) as proxy:
        frozen, other = await asyncio.gather(
            start(redis=proxy.url, link=unhurried, window=700.0), start()
        )
        await truth.assert_caches_right(frozen, other)
        proxy.freeze()
        wrote = await other.ask("write", id=7)
        assert await frozen.ask("read", id=7) == {"age": 7, "tier": "l1", "node": "", "why": ""}
        seen = await frozen.ask("read", id=7, bookmark=wrote["bookmark"])
        assert (seen["age"], seen["tier"]) == (8, "database")
        assert (await frozen.ask("read", id=8))["tier"] == "database", (
            "the call without reply was the end of L1"
        )


async def test_links_freeze_and_thaw_under_load(
    start: Start, truth: Truth, repocache_endpoints: Endpoints
) -> None:
    """Fills and invalidations of a frozen link arrive late, after those of others."""
    async with TcpProxy(repocache_endpoints.redis) as proxy:
        remotes = await asyncio.gather(start(redis=proxy.url, link=WATCHFUL), start())
        frozen = remotes[0]
        for remote in remotes:
            await remote.ask("storm", callers=4)
        for way in (Way.TO_SERVER, Way.TO_CLIENT):
            await until_busy(*remotes, reads=15, writes=3)
            mark = len(frozen.events)
            proxy.freeze(way)
            await frozen.until_told("ChannelDown", mark)
            await until_busy(*remotes, reads=15, writes=3)
            proxy.thaw()
            await frozen.until_told("ChannelUp", mark)
        await until_busy(*remotes, reads=15, writes=3)
        for remote in remotes:
            await remote.ask("calm")
            tally = await remote.ask("tally")
            assert (tally["own_misses"], tally["errors"]) == (0, {})
            await nothing_waits(remote)
        await truth.assert_caches_right(*remotes)
