"""A primary that is silent, and transactions that others cross: who need not wait does not, and who
must, not long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import text

from proof.protocol.items import KEY, NEIGHBOUR, STRANGER, Stocks
from proof.protocol.process import Process, until
from proof.protocol.test_write_through import write
from proof.protocol.world import World, open_world
from repocache.bookmark import Bookmark
from repocache.engines.topology_settings import TopologySettings
from repocache.errors import DatabaseUnavailable
from repocache.invalidation.outbox import OutboxMode
from repocache.settings import Settings
from repocache.testing import Endpoints, Servers
from tests.tcp_proxy import TcpProxy

SETTINGS = Settings(
    topology=TopologySettings(sample_every=0.2, max_lag=40.0, probe_timeout=0.5),
    outbox=OutboxMode.OFF,
)
SOON = 3.0
"""Seconds: `sample_every + probe_timeout`, and what a busy machine needs."""
GRACE = 8.0
"""Seconds: that of the topology, and what a busy machine needs."""


@asynccontextmanager
async def silent_primary(world: World) -> AsyncIterator[Process]:
    """A process whose primary answers nothing any more, though all connections stand. A replica
    does."""
    async with TcpProxy(world.endpoints.primary) as way:
        replicas = world.endpoints.replicas[:1]
        process = await world.process("reader", way.url, replicas=replicas, settings=SETTINGS)
        await world.sql(f"INSERT INTO item VALUES ({STRANGER}, 1)")
        for id in (KEY, NEIGHBOUR, STRANGER):
            await world.settle(id)
        # The connections that will be silent.
        await asyncio.gather(*(process.find_behind(at_the_primary(process)) for _ in range(4)))
        try:
            way.freeze()
            yield process
        finally:
            way.thaw()


def at_the_primary(process: Process) -> Bookmark:
    """Of a write of whom nobody knows where it is."""
    history = process.topology.history
    expires = time.time() + 60
    return Bookmark(history=history, position=None, wrote={}, covered=True, expires=expires)


async def test_loads_that_wait_for_a_silent_primary_hold_up_none_that_a_replica_may_answer(
    repocache_servers: Servers, repocache_endpoints: Endpoints
) -> None:
    """1. Two sessions need the primary, which is silent: as many loads as an owner may have; 2.
    anybody else reads."""
    async with (
        open_world(repocache_servers, repocache_endpoints) as world,
        silent_primary(world) as reader,
    ):
        for id in (KEY, NEIGHBOUR):
            world.start(reader.get_behind(at_the_primary(reader), id))
            await asyncio.sleep(0.01)  # a load of its own
        async with asyncio.timeout(SOON):
            assert await reader.get(STRANGER) == 1


async def test_a_session_that_needs_a_silent_primary_is_told_soon(
    repocache_servers: Servers, repocache_endpoints: Endpoints
) -> None:
    async with (
        open_world(repocache_servers, repocache_endpoints) as world,
        silent_primary(world) as reader,
    ):
        for read in (reader.get_behind, reader.find_behind):
            async with asyncio.timeout(SOON):
                with pytest.raises(DatabaseUnavailable):
                    await read(at_the_primary(reader))


async def test_a_read_that_needs_a_primary_known_to_be_silent_is_told_at_once(
    repocache_servers: Servers, repocache_endpoints: Endpoints
) -> None:
    async with (
        open_world(repocache_servers, repocache_endpoints) as world,
        silent_primary(world) as reader,
    ):
        await until(lambda: bool(reader.topology.nodes[0].out), "the primary is known to be silent")
        began = time.monotonic()
        async with asyncio.timeout(SOON):
            with pytest.raises(DatabaseUnavailable):
                await reader.find_behind(at_the_primary(reader))
        assert time.monotonic() - began < SETTINGS.topology.connect_timeout / 2


async def test_a_database_is_left_in_time_while_its_primary_is_silent(
    repocache_servers: Servers, repocache_endpoints: Endpoints
) -> None:
    """Two loads and a read past the cache wait for it."""
    async with (
        open_world(repocache_servers, repocache_endpoints) as world,
        silent_primary(world) as reader,
    ):
        for id in (KEY, NEIGHBOUR):
            world.start(reader.get_behind(at_the_primary(reader), id))
        world.start(reader.find_behind(at_the_primary(reader)))
        await asyncio.sleep(0.05)
        leaving = world.start(reader.db.__aexit__())
        done, _ = await asyncio.wait([leaving], timeout=GRACE)
        assert done, f"leaving takes longer than {GRACE} s"


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
async def test_a_declared_row_that_somebody_else_changed_fails_no_commit(
    repocache_servers: Servers, repocache_endpoints: Endpoints, level: str
) -> None:
    """1. A transaction under its own snapshot; 2. another commit changes a row under write-through;
    3. the transaction, which has not touched it, declares it and commits. What it declared is
    invalidated."""
    async with open_world(repocache_servers, repocache_endpoints) as world:
        for process in (world.a, world.b):
            await process.db[Stocks].require(KEY)
        async with world.a.db.unit_of_work() as work:
            await work.session.connection(execution_options={"isolation_level": level})
            await work.session.execute(text("SELECT version FROM item"))
            await write(world.b, 2)
            work.changes(Stocks, [KEY])
            await work.commit()
        assert (await world.b.db[Stocks].require(KEY)).version == 2
