"""An idle primary whose flushed WAL ends amid a record: replicas have received it, and wait."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from asyncpg.exceptions import InsufficientPrivilegeError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from repocache.engines.server import Process, System
from repocache.events import Degraded, Event, NodeOut
from repocache.nodes.cut_record import PAGE, PATIENCE, CutRecord, cut_record, is_overdue
from repocache.nodes.record_completion import RecordCompletion
from repocache.nodes.wal import ReplicaReading
from repocache.testing import Endpoints, Servers
from repocache.testing.postgres import PostgresServer
from tests.nodes.bouncer import IGNORED, bouncing, find_bouncer
from tests.nodes.conftest import QUICK, Watched, watching
from tests.shop import until

PATIENT = replace(QUICK, probe_timeout=20.0, connect_timeout=20.0)
"""Polls wait in the pooler's queue, too."""
END = 7 * PAGE
WAITING = ReplicaReading(
    in_recovery=True,
    position=END - 40,
    shown=END,
    system=System("7", 5),
    process=Process(5, 0),
    receiver=None,
    streaming=True,
    timeline=1,
    timeline_seen=True,
    began=9.0,
    ended=10.0,
)


@pytest.mark.parametrize(
    "reading, flushed, waits",
    [
        (WAITING, END, True),
        (WAITING, END - PAGE, False),  # it has more than that
        (WAITING, END + PAGE, False),  # it has yet to receive some
        (replace(WAITING, shown=None), END, False),  # it receives nothing
        (replace(WAITING, position=END), END, False),  # it has it all
        (replace(WAITING, shown=END + 8), END + 8, False),  # a record ends there
        (WAITING, 0, False),  # nothing is known of the primary
    ],
)
def test_what_waits_for_the_rest_of_a_record(
    reading: ReplicaReading, flushed: int, waits: bool
) -> None:
    expected = CutRecord(END - 40, flushed, 10.0) if waits else None
    assert cut_record(None, reading, flushed) == expected


def test_it_is_waited_for_a_while() -> None:
    first = cut_record(None, WAITING, END)
    later = replace(WAITING, ended=10.0 + PATIENCE)
    again = cut_record(first, later, END)
    assert again == first
    assert [is_overdue(again, now) for now in (10.0, 10.5, 10.0 + PATIENCE)] == [False, False, True]
    assert not is_overdue(None, math.inf)
    moved = cut_record(first, replace(later, position=END - 8), END)
    assert moved is not None
    assert not is_overdue(moved, later.ended)


class Answering:
    """A probe whose next answers are these errors; then it is asked in peace."""

    def __init__(self, *errors: Exception) -> None:
        self.asked = 0
        self._errors = list(errors)

    async def complete(self) -> None:
        self.asked += 1
        if self._errors:
            raise self._errors.pop(0)


def completion(*errors: Exception) -> tuple[RecordCompletion, Any, list[Event]]:
    probe: Any = Answering(*errors)
    seen: list[Event] = []
    return RecordCompletion(probe, seen.append), probe, seen


async def test_each_end_is_asked_for_once() -> None:
    found, probe, seen = completion()
    await found.run()
    for end in (END, END, END + PAGE, END + PAGE):
        found.want(end)
        await found.run()
    assert (probe.asked, seen) == (2, [])


async def test_a_question_that_is_lost_is_asked_again() -> None:
    found, probe, seen = completion(ConnectionResetError("gone"), TimeoutError())
    for _ in range(4):
        found.want(END)
        await found.run()
    assert (probe.asked, seen) == (3, []), "lost twice, and not asked again once it was answered"


async def test_a_role_that_may_not_is_told_of_once_and_asked_anew_after_a_start() -> None:
    refused = InsufficientPrivilegeError("permission denied for function pg_current_xact_id")
    found, probe, seen = completion(refused, refused)
    for end in (END, END + PAGE, END):
        found.want(end)
        await found.run()
    assert probe.asked == 1
    [told] = seen
    assert isinstance(told, Degraded)
    assert "pg_current_xact_id()" in told.lost
    found.begin()
    assert found.want(END)


async def sql(server: PostgresServer, statement: str) -> list[str]:
    return list((await asyncio.to_thread(server.sql, statement))[0])


async def is_cut(servers: Servers) -> bool:
    """Whether the primary has flushed a part of its last record, and the first replica waits."""
    where = "SELECT pg_current_wal_insert_lsn() - '0/0', pg_current_wal_flush_lsn() - '0/0'"
    written, flushed = map(int, await sql(servers.primary, where))
    [replayed] = map(int, await sql(servers.replicas[0], "SELECT pg_last_wal_replay_lsn() - '0/0'"))
    return flushed % PAGE == 0 and replayed < flushed < written


@asynccontextmanager
async def cut(ends: Endpoints, servers: Servers) -> AsyncIterator[None]:
    """In the block a transaction is open that has written, and nothing else is."""
    write = f"SELECT pg_logical_emit_message(true, '', repeat('x', {3 * PAGE}))"
    engine = create_async_engine(ends.primary, poolclass=NullPool)
    async with engine.connect() as connection:

        async def is_so() -> bool:
            await connection.exec_driver_sql(write)
            for _ in range(20):
                if await is_cut(servers):
                    return True
                await asyncio.sleep(0.05)
            return False

        await until(is_so, "the flushed WAL ends amid a record")
        yield


ONE = 2
"""What one transaction adds: its own id comes after that of the open one."""


async def transactions(servers: Servers) -> int:
    """One past the newest that is over."""
    return int((await sql(servers.primary, "SELECT pg_snapshot_xmax(pg_current_snapshot())"))[0])


async def asked(
    ends: Endpoints, servers: Servers, level: Callable[[], Awaitable[bool]] | None = None
) -> bool:
    """Whether somebody has the record completed, once, until this is `level`. In one of three
    times: every 15 seconds the primary completes it of itself."""

    async def complete() -> bool:
        return not await is_cut(servers)

    for _ in range(3):
        before = await transactions(servers)
        async with cut(ends, servers):
            await until(level or complete, "the replica has the whole record")
            new = await transactions(servers) - before
        assert new <= ONE + 3, "once, apart from what autovacuum does meanwhile"
        if new >= ONE:
            return True
    return False


def told(watched: Watched) -> list[str]:
    return [each.lost for each in watched.seen(Degraded) if each.what == "idle primary"]


@asynccontextmanager
async def watched_servers(ends: Endpoints) -> AsyncIterator[Watched]:
    async with watching(ends.primary, ends.replicas, QUICK) as watched:
        yield watched


async def test_an_idle_primary_is_asked_to_complete_it_once(
    repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    async with watched_servers(repocache_endpoints) as watched:
        assert await asked(repocache_endpoints, repocache_servers)
        assert not told(watched)
        assert not watched.seen(NodeOut)


async def test_it_is_asked_through_a_pooler_too(
    repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    program = find_bouncer()
    if program is None:
        pytest.skip("no pgbouncer is installed (Debian's package: pgbouncer)")
    ignoring = f"ignore_startup_parameters = {IGNORED}"
    with bouncing(program, repocache_endpoints.primary, "pool_mode = transaction", ignoring) as url:
        async with watching(url, repocache_endpoints.replicas, PATIENT) as watched:
            assert await asked(repocache_endpoints, repocache_servers)
            assert not told(watched)


async def test_a_process_that_starts_then_has_its_replicas_soon(
    repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    async def in_use() -> bool:
        async with watched_servers(repocache_endpoints) as watched:
            await until(
                lambda: not any(each.out for each in watched.topology.nodes), "they are in use"
            )
        return True

    assert await asked(repocache_endpoints, repocache_servers, in_use)


async def test_who_may_not_ask_is_told_and_no_node_is_lost(
    repocache_endpoints: Endpoints, repocache_servers: Servers, database: str
) -> None:
    repocache_servers.primary.sql(
        "REVOKE EXECUTE ON FUNCTION pg_current_xact_id() FROM PUBLIC", database
    )
    repocache_servers.catch_up()
    async with watched_servers(repocache_endpoints) as watched:

        async def is_told() -> bool:
            return bool(told(watched)) or not await is_cut(repocache_servers)

        for _ in range(3):
            async with cut(repocache_endpoints, repocache_servers):
                await until(is_told, "it is told, or the primary completes it of itself")
            if told(watched):
                break
        assert "pg_current_xact_id" in told(watched)[0]
        assert not watched.topology.nodes[0].out
        assert [each for each in watched.seen(NodeOut) if each.node == "primary"] == []
