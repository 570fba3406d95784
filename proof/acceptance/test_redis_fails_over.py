"""Sentinel replaces a Redis master by a replica that was not told the last invalidations.

Replay is paused, so that a PostgreSQL replica's row is an old one for certain: only what Redis
knows keeps it out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from proof.acceptance.conftest import Start, Truth, nothing_waits, until_busy
from proof.acceptance.remote import Remote
from proof.acceptance.storm import IDS
from proof.acceptance.test_redis_records import HALF, words
from repocache import CacheSettings, TopologySettings
from repocache.testing import RedisGroup, RedisServer, Servers, redis_group
from tests.tcp_proxy import TcpProxy

NARROW = TopologySettings(
    sample_every=0.05, max_lag=50.0, connect_timeout=1.0, primary_reads=2, primary_wait=20.0
)
FOR_EVER = CacheSettings(lease=600.0)
LEASED = 60


@pytest.fixture
def group() -> Iterator[RedisGroup]:
    with redis_group() as group:
        yield group


async def fail_over(group: RedisGroup, *remotes: Remote) -> RedisServer:
    """The new master; returns when all are connected to it."""
    marks = [len(remote.events) for remote in remotes]
    old = group.servers[0]
    await asyncio.to_thread(old.kill)
    new = await asyncio.to_thread(group.await_failover, old)
    for remote, mark in zip(remotes, marks, strict=True):
        up = await remote.until_told("ChannelUp", mark)
        assert up["local"] == 0, "L1 starts empty"
    return new


async def cut_off(group: RedisGroup) -> None:
    """From here on the replica, which knows all until now, is told nothing."""
    master, replica = group.servers
    await asyncio.to_thread(replica.catch_up, master)
    await asyncio.to_thread(replica.pause_replication)


def held(redis: RedisServer, id: int) -> list[str]:
    """What lies under the user's key in any record."""
    return [
        str(redis.command("GET", key))[:1] for key in words(redis.command("KEYS", f"*:user:{id}"))
    ]


async def counted(*remotes: Remote) -> dict[str, int]:
    """The sum of all counts."""
    each: list[dict[str, int]] = [await remote.ask("counts") for remote in remotes]
    return {name: sum(counts.get(name, 0) for counts in each) for name in set().union(*each)}


async def test_a_failover_that_loses_invalidations_brings_nothing_old_back(
    start: Start, truth: Truth, group: RedisGroup, repocache_controls: Servers
) -> None:
    for replica in repocache_controls.replicas:
        await asyncio.to_thread(replica.pause_replay)
    one, other, stopped = remotes = await asyncio.gather(
        *(start(redis=group.url, topology=NARROW, cache=FOR_EVER) for _ in range(3))
    )
    warm = [id for id in IDS if id != LEASED]
    for remote in remotes:
        assert await remote.ask("everything", ids=warm, tier="l1") == warm
    await stopped.ask("stop_before_fill")
    reading = asyncio.create_task(stopped.ask("read", id=LEASED))
    await stopped.until_stopped()
    await cut_off(group)
    wrote: dict[str, Any] = {}
    for id in (*HALF, LEASED):
        wrote = await one.ask("write", id=id)
        assert (wrote["read"], wrote["covered"]) == (id + 1, True)
    ages = await truth.ages()
    new = await fail_over(group, one, other)
    assert (held(new, 7), held(new, LEASED)) == (["V"], ["L"]), (
        "an old value and an old lease came back"
    )
    for remote in (one, other):
        assert (await remote.ask("read", id=LEASED, bookmark=wrote["bookmark"]))[
            "age"
        ] == LEASED + 1
    before = await counted(one, other)
    many = [id for id in IDS for _ in range(3)]
    for found in await asyncio.gather(
        *(remote.ask("read_many", ids=many) for remote in (one, other))
    ):
        assert found == [ages[id - 1] for id in many], "not for a moment"
    after = await counted(one, other)
    statements = sum(after.get(node, 0) - before.get(node, 0) for node in nodes(after))
    assert 1 <= statements <= 10, "360 reads of two processes with empty caches"
    for remote in (one, other):
        assert await remote.ask("most_on_primary") <= NARROW.primary_reads
    stopped.thaw()
    assert (await reading)["age"] == LEASED, "it was read before the write; its fill went nowhere"
    assert "V" in held(new, LEASED)
    await truth.assert_caches_right(*remotes)
    filled = (await counted(*remotes))["landed"]
    for tier in ("l1", "l2"):
        for remote in remotes:
            await remote.ask("everything", ids=list(IDS), tier=tier)
    assert (await counted(*remotes))["landed"] == filled, "all is cached again"


def nodes(counts: dict[str, int]) -> list[str]:
    return [name for name in counts if name == "primary" or ":" in name]


async def test_a_failover_under_load(
    start: Start, truth: Truth, group: RedisGroup, repocache_controls: Servers
) -> None:
    for replica in repocache_controls.replicas:
        await asyncio.to_thread(replica.pause_replay)
    remotes = await asyncio.gather(*(start(redis=group.url) for _ in range(3)))
    for remote in remotes:
        await remote.ask("everything", ids=list(IDS), tier="l1")
        await remote.ask("storm", callers=4)
    await until_busy(*remotes, reads=20, writes=3)
    await cut_off(group)
    await until_busy(*remotes, reads=20, writes=3)
    await asyncio.to_thread(group.servers[0].snapshot)
    new = await fail_over(group, *remotes)
    await asyncio.to_thread(group.servers[0].start)
    late = await start(redis=group.url)
    await until_busy(*remotes, reads=20, writes=3)
    for remote in remotes:
        await remote.ask("calm")
        tally = await remote.ask("tally")
        assert (tally["own_misses"], tally["errors"]) == (0, {})
        await nothing_waits(remote)
    await truth.assert_caches_right(*remotes, late)
    connected = str(await asyncio.to_thread(new.command, "CLIENT", "LIST"))
    assert connected.count("name=repocache ") == 4, (
        "the old master is back, says that it is one, and misleads nobody"
    )


async def test_an_address_that_leads_to_and_fro_under_load(
    start: Start, truth: Truth, group: RedisGroup, repocache_controls: Servers
) -> None:
    """As with a managed service: the master is demoted, lives on and keeps its connections; then it
    is the master again, in the same process, with the other's copy. Each time the last
    invalidations are lost."""
    for replica in repocache_controls.replicas:
        await asyncio.to_thread(replica.pause_replay)
    await asyncio.to_thread(group.sentinels[0].kill)
    old, new = group.servers
    async with TcpProxy(old.url) as door:
        remotes = await asyncio.gather(*(start(redis=door.url) for _ in range(3)))
        for remote in remotes:
            await remote.ask("everything", ids=list(IDS), tier="l1")
            await remote.ask("storm", callers=3)
        identities = [old.pid]
        for _ in range(2):
            await until_busy(*remotes, reads=15, writes=3)
            await asyncio.to_thread(new.pause_replication)
            await until_busy(*remotes, reads=15, writes=3)
            marks = [len(remote.events) for remote in remotes]
            await asyncio.to_thread(new.promote)
            await asyncio.to_thread(new.resume_replication)
            door.lead_to(new.url)
            await asyncio.to_thread(old.replica_of, new)
            for remote, mark in zip(remotes, marks, strict=True):
                await remote.until_told("ChannelUp", mark)
            old, new = new, old
            identities.append(old.pid)
        assert identities[0] == identities[2] != identities[1], "no server was restarted"
        await until_busy(*remotes, reads=15, writes=3)
        servers = set()
        for remote in remotes:
            await remote.ask("calm")
            tally = await remote.ask("tally")
            assert (tally["own_misses"], tally["errors"]) == (0, {})
            await nothing_waits(remote)
            servers.add(remote.told("ChannelUp")[-1]["server"])
        assert len(servers) == 1, "all agree on whom they speak to"
        await truth.assert_caches_right(*remotes)
