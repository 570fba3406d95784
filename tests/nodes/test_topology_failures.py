"""Replicas that lag, die, go back, freeze: reads go on with what they need, and replicas return by
themselves."""

import asyncio

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from repocache.engines.topology_settings import TopologySettings
from repocache.errors import DatabaseUnavailable, PrimaryBudgetExceeded
from repocache.events import NodeBack, NodeOut, Sampled
from repocache.nodes.selection import ReadRequirement
from repocache.nodes.topology import Topology
from repocache.testing import Endpoints, PostgresServer, Servers
from tests.nodes.conftest import QUICK, STILL, Watched, needed, until, value_of, watching

pytestmark = pytest.mark.usefixtures("item")
SHORT_LAG = TopologySettings(sample_every=0.02, max_lag=0.5, probe_timeout=5.0)


def name(server: PostgresServer) -> str:
    return f"{server.host}:{server.port}"


async def until_out(watched: Watched, server: PostgresServer, *why: str) -> None:
    await until(lambda: watched.out(name(server)) in why, f"{server.name} is out: {why}")


async def test_an_idle_primary_is_no_lag(repocache_endpoints: Endpoints) -> None:
    async with watching(
        repocache_endpoints.primary, repocache_endpoints.replicas, SHORT_LAG
    ) as watched:
        loop = asyncio.get_running_loop()
        start = loop.time()
        await until(
            lambda: loop.time() - start > 3 * SHORT_LAG.max_lag, "the limit has passed three times"
        )
        assert not watched.seen(NodeOut)
        replicas = [event for event in watched.seen(Sampled) if event.node != "primary"]
        assert {event.lag_bytes for event in replicas[-10:]} == {0}


async def test_a_replica_that_lags_leaves_and_returns(
    repocache_endpoints: Endpoints, repocache_controls: Servers
) -> None:
    lagging = repocache_controls.replicas[0]
    async with watching(
        repocache_endpoints.primary, repocache_endpoints.replicas, SHORT_LAG
    ) as watched:
        await watched.all_in()
        await asyncio.to_thread(lagging.pause_replay)
        position = await watched.write(1)
        assert (await watched.read(needed(position))).value == 1
        await until_out(watched, lagging, "lagging")
        assert NodeOut(name(lagging), "lagging") in watched.events
        nodes = {(await watched.read()).node for _ in range(20)}
        assert nodes == {name(repocache_controls.replicas[1])}
        await asyncio.to_thread(lagging.resume_replay)
        await watched.all_in()
        assert NodeBack(name(lagging)) in watched.events


async def test_a_read_waits_a_bounded_moment_and_then_takes_the_primary(
    repocache_endpoints: Endpoints, repocache_controls: Servers
) -> None:
    for replica in repocache_controls.replicas:
        await asyncio.to_thread(replica.pause_replay)
    async with watching(
        repocache_endpoints.primary, repocache_endpoints.replicas, STILL
    ) as watched:
        read = await watched.read(needed(await watched.write(1)))
        assert (read.value, read.node, read.why) == (1, "primary", "replicas behind")


async def test_a_read_that_may_wait_gets_its_replica(
    repocache_endpoints: Endpoints, repocache_controls: Servers
) -> None:
    settings = TopologySettings(sample_every=600.0, max_lag=6000.0, catch_up_wait=60.0)
    for replica in repocache_controls.replicas:
        await asyncio.to_thread(replica.pause_replay)
    async with watching(
        repocache_endpoints.primary, repocache_endpoints.replicas, settings
    ) as watched:
        position = await watched.write(1)
        before = len(watched.seen(Sampled))
        reading = asyncio.create_task(watched.read(needed(position)))
        await until(lambda: len(watched.seen(Sampled)) > before + 4, "it polls")
        await asyncio.to_thread(repocache_controls.replicas[1].resume_replay)
        read = await reading
        assert (read.value, read.node) == (1, name(repocache_controls.replicas[1]))


async def test_a_killed_replica_is_not_noticed_by_readers(
    repocache_endpoints: Endpoints, repocache_controls: Servers
) -> None:
    killed, other = repocache_controls.replicas
    async with watching(repocache_endpoints.primary, repocache_endpoints.replicas) as watched:
        await watched.all_in()
        stop = asyncio.Event()

        async def reader() -> set[str]:
            nodes = set()
            while not stop.is_set():
                read = await watched.read()
                assert read.value == 0
                nodes.add(read.node)
            return nodes

        readers = [asyncio.create_task(reader()) for _ in range(4)]
        await asyncio.to_thread(killed.kill)
        await until_out(watched, killed, "lost", "refused")
        assert {(await watched.read()).node for _ in range(20)} == {name(other)}
        await asyncio.to_thread(killed.start)
        await watched.all_in()
        stop.set()
        nodes = set.union(*await asyncio.gather(*readers))
        assert nodes <= {name(killed), name(other)}, (
            "one replica is enough: nothing fell on the primary"
        )


async def test_a_replica_that_goes_back_does_not_live_on_its_old_sample(
    repocache_endpoints: Endpoints, repocache_controls: Servers
) -> None:
    """A standby that crashes starts again from its last restartpoint; the delay keeps it from
    running ahead again."""
    replica = repocache_controls.replicas[0]
    # So that none falls due between the write and the crash, which the standby would start from.
    await asyncio.to_thread(repocache_controls.primary.sql, "CHECKPOINT")
    await asyncio.to_thread(repocache_controls.catch_up)
    await asyncio.to_thread(replica.sql, "CHECKPOINT")
    async with watching(
        repocache_endpoints.primary, repocache_endpoints.replicas[:1], STILL
    ) as watched:
        position = await watched.write(1)
        await asyncio.to_thread(replica.await_position, position.flush)
        await asyncio.gather(*(node.poll.ask() for node in watched.topology._replicas))
        sample = watched.topology.nodes[1].sample
        assert sample is not None
        assert sample.position >= position.flush
        # A machine that dies says no goodbye: nothing tells the topology that its connection is
        # gone.
        watched.topology._replicas[0].probe._lost = lambda: None
        try:
            await asyncio.to_thread(
                replica.sql, "ALTER SYSTEM SET recovery_min_apply_delay = '1h'", "postgres"
            )
            await asyncio.to_thread(replica.kill)
            await asyncio.to_thread(replica.start)
            assert await asyncio.to_thread(replica.position) < position.flush
            assert watched.topology.nodes[1].sample is sample, "nobody has noticed yet"
            read = await watched.read(needed(position))
            assert (read.value, read.node) == (1, "primary")
        finally:
            await asyncio.to_thread(
                replica.sql, "ALTER SYSTEM RESET recovery_min_apply_delay", "postgres"
            )
            await asyncio.to_thread(replica.restart)


async def test_a_frozen_replica_holds_nobody_for_long(
    repocache_endpoints: Endpoints, repocache_controls: Servers
) -> None:
    frozen = repocache_controls.replicas[0]
    async with watching(repocache_endpoints.primary, repocache_endpoints.replicas[:1]) as watched:
        assert (await watched.read()).node == name(frozen)
        await asyncio.to_thread(frozen.freeze)
        async with asyncio.timeout(20):
            reads = await asyncio.gather(*(watched.read() for _ in range(5)))
        assert {(read.value, read.node) for read in reads} == {(0, "primary")}
        assert watched.out(name(frozen)) == "lost"
        await asyncio.to_thread(frozen.thaw)
        await watched.all_in()
        assert (await watched.read()).node == name(frozen)


async def test_lost_replicas_do_not_drown_the_primary(
    repocache_endpoints: Endpoints, repocache_controls: Servers
) -> None:
    settings = TopologySettings(sample_every=0.02, max_lag=5.0, primary_reads=2, primary_wait=0.0)
    async with watching(
        repocache_endpoints.primary, repocache_endpoints.replicas, settings
    ) as watched:
        for replica in repocache_controls.replicas:
            await asyncio.to_thread(replica.kill)
        for replica in repocache_controls.replicas:
            await until_out(watched, replica, "lost", "refused")
        let = asyncio.Event()
        inside = 0

        async def slow(connection: AsyncConnection) -> int:
            nonlocal inside
            inside += 1
            await let.wait()
            return await value_of(connection)

        held = [
            asyncio.create_task(watched.topology.read(ReadRequirement(), slow)) for _ in range(2)
        ]
        await until(lambda: inside == 2, "both read the primary")
        with pytest.raises(
            PrimaryBudgetExceeded, match=r"2 reads.*replicas lost; replicas: \S+ lost"
        ):
            await watched.read()
        asked = await watched.read(ReadRequirement(primary="asked", asked=True))
        assert asked.node == "primary", "what the caller sends to the primary is not stopped"
        let.set()
        assert [read.value for read in await asyncio.gather(*held)] == [0, 0]
        assert (await watched.read()).node == "primary"


async def test_a_conflict_with_recovery_is_read_elsewhere(
    repocache_endpoints: Endpoints, repocache_controls: Servers
) -> None:
    replica = repocache_controls.replicas[0]
    tries: list[int] = []
    async with watching(repocache_endpoints.primary, repocache_endpoints.replicas[:1]) as watched:
        delay = "max_standby_streaming_delay"
        setting = f"ALTER SYSTEM SET {delay} = 0; SELECT pg_reload_conf()"
        await asyncio.to_thread(replica.sql, setting, "postgres")
        try:
            await until(
                lambda: asyncio.to_thread(
                    lambda: replica.sql(f"SHOW {delay}", "postgres") == [("0",)]
                ),
                "it is set",
            )

            async def slow(connection: AsyncConnection) -> int:
                tries.append(1)
                seconds = 60 if len(tries) == 1 else 0
                await connection.execute(text(f"SELECT value FROM item, pg_sleep({seconds})"))
                return await value_of(connection)

            reading = asyncio.create_task(watched.topology.read(ReadRequirement(), slow))
            await until(lambda: bool(tries), "it reads")
            async with asyncio.timeout(30):
                while not reading.done():
                    async with watched.topology.write_engine.begin() as connection:
                        await connection.execute(text("LOCK item IN ACCESS EXCLUSIVE MODE"))
                        await connection.execute(text("SELECT pg_current_xact_id()"))
                    await asyncio.sleep(0.05)
                read = await reading
            assert (read.value, read.node, len(tries)) == (0, "primary", 2)
            assert not watched.seen(NodeOut), "the replica is well"
        finally:
            await asyncio.to_thread(
                replica.sql, f"ALTER SYSTEM RESET {delay}; SELECT pg_reload_conf()", "postgres"
            )


async def test_while_the_primary_is_lost_replicas_serve(
    repocache_endpoints: Endpoints, repocache_controls: Servers
) -> None:
    settings = TopologySettings(sample_every=0.02, max_lag=0.2, connect_timeout=1.0)
    async with watching(
        repocache_endpoints.primary, repocache_endpoints.replicas, settings
    ) as watched:
        position = await watched.write(1)
        for replica in repocache_controls.replicas:
            await asyncio.to_thread(replica.await_position, position.flush)
        await asyncio.gather(*(node.poll.ask() for node in watched.topology._replicas))
        await asyncio.to_thread(repocache_controls.primary.kill)
        await until(lambda: bool(watched.out("primary")), "the primary is out")
        before = len(watched.seen(Sampled))
        await until(
            lambda: len(watched.seen(Sampled)) > before + 40, "the limit of the lag is long past"
        )
        for _ in range(20):
            read = await watched.read(needed(position))
            assert (read.value, read.why) == (1, "replica")
        assert await watched.topology.position() is None
        with pytest.raises(DatabaseUnavailable, match="no node answers"):
            await watched.read(ReadRequirement(primary="floor unknown"))
        await asyncio.to_thread(repocache_controls.primary.start)
        await watched.all_in()
        assert (await watched.read(ReadRequirement(primary="floor unknown"))).value == 1


async def test_a_cancelled_read_leaves_nothing_behind(repocache_endpoints: Endpoints) -> None:
    inside = asyncio.Event()

    async def forever(connection: AsyncConnection) -> None:
        inside.set()
        await connection.execute(text("SELECT pg_sleep(600)"))

    async with watching(
        repocache_endpoints.primary, repocache_endpoints.replicas, QUICK
    ) as watched:
        for need in (ReadRequirement(), ReadRequirement(primary="floor unknown")):
            inside.clear()
            reading = asyncio.create_task(watched.topology.read(need, forever))
            await inside.wait()
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
        assert {node.in_flight for node in watched.topology.nodes} == {0}
        for _ in range(20):
            assert (await watched.read()).value == 0


async def test_both_pools_of_the_primary_are_closed_within_one_grace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each may take all of it: one after the other would take twice as much."""
    both = asyncio.Barrier(2)

    async def closes(*_: object) -> None:
        await both.wait()

    monkeypatch.setattr("repocache.nodes.primary.close_engine", closes)
    async with asyncio.timeout(5):
        await Topology("sqlite+aiosqlite:////nowhere/at/all")._primary.close(1.0)
