"""Redis is killed, or away for one process alone: reads go on from the database, commits stand, and
all heals."""

from __future__ import annotations

import asyncio
from typing import Any

from proof.acceptance.conftest import EAGER, Start, Truth, nothing_waits, until_busy
from proof.acceptance.storm import IDS
from repocache import TopologySettings
from repocache.testing import Endpoints, Servers
from tests.shop import until
from tests.tcp_proxy import TcpProxy

NARROW = TopologySettings(
    sample_every=0.05, max_lag=50.0, connect_timeout=1.0, primary_reads=2, primary_wait=20.0
)
NOWHERE = "redis://127.0.0.1:1"


async def test_redis_is_killed_under_load(
    start: Start, truth: Truth, repocache_controls: Servers
) -> None:
    redis = repocache_controls.redis
    for replica in repocache_controls.replicas:
        await asyncio.to_thread(replica.pause_replay)
    remotes = await asyncio.gather(start(topology=NARROW), start(topology=NARROW))
    for remote in remotes:
        await remote.ask("everything", ids=list(IDS), tier="l1")
        await remote.ask("storm", callers=6)
    await until_busy(*remotes)
    marks = [len(remote.events) for remote in remotes]
    await asyncio.to_thread(redis.kill)
    for remote, mark in zip(remotes, marks, strict=True):
        await remote.until_told("ChannelDown", mark)
    before = [await remote.ask("tally") for remote in remotes]
    await until_busy(*remotes)
    for remote, early in zip(remotes, before, strict=True):
        await remote.ask("calm")
        late = await remote.ask("tally")
        assert late["uncovered"] - early["uncovered"] >= late["writes"] - early["writes"] - 6, (
            "all but those under way"
        )
        counted = await remote.ask("counts")
        await remote.ask("read_many", ids=[*IDS, *IDS, *IDS])
        assert (await remote.ask("counts"))["Served"] == counted["Served"] + 1, (
            "reads of one moment are one statement"
        )
        await remote.ask("storm", callers=6)
    await asyncio.to_thread(redis.start)
    for remote, mark in zip(remotes, marks, strict=True):
        up = await remote.until_told("ChannelUp", mark)
        assert up["local"] == 0, "L1 starts empty"
    await until_busy(*remotes)
    for remote in remotes:
        await remote.ask("calm")
        tally = await remote.ask("tally")
        assert (tally["own_misses"], tally["errors"]) == (0, {})
        assert 1 <= await remote.ask("most_on_primary") <= NARROW.primary_reads
        await nothing_waits(remote)
    await truth.assert_caches_right(*remotes)


async def test_a_redis_that_is_away_is_not_pestered(
    start: Start, repocache_controls: Servers
) -> None:
    remote = await start()
    loop = asyncio.get_running_loop()
    mark, began = len(remote.events), loop.time()
    await asyncio.to_thread(repocache_controls.redis.kill)
    breaker = EAGER.breaker

    def attempts() -> int:
        return len([each for each in remote.told("CacheFailed", mark) if each["what"] == "link"])

    await until(
        lambda: attempts() > breaker.failures + 3,
        "it has failed more often than the breaker allows",
    )
    open_for = loop.time() - began
    assert attempts() <= breaker.failures + 2 + 2 * open_for / breaker.retry
    assert (await remote.ask("read", id=7))["tier"] == "database"


async def test_what_one_process_could_not_publish_is_delivered(
    start: Start, truth: Truth, repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    """Redis lives on with the old values in it, so that nothing but the delivery puts the other
    process right."""
    async with TcpProxy(repocache_endpoints.redis) as proxy:
        cut, other = await asyncio.gather(start(redis=proxy.url), start())
        await truth.assert_caches_right(cut, other)
        proxy.lead_to(NOWHERE)
        await proxy.cut()
        mark = len(cut.events)
        await cut.until_told("ChannelDown")
        wrote: dict[str, Any] = {}
        for id in (7, 8):
            wrote = await cut.ask("write", id=id)
            assert (wrote["age"], wrote["read"], wrote["covered"]) == (id + 1, id + 1, False)
        assert (await other.ask("read", id=8))["age"] == 8, "nobody could tell it"
        assert (await other.ask("read", id=8, bookmark=wrote["bookmark"]))["age"] == 9
        bookmark = (await other.ask("write", id=9))["bookmark"]
        assert (await cut.ask("read", id=9, bookmark=bookmark))["age"] == 10
        await asyncio.to_thread(repocache_servers.catch_up)
        seen = await cut.ask("read", id=9)
        assert (seen["age"], seen["tier"]) == (10, "database"), "L1 is not to be believed"
        assert await cut.ask("undelivered") == 2
        proxy.lead_to(repocache_endpoints.redis)
        await cut.until_told("ChannelUp", mark)
        await nothing_waits(cut)
        await truth.assert_caches_right(cut, other)
