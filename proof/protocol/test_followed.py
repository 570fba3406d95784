"""A replica that follows a new primary already, beside the old one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from unittest.mock import patch

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from proof.protocol.guard import guards
from proof.protocol.items import KEY
from proof.protocol.process import Process, until
from proof.protocol.test_visibility import MONOTONIC, went_back
from proof.protocol.world import World
from repocache.errors import DatabaseUnavailable
from repocache.testing import Endpoints, Servers
from tests.tcp_proxy import TcpProxy

RECEIVERS = "SELECT pid FROM pg_stat_wal_receiver"


@pytest.fixture
def repocache_endpoints(turned_servers: Servers) -> Endpoints:
    return turned_servers.endpoints()


@guards("followed timeline", on="turned_servers")
async def test_what_a_replica_of_the_new_primary_showed_is_not_missed_at_the_old(
    world: World,
) -> list[str]:
    """1. A replica is promoted, and the old primary lives on; 2. the other replica follows the new
    one, which a process with a monotonic session has not noticed; 3. its session reads a commit of
    the new one on that replica; 4. whose it is cannot be told. Shown, it would be missed by the
    next read, which is the old primary's."""
    async with follower(world) as reader, reader.db.causal_session():
        seen = [await reader.find()]
        with suppress(DatabaseUnavailable):
            seen.append(await reader.find())
    return went_back(seen)


@guards("followed timeline", on="turned_servers")
async def test_what_a_snapshot_of_such_a_replica_showed_is_not_missed_at_the_old(
    world: World,
) -> list[str]:
    """The same of a transaction of many reads: it is taken elsewhere before it shows anything."""
    async with follower(world) as reader, reader.db.causal_session():
        async with reader.db.snapshot() as connection:
            row = await connection.exec_driver_sql(f"SELECT version FROM item WHERE id = {KEY}")
            seen = [row.scalar_one()]
        with suppress(DatabaseUnavailable):
            seen.append(await reader.find())
    return went_back(seen)


@guards("followed timeline", on="turned_servers")
async def test_nor_what_it_showed_after_it_had_lost_the_new_one(world: World) -> list[str]:
    """A replica that receives no more tells the timeline of its control file, which is the old one
    until its next restartpoint: nothing says that what it shows is of another."""
    async with follower(world) as reader, reader.db.causal_session():
        _, replica = world.servers.replicas
        await asyncio.to_thread(replica.sql, "ALTER SYSTEM SET primary_conninfo = ''")
        await asyncio.to_thread(replica.sql, "SELECT pg_reload_conf()")
        await until(lambda: not replica.sql(RECEIVERS), "it receives no more")
        seen = [await reader.find()]
        with suppress(DatabaseUnavailable):
            seen.append(await reader.find())
    return went_back(seen)


@asynccontextmanager
async def follower(world: World) -> AsyncIterator[Process]:
    """A process with monotonic sessions, linked to the old primary, whose replica has a commit of
    the new one."""
    new, replica = world.servers.replicas
    async with TcpProxy(world.endpoints.primary) as name:
        reader = await world.process(
            "reader", name.url, replicas=[replica.url()], settings=MONOTONIC
        )
        await reader.sampled()
        await asyncio.to_thread(new.promote)
        await asyncio.to_thread(replica.follow, new)
        await world.sql(f"UPDATE item SET version = 2 WHERE id = {KEY}", new)
        await asyncio.to_thread(replica.await_position, await asyncio.to_thread(new.position))
        yield reader


@guards("line of a read", on="turned_servers")
async def test_what_a_new_connection_showed_is_not_missed_at_an_old_one(world: World) -> list[str]:
    """1. A process reads by a connection to a primary that is replaced, and lives on; 2. a
    monotonic session reads by another, which is made by name, and leads to the new one; 3. the
    process does not get an answer of who the primary is; 4. the session's next read is by the
    first connection."""
    new = world.servers.replicas[0]
    async with TcpProxy(world.endpoints.primary) as name:
        reader = await world.process("reader", name.url, settings=MONOTONIC)
        async with AsyncExitStack() as stack:
            connection = await stack.enter_async_context(reader.db.snapshot())
            await connection.exec_driver_sql("SELECT 1")
            await asyncio.to_thread(new.promote)
            await world.sql(f"UPDATE item SET version = 2 WHERE id = {KEY}", new)
            name.lead_to(new.url())
            with patch.object(reader.topology._primary, "_sample_twice", unanswered):
                async with reader.db.causal_session():
                    seen = [await reader.find()]
                    assert seen == [2], "the new primary was read"
                    await forget_new(reader.topology._primary.engine)
                    await stack.aclose()
                    with suppress(DatabaseUnavailable):
                        seen.append(await reader.find())
    return went_back(seen)


async def unanswered() -> None:
    raise ConnectionRefusedError


async def forget_new(engine: AsyncEngine) -> None:
    """The connection that was made last ends: the next read is by the one that comes back."""
    async with engine.connect() as connection:
        await connection.invalidate()
