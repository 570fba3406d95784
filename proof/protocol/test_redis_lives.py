"""A Redis that is demoted and promoted again in one process: it holds what another knew, and does
not look like it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from proof.protocol.conftest import PairedServers
from proof.protocol.guard import guards
from proof.protocol.items import KEY
from proof.protocol.process import until
from proof.protocol.world import World, behind
from repocache.redis_link.connection import Connection
from repocache.testing import RedisServer


def pair(world: World) -> tuple[RedisServer, RedisServer]:
    assert isinstance(world.servers, PairedServers)
    return world.servers.redis, world.servers.redis_replica


def to_and_fro(a: RedisServer, b: RedisServer) -> None:
    """A to B to A: A has B's copy in the end, which lacks what B was not told."""
    b.promote()
    a.resume_replication()
    a.replica_of(b)
    a.promote()


@guards("replication id", on="paired_servers")
async def test_a_redis_that_was_a_replica_meanwhile_brings_no_old_value_back(
    world: World,
) -> list[str]:
    """1. The value and its record reach B; 2. the invalidation reaches A only; 3. A to B to A."""
    a, b = pair(world)
    await world.settle()
    await world.b.get()
    await world.b.idle()
    await asyncio.to_thread(b.catch_up, a)
    await asyncio.to_thread(b.pause_replication)
    await world.a.write(2)
    ups = [process.ups() for process in world.processes.values()]
    await asyncio.to_thread(to_and_fro, a, b)
    for process, before in zip(world.processes.values(), ups, strict=True):
        await until(lambda process=process, before=before: process.ups() > before, "it has noticed")  # type: ignore[misc]
        await process.alive()
    seen = await world.b.get()
    await world.b.idle()
    return behind(seen, 2) + await world.stale(2)


@guards("pulse", on="paired_servers")
async def test_a_process_that_only_reads_leaves_a_demoted_redis(world: World) -> list[str]:
    """1. B is promoted, A demoted, and nobody tells A's clients; 2. another process writes, and
    tells B."""
    a, b = pair(world)
    await world.settle()
    await world.b.get()
    await world.b.idle()
    connection = world.b.records._link._connection
    assert isinstance(connection, Connection)
    await asyncio.to_thread(b.promote)
    await asyncio.to_thread(a.command, "REPLICAOF", b.host, 1)
    world.endpoints = replace(world.endpoints, redis=b.url)
    await (await world.process("late")).write(2)
    pulse = connection._pulse
    looks = pulse._looks + 2 * pulse._between
    await until(lambda: connection.reason != "" or pulse._looks > looks, "it has looked, or left")
    return behind(await world.b.get(), 2)


@guards("own record", on="paired_servers")
async def test_a_session_is_shown_nothing_by_a_redis_that_has_not_heard_of_its_write(
    world: World,
) -> list[str]:
    """1. B is promoted, A demoted or cut off; 2. a session writes in a process that knows, and goes
    on in one that does not, before its pulse."""
    _, b = pair(world)
    await world.settle()
    await world.b.get()
    await world.b.idle()
    world.b.shared.local.discard(("item", KEY))
    await asyncio.to_thread(b.promote)
    world.endpoints = replace(world.endpoints, redis=b.url)
    bookmark = await (await world.process("late")).write(2)
    found = []
    for _ in range(2):
        found += behind(await world.b.get_behind(bookmark), 2)
        await world.b.idle()
        world.b.shared.local.discard(("item", KEY))
    return found
