"""A pooler keeps connections while the server behind it begins another life: nobody reads there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from types import SimpleNamespace

import asyncpg
import pytest
from sqlalchemy import URL, text

from repocache.bookmark import Bookmark
from repocache.db.engines import Server
from repocache.db.poolers import (
    NOT_READ_ONLY,
    OWN_ADDRESS,
    PRIMARY_POOLED,
    REPLICA_UNUSED,
    is_pooled,
)
from repocache.db.positions import Process, System
from repocache.db.routing import Routing, Stickiness
from repocache.db.settings import Replica, TopologySettings
from repocache.db.trouble import POOLED, WRITABLE
from repocache.errors import DatabaseUnavailable
from repocache.events import Degraded, NodeBack, NodeOut
from repocache.testing import Endpoints, PostgresServer, Servers
from tests.db.bouncer import IGNORED, bouncing, find_bouncer
from tests.db.conftest import STILL, Watched, needed, until, watching
from tests.db.doorman import Doorman

IGNORING = f"ignore_startup_parameters = {IGNORED}"
MODES = ("session", "transaction")
DELAY = "recovery_min_apply_delay"


@pytest.fixture(scope="module")
def program() -> str:
    found = find_bouncer()
    if found is None:
        pytest.skip("no pgbouncer is installed (Debian's package: pgbouncer)")
    return found


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return f"pool_mode = {request.param}"


@pytest.fixture
def pooled(program: str, mode: str, repocache_endpoints: Endpoints, item: None) -> Iterator[str]:
    """The first replica, behind a PgBouncer that drops what it is asked for at connect."""
    with bouncing(program, repocache_endpoints.replicas[0], mode, IGNORING) as url:
        yield url


def told(watched: Watched, what: str) -> list[str]:
    return [event.lost for event in watched.seen(Degraded) if event.what == what]


async def reads_at(watched: Watched, node: str) -> bool:
    return (await watched.read()).node == node


async def polled(watched: Watched) -> None:
    """All replicas have been tried once more."""
    await asyncio.gather(*(node.poll.ask() for node in watched.topology._replicas))


async def test_it_is_never_chosen(repocache_endpoints: Endpoints, pooled: str) -> None:
    direct = Replica(repocache_endpoints.replicas[1], name="direct")
    replicas = [Replica(pooled, name="pooled"), direct]
    async with watching(repocache_endpoints.primary, replicas) as watched:
        await until(lambda: not watched.out("direct"), "the other replica is in the rotation")
        position = await watched.write(1)
        for _ in range(20):
            assert (await watched.read()).node == "direct"
            assert (await watched.read(needed(position))).value == 1
        for _ in range(3):
            await asyncio.sleep(0.1)
            await polled(watched)
        assert watched.out("pooled") == POOLED
        said = [event for event in watched.seen(NodeOut) if event.node == "pooled"]
        assert said == [NodeOut("pooled", POOLED)]
        assert told(watched, "replica pooled") == [REPLICA_UNUSED[POOLED]]
        assert OWN_ADDRESS in REPLICA_UNUSED[POOLED]


async def test_a_pooler_that_refuses_what_is_asked_for_at_connect_is_named_too(
    repocache_endpoints: Endpoints, program: str, mode: str, item: None
) -> None:
    with bouncing(program, repocache_endpoints.replicas[0], mode) as url:
        async with watching(repocache_endpoints.primary, [Replica(url, name="pooled")]) as watched:
            assert watched.out("pooled") == POOLED
            assert (await watched.read()).node == "primary"
            assert told(watched, "replica pooled") == [REPLICA_UNUSED[POOLED]]


@asynccontextmanager
async def further_back(primary: PostgresServer, replica: PostgresServer) -> AsyncIterator[None]:
    """From here on the replica begins each life where it is now, and stays there."""
    # So that no checkpoint falls due before the crash, which the standby would start from.
    await asyncio.to_thread(primary.sql, "CHECKPOINT")
    await asyncio.to_thread(replica.await_position, await asyncio.to_thread(primary.position))
    await asyncio.to_thread(replica.sql, "CHECKPOINT")
    try:
        yield
    finally:
        await asyncio.to_thread(replica.sql, f"ALTER SYSTEM RESET {DELAY}", "postgres")
        await asyncio.to_thread(replica.restart)


async def crash(replica: PostgresServer) -> None:
    await asyncio.to_thread(replica.sql, f"ALTER SYSTEM SET {DELAY} = '1h'", "postgres")
    await asyncio.to_thread(replica.kill)
    await asyncio.to_thread(replica.start)


async def test_a_session_reads_its_writes_while_the_replica_behind_the_pooler_goes_back(
    repocache_controls: Servers, repocache_endpoints: Endpoints, pooled: str
) -> None:
    """1. A session writes, and the replica has replayed it. 2. The replica crashes and begins again
    before that; the pooler keeps our connections. 3. A connection, or a poll, that is taken for the
    earlier life's would read the old row."""
    primary, replica = repocache_controls.primary, repocache_controls.replicas[0]
    async with further_back(primary, replica):
        # Polled seldom: a poll would find the new life, and hide what is read without it.
        replicas = [Replica(pooled, name="pooled")]
        async with watching(repocache_endpoints.primary, replicas, STILL) as watched:
            routing = Routing(watched.topology, Stickiness(window=6600.0 + 60.0))
            position = await watched.write(1)
            await asyncio.to_thread(replica.await_position, position.flush)
            await polled(watched)
            async with routing.causal_session() as session:
                at, expires = (position.history, position.flush), time.time() + 600.0
                session.advance(Bookmark(*at, {}, covered=True, expires=expires))
                assert routing.need(0) == needed(position)
                assert (await watched.read(routing.need(0))).value == 1
                crashing = asyncio.create_task(crash(replica))
                while not crashing.done():
                    read = await watched.read(routing.need(0))
                    assert (read.value, read.node) == (1, "primary")
                    await asyncio.sleep(0.01)
                await crashing
                assert await asyncio.to_thread(replica.position) < position.flush
                for _ in range(20):
                    read = await watched.read(routing.need(0))
                    assert (read.value, read.node) == (1, "primary")


async def test_only_the_connections_for_reads_are_pooled(
    repocache_endpoints: Endpoints, pooled: str, repocache_servers: Servers
) -> None:
    """An address that leads to the server and to a pooler in turns: each connection is judged."""
    direct = repocache_endpoints.replicas[0]
    async with (
        Doorman(direct) as door,
        watching(repocache_endpoints.primary, [Replica(door.url, name="r")]) as watched,
    ):
        await watched.all_in()
        door.lead_to(pooled)
        assert (await watched.read()).node == "primary"
        assert NodeOut("r", POOLED) in watched.events
        door.lead_to(direct)
        await watched.all_in()
        await until(lambda: reads_at(watched, "r"), "it is read again")
        assert watched.events.index(NodeOut("r", POOLED)) < watched.events.index(NodeBack("r"))
        assert told(watched, "replica r") == [REPLICA_UNUSED[POOLED]]


async def test_a_pooled_primary_is_told_of_and_not_read_where_reads_could_write(
    repocache_endpoints: Endpoints, program: str, mode: str, item: None
) -> None:
    with bouncing(program, repocache_endpoints.primary, mode, IGNORING) as url:
        async with watching(url, ()) as watched:
            await watched.write(1)
            with pytest.raises(DatabaseUnavailable, match=OWN_ADDRESS) as refused:
                await watched.read()
            assert NOT_READ_ONLY in str(refused.value)
            with pytest.raises(DatabaseUnavailable, match="own address"):
                async with watched.topology.snapshot():
                    pass
            assert told(watched, "primary") == [PRIMARY_POOLED]


async def test_a_pooled_primary_that_refuses_what_is_asked_for_at_connect(
    repocache_endpoints: Endpoints, program: str, mode: str, item: None
) -> None:
    said = f"unsupported startup parameter.*{OWN_ADDRESS}"
    with (
        bouncing(program, repocache_endpoints.primary, mode) as url,
        pytest.raises(DatabaseUnavailable, match=said),
    ):
        async with watching(url, ()):
            pass


@pytest.fixture(params=[True, False], ids=["positions", "no positions"])
def positions(request: pytest.FixtureRequest, repocache_servers: Servers, database: str) -> bool:
    """Whether they are to be had."""
    if not request.param:
        revoke = "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC"
        repocache_servers.primary.sql(revoke, database)
        repocache_servers.catch_up()
    return bool(request.param)


@pytest.mark.usefixtures("item")
async def test_a_replica_whose_connections_could_write_is_out(
    repocache_endpoints: Endpoints, positions: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("repocache.db.engines.connect_args", without_read_only)
    replicas = [Replica(repocache_endpoints.replicas[0], name="r")]
    async with watching(repocache_endpoints.primary, replicas) as watched:
        assert watched.out("r") == WRITABLE
        assert told(watched, "replica r") == [REPLICA_UNUSED[WRITABLE]]
        with pytest.raises(DatabaseUnavailable, match="own address"):
            await watched.read()
        async with watched.topology.write_engine.begin() as connection:
            await connection.execute(text("UPDATE item SET value = 1"))
        assert not told(watched, "primary")
        assert bool(watched.topology.history) == positions


def without_read_only(url: URL, settings: TopologySettings, **_: bool) -> dict[str, object]:
    """What is left of it behind a proxy that drops what it does not know."""
    return {"timeout": settings.connect_timeout}


@pytest.mark.parametrize(
    "driver, verdict",
    [
        (SimpleNamespace(info=SimpleNamespace(backend_pid=7)), False),
        (SimpleNamespace(info=SimpleNamespace(backend_pid=8)), True),
        (SimpleNamespace(), False),
        (None, False),
    ],
    ids=["the same", "another", "not told", "no driver"],
)
def test_the_verdict_on_other_drivers(driver: object, verdict: bool) -> None:
    server = Server(System("1", 1), Process(1, 1), in_recovery=True, address="", backend=7)
    assert is_pooled(server, driver) is verdict


async def test_a_direct_connection_is_no_poolers(repocache_endpoints: Endpoints) -> None:
    url = repocache_endpoints.primary.replace("+asyncpg", "")
    connection = await asyncpg.connect(url)
    try:
        backend = await connection.fetchval("SELECT pg_backend_pid()")
    finally:
        await connection.close()
    server = Server(System("1", 1), Process(1, 1), in_recovery=False, address="", backend=backend)
    assert not is_pooled(server, connection)
