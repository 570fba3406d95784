"""A replica that follows a new primary already, beside the old one."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from unittest.mock import patch

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from proof.protocol.guard import guards
from proof.protocol.items import KEY
from proof.protocol.test_visibility import MONOTONIC, went_back
from proof.protocol.world import World
from repocache.errors import DatabaseUnavailable
from repocache.testing import Endpoints, Servers
from tests.tcp_proxy import TcpProxy


@pytest.fixture
def repocache_endpoints(turned_servers: Servers) -> Endpoints:
    return turned_servers.endpoints()


@guards("followed timeline", on="turned_servers")
async def test_what_a_replica_of_the_new_primary_showed_is_not_missed_at_the_old(
    world: World,
) -> list[str]:
    """1. A replica is promoted, and the old primary lives on; 2. the other replica follows the new
    one, which a process with a monotonic session has not noticed; 3. its session reads a commit of
    the new one on that replica; 4. what it showed is not known, and its next read is the
    primary's: the old one's."""
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
        async with reader.db.causal_session():
            seen = [await reader.find()]
            assert seen == [2], "the replica was read"
            with suppress(DatabaseUnavailable):
                seen.append(await reader.find())
    return went_back(seen)


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
