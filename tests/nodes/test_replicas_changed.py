"""Replicas that are given while the topology runs: who joins is sampled first, who leaves is read
from no more, and its connections end."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter

import pytest
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError

from repocache.engines.topology_settings import Replica
from repocache.errors import ConfigurationError, OtherLoop
from repocache.events import Degraded, NodeOut, Routed, TaskFailed
from repocache.nodes import topology as topologies
from repocache.nodes.selection import ReadRequirement
from repocache.nodes.topology import Topology
from repocache.testing import Endpoints, PostgresServer, Servers
from tests.nodes.conftest import QUICK, STILL, Watched, needed, until, value_of, watching

pytestmark = pytest.mark.usefixtures("item")


@pytest.fixture
def pair(repocache_endpoints: Endpoints) -> tuple[Replica, Replica]:
    first, second = repocache_endpoints.replicas
    return Replica(first, name="first"), Replica(second, name="second")


def connections(server: PostgresServer, database: str) -> int:
    """Of clients, to this database."""
    return len(
        server.sql(
            f"SELECT pid FROM pg_stat_activity WHERE datname = '{database}' AND usename = 'app'"
        )
    )


async def gone(server: PostgresServer, database: str) -> None:
    async def none_left() -> bool:
        return await asyncio.to_thread(connections, server, database) == 0

    await until(none_left, "all connections have ended")


async def readers(watched: Watched, reads: int = 200) -> Counter[str]:
    return Counter([(await watched.read()).node for _ in range(reads)])


async def test_one_joins_and_is_read_from(
    repocache_endpoints: Endpoints, pair: tuple[Replica, Replica]
) -> None:
    async with watching(repocache_endpoints.primary, [pair[0]]) as watched:
        await watched.all_in()
        watched.topology.change_replicas(pair)
        assert watched.out("second") == "no sample"
        assert not watched.out("first"), "who stays goes on"
        await watched.all_in()
        assert (await readers(watched)).keys() == {"first", "second"}
        position = await watched.write(1)
        assert (await watched.read(needed(position))).value == 1
    assert watched.topology.replicas == pair
    assert not watched.seen(NodeOut)
    assert not watched.seen(TaskFailed)


async def test_it_is_sampled_before_it_is_read_from(
    repocache_endpoints: Endpoints, pair: tuple[Replica, Replica], repocache_controls: Servers
) -> None:
    """It lags, and has not been looked at: nobody may be given what it shows."""
    late = repocache_controls.replicas[1]
    await asyncio.to_thread(late.pause_replay)
    async with watching(repocache_endpoints.primary, [pair[0]], STILL) as watched:
        position = await watched.write(1)
        watched.topology.change_replicas(pair)
        for _ in range(20):
            read = await watched.read(needed(position))
            assert (read.value, read.node == "second") == (1, False)


async def test_one_leaves_and_its_connections_end(
    repocache_endpoints: Endpoints,
    pair: tuple[Replica, Replica],
    repocache_servers: Servers,
    database: str,
) -> None:
    async with watching(repocache_endpoints.primary, list(pair)) as watched:
        await watched.all_in()
        assert (await readers(watched)).keys() == {"first", "second"}
        [left, _] = watched.topology._replicas
        polled = left.poll.ask()
        watched.topology.change_replicas(pair[1:])
        assert (left.sample, left.out) == (None, "removed"), "who still holds it reads elsewhere"
        assert await polled is None
        before = len(watched.seen(Routed))
        assert (await readers(watched)).keys() == {"second"}
        assert {each.node for each in watched.seen(Routed)[before:]} == {"second"}
        await gone(repocache_servers.replicas[0], database)
        assert (left.sample, left.out) == (None, "removed")
        assert [node.name for node in watched.topology.nodes] == ["primary", "second"]
    assert not watched.seen(NodeOut)


async def test_a_snapshot_that_is_there_goes_on(
    repocache_endpoints: Endpoints,
    pair: tuple[Replica, Replica],
    repocache_servers: Servers,
    database: str,
) -> None:
    first, second = pair
    async with watching(repocache_endpoints.primary, [first]) as watched:
        await watched.all_in()
        async with watched.topology.snapshot() as connection:
            watched.topology.change_replicas([second])
            await watched.all_in()
            assert (await readers(watched, 20)).keys() == {"second"}
            assert await value_of(connection) == 0
            assert await asyncio.to_thread(connections, repocache_servers.replicas[0], database)
        await gone(repocache_servers.replicas[0], database)


async def test_after_the_grace_it_is_hung_up_on(
    repocache_endpoints: Endpoints,
    pair: tuple[Replica, Replica],
    repocache_servers: Servers,
    database: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(topologies, "GRACE", 0.2)
    async with watching(repocache_endpoints.primary, [pair[0]]) as watched:
        await watched.all_in()
        async with watched.topology.snapshot() as connection:
            watched.topology.change_replicas([])
            await gone(repocache_servers.replicas[0], database)
            with pytest.raises(DBAPIError):
                await value_of(connection)
        assert (await watched.read()).node == "primary"
        assert "replicas" in {each.what for each in watched.seen(Degraded)}
    assert not watched.seen(TaskFailed)


async def test_leaving_the_topology_ends_one_that_has_just_left(
    repocache_endpoints: Endpoints,
    pair: tuple[Replica, Replica],
    repocache_servers: Servers,
    database: str,
) -> None:
    async with watching(repocache_endpoints.primary, list(pair)) as watched:
        await watched.all_in()
        await readers(watched, 50)
        watched.topology.change_replicas([])
    for server in repocache_servers.replicas:
        await gone(server, database)


async def test_a_weight_alone_keeps_the_node(
    repocache_endpoints: Endpoints, pair: tuple[Replica, Replica]
) -> None:
    first, second = pair
    async with watching(repocache_endpoints.primary, list(pair)) as watched:
        await watched.all_in()
        heavy = Replica(first.url, weight=1_000_000.0, name="first")
        watched.topology.change_replicas([second, heavy])
        assert not any(node.out for node in watched.topology.nodes)
        assert (await readers(watched))["first"] > 190


async def test_reads_fail_nowhere_while_replicas_come_and_go(
    repocache_endpoints: Endpoints, pair: tuple[Replica, Replica]
) -> None:
    first, second = pair
    sets: list[list[Replica]] = [[first], [second], [], [first, second], [second, first]]
    async with watching(repocache_endpoints.primary, list(pair)) as watched:
        over = asyncio.Event()

        async def read() -> int:
            done = 0
            while not over.is_set():
                position = await watched.topology.position()
                assert position is not None
                await watched.read(needed(position))
                done += 1
            return done

        async def report() -> None:
            while not over.is_set():
                async with watched.topology.snapshot(ReadRequirement(stamped=True)) as connection:
                    await value_of(connection)

        tasks = [asyncio.create_task(read()) for _ in range(8)]
        reports = [asyncio.create_task(report()) for _ in range(2)]
        for number in range(60):
            watched.topology.change_replicas(sets[number % len(sets)])
            await asyncio.sleep(0.03)
        over.set()
        assert min(await asyncio.gather(*tasks)) > 0
        await asyncio.gather(*reports)
    routed = {each.node for each in watched.seen(Routed)}
    assert routed == {"primary", "first", "second"}
    assert not watched.seen(TaskFailed)


async def test_what_is_wrong_changes_nothing(
    repocache_endpoints: Endpoints, pair: tuple[Replica, Replica]
) -> None:
    async with watching(repocache_endpoints.primary, list(pair)) as watched:
        await watched.all_in()
        for wrong in (
            ["postgresql://ada@db2/shop?sslmode=maybe"],
            ["sqlite+aiosqlite:////tmp/shop"],
            ["mysql://db2/shop"],
            [pair[0], Replica(pair[1].url, name="first")],
        ):
            with pytest.raises(ConfigurationError):
                watched.topology.change_replicas(wrong)
        assert watched.topology.replicas == pair
        assert (await readers(watched)).keys() == {"first", "second"}


async def test_one_that_is_away_is_out_and_comes_back(
    repocache_endpoints: Endpoints, pair: tuple[Replica, Replica]
) -> None:
    first, second = pair
    nowhere = make_url(str(second.url)).set(port=1).render_as_string(hide_password=False)
    async with watching(repocache_endpoints.primary, [first]) as watched:
        watched.topology.change_replicas([first, Replica(nowhere, name="second")])
        await until(lambda: bool(watched.out("second")), "it is out")
        await until(lambda: bool(watched.seen(NodeOut)), "an event says so")
        assert (await readers(watched)).keys() <= {"primary", "first"}
        watched.topology.change_replicas(pair)
        await watched.all_in()
        assert "second" in await readers(watched)


async def test_before_the_start_and_for_the_next_one(
    repocache_endpoints: Endpoints, pair: tuple[Replica, Replica]
) -> None:
    first, second = pair
    topology = Topology(repocache_endpoints.primary, [first], QUICK)
    topology.change_replicas([second])
    for given in ([first], list(pair)):
        async with topology:
            watched = Watched(topology)
            await watched.all_in()
            assert set(await readers(watched)) == {each.name for each in topology.replicas}
        topology.change_replicas(given)


async def test_in_another_thread_it_is_refused(
    repocache_endpoints: Endpoints, pair: tuple[Replica, Replica]
) -> None:
    async with watching(repocache_endpoints.primary, list(pair)) as watched:
        with pytest.raises(OtherLoop):
            await asyncio.to_thread(watched.topology.change_replicas, [])
        assert watched.topology.replicas == pair


async def test_who_left_leaves_nothing_behind(
    repocache_endpoints: Endpoints, pair: tuple[Replica, Replica]
) -> None:
    async with watching(repocache_endpoints.primary, list(pair)) as watched:
        await watched.all_in()
        known = watched.topology._planned._dialects
        before = len(known)
        for _ in range(3):
            watched.topology.change_replicas([])
            watched.topology.change_replicas(pair)
            await watched.all_in()
        await until(lambda: not watched.topology._set._leaving, "those that left are closed")

        def collected() -> bool:
            gc.collect()
            return len(known) == before

        await until(collected, "their engines are gone")


async def test_the_timeline_of_a_new_one_is_looked_at(
    repocache_endpoints: Endpoints, pair: tuple[Replica, Replica]
) -> None:
    """As at the start; the role of these tests may not see it."""
    async with watching(repocache_endpoints.primary, []) as watched:
        watched.topology.change_replicas(pair)
        await until(lambda: len(watched.seen(Degraded)) == 3, "it is told")
    told = {each.what for each in watched.seen(Degraded)}
    assert told == {"replicas", "the timeline of first", "the timeline of second"}
