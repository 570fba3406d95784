"""While the primary is lost: no replica shows what it would not have been allowed to show
before."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from msgspec.structs import replace

from proof.protocol.guard import guards
from proof.protocol.process import Process, until
from proof.protocol.test_monotonic import nowhere
from proof.protocol.world import STILL, World, behind
from repocache.engines.topology_settings import TopologySettings
from repocache.errors import DatabaseUnavailable
from repocache.redis_link import Limits, LinkSettings
from repocache.settings import Settings
from tests.tcp_proxy import TcpProxy

LAG = 1.5
SETTINGS = Settings(
    topology=TopologySettings(sample_every=0.1, max_lag=LAG, probe_timeout=0.5),
    cache=STILL.cache,
    publish_timeout=10.0,
    window=LAG + 0.7,
    link=LinkSettings(limits=Limits(reply_timeout=0.5, pulse=0.5)),
)
QUICK = Settings(
    topology=TopologySettings(sample_every=0.05, max_lag=0.2, probe_timeout=0.5),
    cache=STILL.cache,
    publish_timeout=10.0,
)


@asynccontextmanager
async def reached_by_name(
    world: World,
    settings: Settings,
) -> AsyncIterator[tuple[Process, TcpProxy]]:
    """A process that reaches the primary by a name, and its replica as all do."""
    async with TcpProxy(world.endpoints.primary) as name:
        replicas = world.endpoints.replicas[:1]
        yield await world.process("reader", name.url, replicas=replicas, settings=settings), name


async def lose_primary(process: Process, name: TcpProxy) -> None:
    """The process has noticed it, and judged its replica anew."""
    name.lead_to(nowhere(name.url))
    await name.cut()
    await until(lambda: bool(process.topology._primary.out), "the primary is lost")
    await process.sampled()


@guards("lagging")
async def test_a_replica_that_was_out_as_lagging_stays_out_while_the_primary_is_lost(
    world: World,
) -> list[str]:
    """1. A replica falls behind by more than it may, and leaves the rotation; 2. the primary is
    lost; 3. a read."""
    async with reached_by_name(world, QUICK) as (reader, name):
        await world.settle()
        await world.stop_replay()
        await world.a.write(2)
        (node,) = reader.topology._replicas
        await until(lambda: node.out == "lagging", "the replica is out as lagging")
        await lose_primary(reader, name)
        try:
            seen = await reader.find()
        except DatabaseUnavailable:
            return []
        lags = f"a replica that lags by more than it may showed version {seen}"
        return [lags] if seen != 2 else []


@guards("outages")
async def test_a_bookmark_counts_while_the_primary_is_lost(world: World) -> list[str]:
    """1. A session commits, and where is not known: the primary was lost before it said so; 2. the
    bookmark's time ends while the primary is away; 3. the session reads, and one of the bookmark's
    text does. Only a replica is there."""
    async with reached_by_name(world, SETTINGS) as (reader, name):
        await world.settle()
        await world.stop_replay()
        bookmark = replace(await reader.write(2), position=None)
        async with reader.db.causal_session(bookmark) as session:
            await lose_primary(reader, name)
            await until(lambda: time.time() > bookmark.expires, "the bookmark's time is over")
            found = await shown(reader)
        async with reader.db.causal_session(session.encode()):
            return found + await shown(reader)


@guards("unheard")
async def test_a_replica_whose_lag_nobody_knows_fills_no_cache(world: World) -> list[str]:
    """1. The primary is lost to a process, and stays so for longer than a replica may lag; 2. the
    replica falls behind;
    3. a commit that cannot be published; 4. the process reads the row. How long that commit's
    bookmark counts would be of no use, if old rows could be cached at any time after it."""
    async with reached_by_name(world, QUICK) as (reader, name):
        await world.settle()
        await lose_primary(reader, name)
        heard = time.monotonic()
        long_ago = heard + QUICK.topology.max_lag
        await until(lambda: time.monotonic() > long_ago, "the lag of the replica is unknown")
        await world.stop_replay()
        world.a.stop_publishing()
        await world.a.write(2)
        assert await reader.get() == 1, "it still answers"
        await reader.idle()
        held = await world.in_l2()
        return [] if held is None else [f"L2 holds version {held}, from a replica of unknown lag"]


async def shown(reader: Process) -> list[str]:
    try:
        return behind(await reader.find(), 2)
    except DatabaseUnavailable:
        return []
