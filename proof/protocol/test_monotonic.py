"""Monotonic sessions: whatever a session has seen, and wherever, it sees nothing older
afterwards."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from proof.protocol.guard import guards
from proof.protocol.items import KEY, NEIGHBOUR, Item, Items
from proof.protocol.process import Process
from proof.protocol.test_visibility import MONOTONIC, went_back
from proof.protocol.world import World, behind, open_world, prefer
from repocache.testing import Endpoints, Servers
from repocache.testing.ports import free_port
from tests.tcp_proxy import TcpProxy

VERSION = select(Item.version).where(Item.id == KEY)


async def reader_of_the_past(world: World) -> Process:
    """A process with monotonic sessions. Its replica has version 1, the primary 2."""
    reader = await world.process("reader", settings=MONOTONIC)
    await world.settle()
    await world.stop_replay()
    await world.a.write(2)
    return reader


@guards("transactions")
async def test_a_read_after_a_unit_of_work_is_not_older_than_what_that_read(
    world: World,
) -> list[str]:
    """1. A unit of work reads a row, and is left without a commit; 2. its session reads on a
    lagging replica."""
    reader = await reader_of_the_past(world)
    async with reader.db.causal_session():
        async with reader.db.unit_of_work() as work:
            seen = [(await work[Items].require(KEY)).version]
        return went_back([*seen, await reader.find()])


@guards("transactions")
async def test_a_read_after_a_commit_that_wrote_nothing_is_not_older(world: World) -> list[str]:
    reader = await reader_of_the_past(world)
    async with reader.db.causal_session():
        async with reader.db.unit_of_work() as work:
            seen = [(await work[Items].require(KEY)).version]
            await work.commit()
        return went_back([*seen, await reader.get()])


@guards("transactions")
async def test_a_read_after_a_rollback_is_not_older_than_what_was_written_upon(
    world: World,
) -> list[str]:
    """1. A unit of work reads a row and writes another; 2. it rolls back; 3. its session reads on a
    lagging replica."""
    reader = await reader_of_the_past(world)
    async with reader.db.causal_session():
        async with reader.db.unit_of_work() as work:
            seen = [(await work[Items].require(KEY)).version]
            (await work[Items].require(NEIGHBOUR)).version = 5
            await work.session.flush()
            await work.rollback()
        return went_back([*seen, await reader.find()])


@guards("transactions")
async def test_a_read_after_a_plain_session_is_not_older_than_what_that_read(
    world: World,
) -> list[str]:
    reader = await reader_of_the_past(world)
    async with reader.db.causal_session():
        async with reader.db.sessionmaker() as session:
            seen = [(await session.execute(VERSION)).scalar_one()]
        return went_back([*seen, await reader.find()])


@guards("transactions")
async def test_a_read_beside_an_open_unit_of_work_is_not_older_than_what_that_read(
    world: World,
) -> list[str]:
    """1. A unit of work reads a row; 2. while it is open its session reads on a lagging replica."""
    reader = await reader_of_the_past(world)
    async with reader.db.causal_session(), reader.db.unit_of_work() as work:
        seen = [(await work[Items].require(KEY)).version]
        return went_back([*seen, await reader.find(), await reader.get()])


@guards("transactions")
async def test_a_read_after_a_snapshot_is_not_older_than_what_that_showed(
    world: World,
) -> list[str]:
    """1. A snapshot on the first replica; 2. its session reads at the second one, which lags."""
    reader = await world.process(
        "reader",
        world.endpoints.primary,
        replicas=world.endpoints.replicas[::-1],
        settings=MONOTONIC,
    )
    await world.catch_up()
    await asyncio.to_thread(world.servers.catch_up)
    await world.stop_replay()
    await world.a.write(2)
    behind_none, _ = world.servers.replicas[::-1]
    position = await asyncio.to_thread(world.servers.primary.position)
    await asyncio.to_thread(behind_none.await_position, position)
    await reader.sampled()
    async with reader.db.causal_session():
        prefer(reader, 0)
        async with reader.db.snapshot() as connection:
            seen = [await version_in(connection)]
        assert seen == [2], "the snapshot was the first replica's"
        prefer(reader, 1)
        return went_back([*seen, await reader.find()])


async def version_in(connection: AsyncConnection) -> int:
    """As its transaction shows it."""
    return int((await connection.execute(VERSION)).scalar_one())


@guards("unknown stays")
async def test_a_read_at_an_unknown_position_is_not_forgotten_for_an_earlier_one(
    world: World,
) -> list[str]:
    """Nothing new reaches the replica.

    1. One read of a session is answered by the replica, and the poll that says where it stands is
    on its way;
    2. another one, at the primary, brings a later version, and nobody knows where: the primary's
    probe is cut off;
    3. the poll's answer arrives; 4. the session reads once more.
    """
    async with AsyncExitStack() as stack:
        name = await stack.enter_async_context(TcpProxy(world.endpoints.primary))
        replicas = world.endpoints.replicas[:1]
        reader = await world.process("reader", name.url, replicas=replicas, settings=MONOTONIC)
        await world.settle()
        await reader.items.on_primary().find()  # the connection that will be there
        await world.stop_backend(world.replica, "walreceiver")
        await world.a.write(2)
        async with reader.db.causal_session():
            gate = reader.hold_replica_poll()
            first = world.start(reader.find())
            await gate.reached()
            name.lead_to(nowhere(name.url))
            await reader.topology._primary.probe.drop()
            [item] = await reader.items.on_primary().find(Item.id == KEY)
            gate.open()
            assert await first == 1
            name.lead_to(world.endpoints.primary)
            return went_back([item.version, await reader.find()])


def nowhere(url: str) -> str:
    """Where nobody listens."""
    address, _, database = url.rpartition("/")
    return f"{address.rpartition(':')[0]}:{free_port()}/{database}"


async def test_a_snapshot_is_not_older_than_what_its_session_wrote(
    repocache_servers: Servers, repocache_endpoints: Endpoints
) -> None:
    async with open_world(repocache_servers, repocache_endpoints) as world:
        await world.settle()
        await world.stop_replay()
        async with world.a.db.causal_session():
            await world.a.write(2)
            async with world.a.db.snapshot() as connection:
                assert behind(await version_in(connection), 2) == []


async def test_a_session_is_not_behind_the_commits_of_those_inside_it(
    repocache_servers: Servers, repocache_endpoints: Endpoints
) -> None:
    """1. An inner session of the block commits, and is left; 2. the outer one reads, with a lagging
    replica."""
    async with open_world(repocache_servers, repocache_endpoints) as world:
        await world.settle()
        await world.stop_replay()
        async with world.a.db.causal_session() as outer:
            async with world.a.db.causal_session():
                await world.a.write(2)
            found = [await world.a.find(), await world.b.find_behind(outer.encode())]
        assert found == [2, 2]


async def test_a_monotonic_session_is_not_behind_what_those_inside_it_saw(
    repocache_servers: Servers, repocache_endpoints: Endpoints
) -> None:
    async with open_world(repocache_servers, repocache_endpoints) as world:
        reader = await reader_of_the_past(world)
        async with reader.db.causal_session():
            async with reader.db.causal_session():
                [item] = await reader.items.on_primary().find(Item.id == KEY)
            assert went_back([item.version, await reader.find()]) == []
