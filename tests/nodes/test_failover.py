"""The primary becomes another server behind one name, or comes back as another process: a new
history begins."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import text

from repocache.bookmark import Bookmark
from repocache.engines.topology_settings import TopologySettings
from repocache.events import Degraded, HistoryChanged, HookFailed, NodeOut
from repocache.history import cluster_of
from repocache.nodes.selection import ReadRequirement
from repocache.nodes.topology import Topology
from repocache.routing.routing import ANYWHERE, need_of
from repocache.testing import PostgresServer, Servers
from tests.nodes.conftest import QUICK, Watched, needed, until, watching
from tests.tcp_proxy import TcpProxy

pytestmark = pytest.mark.usefixtures("item")


def seeing(server: PostgresServer, database: str) -> str:
    """The address for a role that may see the timeline which a replica receives."""
    return server.url(database=database, user="postgres")


@asynccontextmanager
async def behind_one_name(
    servers: Servers, database: str, settings: TopologySettings = QUICK
) -> AsyncIterator[tuple[Watched, TcpProxy]]:
    replicas = tuple(seeing(replica, database) for replica in servers.replicas)
    async with (
        TcpProxy(seeing(servers.primary, database)) as door,
        watching(door.url, replicas, settings) as watched,
    ):
        yield watched, door


def name(server: PostgresServer) -> str:
    return f"{server.host}:{server.port}"


async def until_history(watched: Watched, changes: int = 1) -> None:
    await until(lambda: len(watched.seen(HistoryChanged)) >= changes, "a new history is seen")


async def test_a_failover_behind_one_name(repocache_controls: Servers, database: str) -> None:
    first, second = repocache_controls.replicas
    async with behind_one_name(repocache_controls, database) as (watched, door):
        heard: list[str] = []

        def failing(_: str) -> None:
            raise RuntimeError("no")

        watched.topology.on_history(failing)
        watched.topology.on_history(heard.append)
        old = await watched.write(1)
        for replica in (first, second):
            await asyncio.to_thread(replica.await_position, old.flush)
        await asyncio.to_thread(repocache_controls.primary.kill)
        await asyncio.to_thread(first.promote)
        door.lead_to(seeing(first, database))
        await door.cut()
        await until_history(watched)
        new = await watched.write(2)
        assert watched.seen(HistoryChanged) == [HistoryChanged(old.history, new.history)]
        assert (heard, new.history) == ([watched.topology.history], watched.topology.history)
        assert [event.hook for event in watched.seen(HookFailed)] == ["on_history"]
        assert cluster_of(new.history) == cluster_of(old.history)
        assert watched.out(name(first)) == "refused", "it is the primary, not a replica"
        assert (await watched.read(needed(new))).value == 2
        bookmark = Bookmark(old.history, old.flush, {}, covered=True, expires=1001.0)
        read = await watched.read(need_of(0, bookmark, new.history, ANYWHERE))
        assert (read.value, read.node) == (2, "primary"), "positions of two histories never compare"
        assert watched.out(name(second)) in ("not streaming", "other history", "unconfirmed")
        await asyncio.to_thread(second.follow, first)
        await until(lambda: not watched.out(name(second)), "it follows the new primary")
        new = await watched.write(3)
        await asyncio.to_thread(second.await_position, new.flush)
        await until(
            lambda: (n := watched.topology.nodes[2].sample) is not None and n.position >= new.flush,
            "seen",
        )
        read = await watched.read(needed(new))
        assert (read.value, read.node) == (3, name(second))


async def test_a_role_that_does_not_see_the_timeline_waits_for_a_restartpoint(
    repocache_controls: Servers, database: str
) -> None:
    first, second = repocache_controls.replicas
    async with (
        TcpProxy(repocache_controls.primary.url(database=database)) as door,
        watching(door.url, (second.url(database=database),)) as watched,
    ):
        assert [event.what for event in watched.seen(Degraded)] == [
            f"the timeline of {name(second)}"
        ]
        await watched.all_in()
        await asyncio.to_thread(repocache_controls.primary.kill)
        await asyncio.to_thread(first.promote)
        await asyncio.to_thread(second.follow, first)
        door.lead_to(first.url(database=database))
        await door.cut()
        await until_history(watched)
        await until(
            lambda: watched.out(name(second)) == "other history",
            "its timeline is not known to be the new one",
        )
        await asyncio.to_thread(first.sql, "CHECKPOINT", "postgres")
        await asyncio.to_thread(second.await_position, await asyncio.to_thread(first.position))
        await asyncio.to_thread(second.sql, "CHECKPOINT", "postgres")
        await watched.all_in()


async def test_a_replica_of_the_old_primary_is_of_another_history(
    repocache_controls: Servers, database: str
) -> None:
    """Both servers live on; the replica still streams from the one that is not the primary any
    more."""
    first, second = repocache_controls.replicas
    async with behind_one_name(repocache_controls, database) as (watched, door):
        await asyncio.to_thread(first.promote)
        door.lead_to(seeing(first, database))
        await door.cut()
        await until_history(watched)
        position = await watched.write(1)
        await asyncio.to_thread(
            repocache_controls.primary.sql,
            "UPDATE item SET value = generate_series FROM generate_series(5, 50)",
            database,
        )
        await until(lambda: watched.out(name(second)) == "other history", "it is out")
        assert NodeOut(name(second), "other history") in watched.events
        for _ in range(10):
            read = await watched.read(needed(position))
            assert (read.value, read.node) == (1, "primary")


async def test_connections_to_the_old_primary_are_not_used_again(
    repocache_controls: Servers, database: str
) -> None:
    """The old primary lives on, and so do the connections to it; the name leads elsewhere only for
    new ones."""
    first = repocache_controls.replicas[0]
    who = text("SELECT pg_postmaster_start_time()")
    async with behind_one_name(repocache_controls, database) as (watched, door):
        engine = watched.topology.write_engine
        old = watched.topology.history
        await asyncio.to_thread(first.promote)
        async with engine.connect() as before:
            was = (await before.execute(who)).scalar_one()
            door.lead_to(seeing(first, database))
            async with engine.connect() as after:
                new = (await after.execute(who)).scalar_one()
                assert new != was
                position = await watched.topology.position()
                assert position is not None
                assert position.history != old, (
                    "the position is that of the server just connected to"
                )
        async with engine.connect() as one, engine.connect() as two:
            assert {(await each.execute(who)).scalar_one() for each in (one, two)} == {new}


async def test_a_name_that_leads_to_a_standby_is_refused(
    repocache_controls: Servers, database: str
) -> None:
    async with behind_one_name(repocache_controls, database) as (watched, door):
        door.lead_to(seeing(repocache_controls.replicas[0], database))
        await door.cut()
        await until(lambda: watched.out("primary") != "", "the primary is out")
        assert watched.seen(NodeOut)[0] == NodeOut("primary", "in recovery")
        assert await watched.topology.position() is None
        with pytest.raises(Exception, match="in recovery"):
            async with watched.topology.write_engine.connect():
                pass
        door.lead_to(seeing(repocache_controls.primary, database))
        await watched.all_in()
        assert not watched.seen(HistoryChanged), "it is the same server as before"
        assert (await watched.read(needed(await watched.write(1)))).value == 1


async def test_two_promoted_replicas_of_one_timeline_are_two_histories(
    repocache_controls: Servers, database: str
) -> None:
    histories = []
    for replica in repocache_controls.replicas:
        await asyncio.to_thread(replica.promote)
        async with Topology(seeing(replica, database)) as topology:
            histories.append(topology.history)
    (one, other) = (history.split(".") for history in histories)
    assert one[:2] == other[:2], "system and timeline do not tell them apart"
    assert one != other


async def test_a_restarted_primary_is_a_new_history(
    repocache_controls: Servers, database: str
) -> None:
    async with behind_one_name(repocache_controls, database) as (watched, _):
        old = await watched.write(1)
        await asyncio.to_thread(repocache_controls.primary.restart)
        await until_history(watched)
        new = await watched.write(2)
        assert new.history != old.history
        await watched.all_in()
        assert (await watched.read(needed(new))).value == 2


async def test_a_crash_that_the_server_process_survives_is_a_new_history(
    repocache_controls: Servers, database: str
) -> None:
    """A killed backend makes all others die and the server recover; its start time stays."""
    started = "SELECT pg_postmaster_start_time()"
    async with behind_one_name(repocache_controls, database) as (watched, _):
        before = await asyncio.to_thread(repocache_controls.primary.sql, started)
        async with watched.topology.write_engine.connect() as connection:
            pid = (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one()
            os.kill(pid, signal.SIGKILL)
            await connection.invalidate()
        await until_history(watched)
        await watched.all_in()
        assert await asyncio.to_thread(repocache_controls.primary.sql, started) == before


async def test_a_frozen_primary_costs_a_bounded_time(
    repocache_controls: Servers, database: str
) -> None:
    async with behind_one_name(repocache_controls, database) as (watched, _):
        await asyncio.to_thread(repocache_controls.primary.freeze)
        async with asyncio.timeout(20):
            assert await watched.topology.position() is None
            assert (await watched.read()).node != "primary"
        await asyncio.to_thread(repocache_controls.primary.thaw)
        await watched.all_in()
        assert not watched.seen(HistoryChanged)
        assert (await watched.read(ReadRequirement(primary="asked", asked=True))).value == 0
