"""Where the primary gives no answer: that is none, and nothing is concluded from it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from proof.protocol.guard import guards
from proof.protocol.items import KEY
from proof.protocol.process import Process, until
from proof.protocol.test_commits import on_each
from proof.protocol.test_strict import before_commit, overdue, past, read, settle, short_leases
from proof.protocol.test_visibility import SYNC, UNSYNC, commit_for, waits_for_replicas
from proof.protocol.world import STILL, World, open_world
from repocache.errors import CommitOutcomeUnknown
from repocache.nodes.selection import ReadRequirement
from repocache.runtime import primary_wal
from repocache.testing import Endpoints, Servers
from tests.tcp_proxy import TcpProxy

UNASKABLE = """
CREATE FUNCTION public.pg_xact_status(xid8) RETURNS text LANGUAGE plpgsql AS $status$
BEGIN
  RAISE EXCEPTION 'canceling statement due to statement timeout' USING ERRCODE = '57014';
END $status$
"""
ASKABLE = """
SET synchronous_commit = local;
DROP FUNCTION IF EXISTS public.pg_xact_status(xid8);
"""


class Asked:
    """`times`: how often the process has asked for the state of a transaction, in vain."""

    def __init__(self, process: Process) -> None:
        primary = process.db._started.watch._hooks._primary  # type: ignore[attr-defined]
        self.times = 0
        self._original: Callable[[str], Coroutine[Any, Any, Any]] = primary.in_progress
        primary.in_progress = self._in_progress

    async def _in_progress(self, xid: str) -> Any:
        try:
            return await self._original(xid)
        finally:
            self.times += 1


@asynccontextmanager
async def unaskable(world: World) -> AsyncIterator[None]:
    """Whoever asks for the state of a transaction is cancelled, as by a statement_timeout."""
    await world.sql(UNASKABLE)
    asks = text(primary_wal._STATUS.text.replace("pg_catalog.", "public."))
    try:
        with patch.object(primary_wal, "_STATUS", asks):
            yield
    finally:
        await world.sql(ASKABLE)


@guards("not known")
async def test_a_commit_is_not_published_again_before_it_is_known_to_be_over(
    world: World,
) -> list[str]:
    """1. COMMIT waits for a replica that does not replay, and its client loses the socket; 2. its
    process asks for its state, and is cancelled; 3. a reader fills with what the primary shows; 4.
    the commit appears."""
    servers = (world.servers.primary, *world.servers.replicas)
    await world.settle()
    async with TcpProxy(world.endpoints.primary) as name:
        try:
            async with unaskable(world):
                writer = await world.process("writer", name.url)
                asked = Asked(writer)
                await on_each(servers[:1], SYNC)
                await on_each(servers[1:], "SELECT pg_wal_replay_pause()")
                committing = world.start(commit_for(writer, "remote_apply", KEY))
                await until(lambda: waits_for_replicas(world), "COMMIT waits for a replica")
                await name.cut()
                with pytest.raises(CommitOutcomeUnknown):
                    await committing
                await until(
                    lambda: asked.times > 1 or (asked.times > 0 and not writer._delivering()),
                    "it was asked again, or published",
                )
                await world.b.get()
                await world.b.idle()
                assert await world.in_l2() == 1, "nobody sees the commit yet"
        finally:
            await on_each(servers[:1], UNSYNC)
            await on_each(servers[1:], "SELECT pg_wal_replay_resume()")
        await until(lambda: is_shown(world), "the commit has appeared")
        await name.cut()  # new connections find the function as it was
        await writer.delivered()
        return await world.stale(2)


async def is_shown(world: World) -> bool:
    return await world.sql(f"SELECT version FROM item WHERE id = {KEY}") == [("2",)]


@guards("not known")
async def test_a_write_lease_is_not_taken_over_without_an_answer(world: World) -> list[str]:
    """1. a is about to commit for longer than its write lease is for; 2. a reader asks whether its
    transaction is over, and is cancelled; 3. COMMIT; 4. the reader reads."""
    await settle(world)
    async with unaskable(world):
        reader = await world.process("reader")
        with short_leases():
            async with before_commit(world, 2) as commit:
                await overdue(world)
                await read(reader)
                async with commit():
                    return past(await read(reader), 2)


async def test_a_read_that_a_replica_may_answer_does_not_fail_for_the_primarys_budget(
    repocache_servers: Servers, repocache_endpoints: Endpoints
) -> None:
    """1. The floor of a record is unknown, so that only the primary may fill; 2. the primary stands
    in for as many reads as it may; 3. a reader whom any node would do."""
    topology = replace(STILL.topology, primary_reads=1, primary_wait=0.05)
    settings = replace(STILL, topology=topology)
    async with open_world(repocache_servers, repocache_endpoints) as world:
        await world.settle()
        reader = await world.process("reader", settings=settings)
        await world.catch_up()
        gates = [process.hold_poll() for process in (world.a, world.b, reader)]
        await world.evict_record()
        busy = asyncio.Event()

        async def hold(_: AsyncConnection) -> None:
            busy.set()
            await asyncio.Event().wait()

        world.start(reader.topology.read(ReadRequirement(primary="asked by a test"), hold))
        await busy.wait()
        try:
            assert await reader.get() == 1
        finally:
            for gate in gates:
                gate.open()
