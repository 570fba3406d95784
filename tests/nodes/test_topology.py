"""Reads over healthy servers: which node answers, and what it has."""

import asyncio
from collections import Counter
from dataclasses import replace

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from repocache.engines.topology_settings import Replica, TopologySettings
from repocache.errors import ConfigurationError, DatabaseUnavailable, NotStarted
from repocache.events import Degraded, NodeOut, Sampled
from repocache.nodes.selection import ReadRequirement
from repocache.nodes.stamps import UNKNOWN, Stamp
from repocache.nodes.topology import Topology
from repocache.testing import Endpoints, Servers
from tests.nodes.conftest import QUICK, STILL, needed, value_of, watching
from tests.tcp_proxy import TcpProxy

pytestmark = pytest.mark.usefixtures("item")


async def test_a_read_after_a_write_sees_it_wherever_it_goes(
    repocache_endpoints: Endpoints,
) -> None:
    nodes: Counter[str] = Counter()
    async with watching(repocache_endpoints.primary, repocache_endpoints.replicas) as watched:
        for value in range(1, 200):
            read = await watched.read(needed(await watched.write(value)))
            assert read.value == value
            nodes[read.node] += 1
    assert len(nodes) > 1, "replicas answered too"


async def test_the_position_covers_what_was_written_before(
    repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    async with watching(repocache_endpoints.primary, ()) as watched:
        for _ in range(20):
            await watched.write(1)
            written = await asyncio.to_thread(repocache_servers.primary.position)
            position = await watched.topology.position()
            assert position is not None
            assert position.insert >= position.flush >= written


async def test_callers_share_polls_of_the_primary(repocache_endpoints: Endpoints) -> None:
    async with watching(repocache_endpoints.primary, (), STILL) as watched:
        before = len(watched.seen(Sampled))
        await asyncio.gather(*(watched.topology.position() for _ in range(100)))
        assert len(watched.seen(Sampled)) - before <= 2


async def test_no_probe_where_the_sample_is_enough(repocache_endpoints: Endpoints) -> None:
    async with watching(
        repocache_endpoints.primary, repocache_endpoints.replicas, STILL
    ) as watched:
        position = await watched.topology.position()
        assert position is not None
        for _ in range(20):
            await watched.read(needed(position))
        before = len(watched.seen(Sampled))
        for _ in range(100):
            assert (await watched.read(needed(position))).why == "replica"
        assert len(watched.seen(Sampled)) == before


async def test_reads_that_need_more_share_one_poll(repocache_endpoints: Endpoints) -> None:
    settings = TopologySettings(
        sample_every=600.0, max_lag=6000.0, catch_up_wait=10.0, pool_size=50
    )
    async with watching(
        repocache_endpoints.primary, repocache_endpoints.replicas, settings
    ) as watched:
        await asyncio.gather(*(watched.read() for _ in range(100)))
        position = await watched.write(1)
        before = len(watched.seen(Sampled))
        reads = await asyncio.gather(*(watched.read(needed(position)) for _ in range(50)))
        assert {(read.value, read.why) for read in reads} == {(1, "replica")}
        assert len(watched.seen(Sampled)) - before < 25


@pytest.mark.parametrize("primary", [True, False])
async def test_a_read_cannot_write(repocache_endpoints: Endpoints, primary: bool) -> None:
    calls = 0

    async def mistake(connection: AsyncConnection) -> None:
        nonlocal calls
        calls += 1
        await connection.execute(text("UPDATE item SET value = 13"))

    need = ReadRequirement(primary="asked", asked=True) if primary else ReadRequirement()
    async with watching(repocache_endpoints.primary, repocache_endpoints.replicas) as watched:
        with pytest.raises(DBAPIError, match="read-only transaction"):
            await watched.topology.read(need, mistake)
        assert calls == 1, "the statement is at fault, not the node"
        assert not watched.seen(NodeOut)
        assert (await watched.read(ReadRequirement(primary="asked", asked=True))).value == 0


async def test_a_snapshot_is_one_moment_of_one_node(repocache_endpoints: Endpoints) -> None:
    async with watching(repocache_endpoints.primary, repocache_endpoints.replicas) as watched:
        async with watched.topology.snapshot(needed(await watched.write(1))) as connection:
            assert await value_of(connection) == 1
            position = await watched.write(2)
            assert await value_of(connection) == 1
            with pytest.raises(DBAPIError, match="read-only"):
                await connection.execute(text("UPDATE item SET value = 13"))
        assert (await watched.read(needed(position))).value == 2
        stamps: list[Stamp] = []
        stamped = replace(needed(position), stamped=True)
        async with watched.topology.snapshot(stamped, stamps.append) as connection:
            assert len(stamps) == 1, "before anything is shown"
            later = await watched.write(3)
            assert await value_of(connection) == 2
        assert stamps[-1].history == position.history
        assert stamps[-1].position is not None
        assert position.flush <= stamps[-1].position < later.insert
        assert {node.in_flight for node in watched.topology.nodes} == {0}


async def test_a_stamped_read_says_what_it_cannot_be_newer_than(
    repocache_endpoints: Endpoints,
) -> None:
    async with watching(repocache_endpoints.primary, repocache_endpoints.replicas) as watched:
        position = await watched.write(1)
        for need in (
            ReadRequirement(position.history, position.flush, stamped=True),
            ReadRequirement(primary="asked", asked=True, stamped=True),
        ):
            stamp = (await watched.read(need)).stamp
            assert (stamp.history, stamp.primary) == (position.history, need.asked)
            assert stamp.position is not None
            assert stamp.position >= position.flush
        assert (await watched.read()).stamp == UNKNOWN


async def test_a_new_connection_ends_the_sample(repocache_endpoints: Endpoints) -> None:
    """Whom it reached is not known to be whom the sample was taken of (protocol, Read path 4)."""
    async with watching(
        repocache_endpoints.primary, repocache_endpoints.replicas[:1], STILL
    ) as watched:
        sample = watched.topology.nodes[1].sample
        assert sample is not None
        position = await watched.topology.position()
        assert position is not None
        read = await watched.read(needed(position))
        assert read.why == "replica", "a fresh one was polled"
        fresh = watched.topology.nodes[1].sample
        assert fresh is not sample
        await watched.read(needed(position))
        assert watched.topology.nodes[1].sample is fresh, "the pool's connection is known by now"


async def test_drivers_that_are_spoken_to_through_sqlalchemy(
    repocache_endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    """asyncpg is spoken to directly; without that the same is learned."""
    monkeypatch.setattr("repocache.nodes.probe.asyncpg.Connection", type("Unknown", (), {}))
    async with watching(repocache_endpoints.primary, repocache_endpoints.replicas) as watched:
        assert watched.topology._primary.probe._asyncpg is None
        for value in range(1, 20):
            assert (await watched.read(needed(await watched.write(value)))).value == value
        await watched.all_in()


async def test_no_replicas_is_no_fallback(repocache_endpoints: Endpoints) -> None:
    settings = TopologySettings(primary_reads=1, primary_wait=0.0)
    async with watching(repocache_endpoints.primary, (), settings) as watched:
        assert [event.what for event in watched.seen(Degraded)] == ["replicas"]
        together = asyncio.Barrier(3)

        async def run(connection: AsyncConnection) -> int:
            await together.wait()
            return await value_of(connection)

        async with asyncio.timeout(30):
            reads = await asyncio.gather(
                *(watched.topology.read(ReadRequirement(), run) for _ in range(3))
            )
        assert {(read.node, read.why) for read in reads} == {("primary", "no replicas")}
        assert (await watched.read(ReadRequirement(fallback=False))).value == 0


async def test_replicas_only_means_it(repocache_endpoints: Endpoints) -> None:
    async with watching(repocache_endpoints.primary, repocache_endpoints.replicas) as watched:
        assert (await watched.read(ReadRequirement(fallback=False))).node != "primary"
        with pytest.raises(DatabaseUnavailable, match=r"no replica may answer \(replicas behind\)"):
            await watched.read(ReadRequirement(watched.topology.history, 1 << 60, fallback=False))


async def test_lag_can_be_limited_for_one_read(repocache_endpoints: Endpoints) -> None:
    async with watching(repocache_endpoints.primary, repocache_endpoints.replicas) as watched:
        assert (await watched.read(ReadRequirement(max_lag=5.0))).node != "primary"
    async with watching(
        repocache_endpoints.primary, repocache_endpoints.replicas, STILL
    ) as watched:
        assert (await watched.read(ReadRequirement(max_lag=1e-9))).node == "primary"


async def test_weights_and_names(repocache_endpoints: Endpoints) -> None:
    first, second = repocache_endpoints.replicas
    replicas = [
        Replica(first, weight=1000.0, name="big"),
        Replica(second, weight=0.001, name="small"),
    ]
    async with watching(repocache_endpoints.primary, replicas) as watched:
        nodes = Counter([(await watched.read()).node for _ in range(50)])
    assert nodes["big"] > 45


async def test_behind_a_balancer_the_reading_connection_itself_is_asked(
    repocache_endpoints: Endpoints, repocache_controls: Servers
) -> None:
    """The probe reached the replica that is up to date, the pool the one that is not."""
    stale, fresh = repocache_controls.replicas
    await asyncio.to_thread(stale.pause_replay)
    urls = repocache_endpoints.replicas
    async with (
        TcpProxy(urls[1]) as door,
        watching(repocache_endpoints.primary, (door.url,), STILL) as watched,
    ):
        door.lead_to(urls[0])
        position = await watched.write(1)
        await asyncio.to_thread(fresh.await_position, position.flush)
        for _ in range(5):
            assert (await watched.read(needed(position))).value == 1


async def test_before_and_after_it_says_so(repocache_endpoints: Endpoints) -> None:
    topology = Topology(repocache_endpoints.primary, repocache_endpoints.replicas, QUICK)
    for _ in range(2):
        with pytest.raises(NotStarted):
            await topology.position()
        with pytest.raises(NotStarted):
            await topology.read(ReadRequirement(), value_of)
        async with topology:
            assert (await topology.read(ReadRequirement(), value_of)).value == 0


async def test_a_primary_that_does_not_answer_is_named() -> None:
    with pytest.raises(DatabaseUnavailable, match="the primary does not answer"):
        async with Topology("postgresql+asyncpg://nobody@127.0.0.1:1/none"):
            pass


@pytest.mark.parametrize(
    "primary, replicas, message",
    [
        ("nonsense", [], "primary: not a database URL"),
        ("postgresql+psycopg2://user:secret@host/db", [], r"no async driver.*asyncpg"),
        ("sqlite+aiosqlite://", [], "name a file"),
        ("postgresql+asyncpg://host/db", "postgresql+asyncpg://host/db", "a list of URLs"),
        (
            "postgresql+asyncpg://host/db",
            ["postgresql+asyncpg://a/db", "postgresql+asyncpg://a/db"],
            "give each a name",
        ),
    ],
)
def test_what_is_wrong_is_said_at_once(primary: str, replicas: list[str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        Topology(primary, replicas)
    assert "secret" not in str(caught.value)


def test_it_is_entered_in_one_loop_after_the_other(repocache_endpoints: Endpoints) -> None:
    """With reads that wait for a place at the primary, and for a connection: what they wait on is
    of their loop."""
    settings = TopologySettings(
        sample_every=0.02, max_lag=5.0, pool_size=1, primary_reads=1, primary_wait=30.0
    )
    topology = Topology(repocache_endpoints.primary, repocache_endpoints.replicas, settings)

    async def lives() -> set[int]:
        async with asyncio.timeout(30), topology:
            assert await topology.position() is not None
            needs = [
                ReadRequirement(primary="no sample"),
                ReadRequirement(primary="asked", asked=True),
                ReadRequirement(),
            ] * 8
            reads = await asyncio.gather(*(topology.read(need, value_of) for need in needs))
            return {read.value for read in reads}

    assert [asyncio.run(lives()) for _ in range(3)] == [{0}] * 3
