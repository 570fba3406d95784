"""A pooler keeps connections while the server behind it begins another life: each read asks where
it is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace

import asyncpg
import pytest
from sqlalchemy import URL, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from repocache.bookmark import Bookmark
from repocache.engines.driver_errors import POOLED, WRITABLE
from repocache.engines.engine_settings import EngineSettings
from repocache.engines.poolers import (
    NOT_AS_ASKED,
    OWN_ADDRESS,
    PRIMARY_POOLED,
    is_pooled,
    tell,
    unnamed,
)
from repocache.engines.server import Process, Server, System
from repocache.engines.topology_settings import Replica, TopologySettings
from repocache.events import Degraded
from repocache.nodes.selection import ANYTHING, ReadRequirement
from repocache.nodes.topology import Topology
from repocache.routing.routing import Routing, Stickiness
from repocache.testing import Endpoints, PostgresServer, Servers
from tests.nodes.bouncer import IGNORED, bouncing, find_bouncer
from tests.nodes.conftest import STILL, Watched, needed, until, value_of, watching
from tests.tcp_proxy import TcpProxy

IGNORING = f"ignore_startup_parameters = {IGNORED}"
MODES = ("session", "transaction")
DELAY = "recovery_min_apply_delay"
PATIENT = TopologySettings(
    sample_every=0.05, probe_timeout=20.0, connect_timeout=20.0, max_lag=60.0
)
"""Polls wait in the pooler's queue, too."""
UNPOLLED = replace(STILL, probe_timeout=20.0, connect_timeout=20.0)


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


async def test_it_is_read_where_it_has_what_is_needed(
    repocache_endpoints: Endpoints, pooled: str
) -> None:
    direct = Replica(repocache_endpoints.replicas[1], name="direct")
    replicas = [Replica(pooled, name="pooled"), direct]
    async with watching(repocache_endpoints.primary, replicas, PATIENT) as watched:
        await watched.all_in()
        answered: set[str] = set()
        for value in range(1, 21):
            position = await watched.write(value)
            reads = await asyncio.gather(*(watched.read(needed(position)) for _ in range(5)))
            assert {read.value for read in reads} == {value}
            answered |= {read.node for read in reads}
        await until(lambda: reads_at(watched, "pooled"), "it is chosen")
        assert not watched.out("pooled")
        assert told(watched, "replica pooled") == [NOT_AS_ASKED[POOLED]]
        assert OWN_ADDRESS in NOT_AS_ASKED[POOLED]


async def test_a_pooler_that_refuses_what_is_asked_for_at_connect_is_read_too(
    repocache_endpoints: Endpoints, program: str, mode: str, item: None
) -> None:
    with bouncing(program, repocache_endpoints.replicas[0], mode) as url:
        async with watching(
            repocache_endpoints.primary, [Replica(url, name="pooled")], PATIENT
        ) as watched:
            await watched.all_in()
            assert (await watched.read()).node == "pooled"
            assert told(watched, "replica pooled") == [NOT_AS_ASKED[POOLED]]


TOUCH = """
CREATE FUNCTION touch() RETURNS int LANGUAGE plpgsql AS
    $$ BEGIN UPDATE item SET value = value + 1; RETURN 1; END $$;
GRANT EXECUTE ON FUNCTION touch() TO app
"""


@pytest.fixture(params=[False, True], ids=["ignores", "refuses"])
def pooled_primary(
    request: pytest.FixtureRequest,
    repocache_endpoints: Endpoints,
    program: str,
    mode: str,
    item: None,
) -> Iterator[str]:
    settings = (mode,) if request.param else (mode, IGNORING)
    with bouncing(program, repocache_endpoints.primary, *settings) as url:
        yield url


async def test_nothing_can_be_written_by_a_read(
    pooled_primary: str, database: str, repocache_servers: Servers
) -> None:
    repocache_servers.primary.sql(TOUCH, database)

    async def touch(connection: AsyncConnection) -> object:
        return (await connection.execute(text("SELECT touch()"))).scalar_one()

    async def loosen(connection: AsyncConnection) -> None:
        await connection.execute(text("SET TRANSACTION READ WRITE"))

    async with watching(pooled_primary, (), PATIENT) as watched:
        with pytest.raises(DBAPIError, match="read-only transaction"):
            await watched.topology.read(ANYTHING, touch)
        with pytest.raises(DBAPIError, match="read-write mode"):
            await watched.topology.read(ANYTHING, loosen)
        with pytest.raises(DBAPIError, match="read-only transaction"):
            async with watched.topology.snapshot() as connection:
                await touch(connection)
        assert (await watched.read()).value == 0


async def test_many_share_few_connections_of_the_servers(
    repocache_endpoints: Endpoints, program: str, item: None
) -> None:
    """Each statement may come to another one: none may look for what an earlier one has
    prepared."""
    few = ("pool_mode = transaction", "default_pool_size = 2", IGNORING)
    primary, replica = repocache_endpoints.primary, repocache_endpoints.replicas[0]

    async def write(topology: Topology) -> None:
        async with topology.write_engine.begin() as connection:
            await connection.execute(text("UPDATE item SET value = value + :n"), {"n": 1})

    with bouncing(program, primary, *few) as first, bouncing(program, replica, *few) as second:
        replicas = [Replica(second, name="r")]
        async with (
            watching(first, replicas, PATIENT) as watched,
            watching(first, (), PATIENT) as other,
        ):
            await watched.all_in()
            for _ in range(10):
                await asyncio.gather(
                    *(write(each.topology) for each in (watched, other) for _ in range(5)),
                    *(each.read() for each in (watched, other) for _ in range(10)),
                )
            position = await watched.topology.position()
            assert position is not None
            assert (await watched.read(needed(position))).value == (await other.read()).value == 100


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
        async with watching(repocache_endpoints.primary, replicas, UNPOLLED) as watched:
            routing = Routing(watched.topology, Stickiness(window=6600.0 + 60.0))
            position = await watched.write(1)
            await asyncio.to_thread(replica.await_position, position.flush)
            await polled(watched)
            async with routing.causal_session() as session:
                at, expires = (position.history, position.flush), time.time() + 600.0
                session.advance(Bookmark(*at, {}, covered=True, expires=expires))
                assert replace(routing.need(0), client=None) == needed(position)
                assert (await watched.read(routing.need(0))).value == 1
                assert await reads_at(watched, "pooled")
                crashing = asyncio.create_task(crash(replica))
                while not crashing.done():
                    assert (await watched.read(routing.need(0))).value == 1
                    await asyncio.sleep(0.01)
                await crashing
                assert await asyncio.to_thread(replica.position) < position.flush
                for _ in range(20):
                    read = await watched.read(routing.need(0))
                    assert (read.value, read.node) == (1, "primary")


async def test_an_address_that_leads_to_a_pooler_later(
    repocache_endpoints: Endpoints, pooled: str, repocache_servers: Servers
) -> None:
    """And back: each connection is judged."""
    direct = repocache_endpoints.replicas[0]
    async with (
        TcpProxy(direct) as door,
        watching(repocache_endpoints.primary, [Replica(door.url, name="r")]) as watched,
    ):
        await watched.all_in()
        assert not told(watched, "replica r")
        for place in (pooled, direct):
            door.lead_to(place)
            assert (await watched.read()).value == 0
            await watched.all_in()
            await until(lambda: reads_at(watched, "r"), "it is read")
            assert told(watched, "replica r") == [NOT_AS_ASKED[POOLED]]


async def test_a_pooled_primary_is_written_to_and_read(pooled_primary: str) -> None:
    async with watching(pooled_primary, (), PATIENT) as watched:
        position = await watched.write(1)
        assert (await watched.read(needed(position))).value == 1
        async with watched.topology.snapshot() as connection:
            assert await value_of(connection) == 1
            await watched.write(2)
            assert await value_of(connection) == 1
        assert told(watched, "primary") == [PRIMARY_POOLED]


async def test_a_snapshot_on_a_pooled_replica(repocache_endpoints: Endpoints, pooled: str) -> None:
    async with watching(
        repocache_endpoints.primary, [Replica(pooled, name="pooled")], PATIENT
    ) as watched:
        await watched.all_in()
        for value in (1, 2, 3):
            position = await watched.write(value)
            async with watched.topology.snapshot(needed(position)) as connection:
                assert await value_of(connection) == value
                await watched.write(10)
                assert await value_of(connection) == value


@pytest.fixture(params=[True, False], ids=["positions", "no positions"])
def positions(request: pytest.FixtureRequest, repocache_servers: Servers, database: str) -> bool:
    """Whether they are to be had."""
    if not request.param:
        revoke = "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC"
        repocache_servers.primary.sql(revoke, database)
        repocache_servers.catch_up()
    return bool(request.param)


@pytest.mark.usefixtures("item")
async def test_connections_that_could_write_are_read_in_transactions(
    repocache_endpoints: Endpoints, positions: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("repocache.engines.engine.connect_args", without_read_only)
    replicas = [Replica(repocache_endpoints.replicas[0], name="r")]

    async def setting(connection: AsyncConnection) -> object:
        return (
            await connection.execute(text("SELECT current_setting('transaction_read_only')"))
        ).scalar_one()

    async with watching(repocache_endpoints.primary, replicas, PATIENT) as watched:
        await watched.all_in()
        assert (await watched.topology.read(ANYTHING, setting)).value == "on"
        assert (
            await watched.topology.read(ReadRequirement(primary="asked", asked=True), setting)
        ).value == "on"
        assert told(watched, "replica r") == [NOT_AS_ASKED[WRITABLE]]
        async with watched.topology.write_engine.begin() as connection:
            await connection.execute(text("UPDATE item SET value = 1"))
        assert told(watched, "primary") == [NOT_AS_ASKED[WRITABLE]]
        assert bool(watched.topology.history) == positions


def without_read_only(
    url: URL, settings: TopologySettings, engine: EngineSettings, **_: bool
) -> dict[str, object]:
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


def test_what_a_driver_is_told_for_a_pooler() -> None:
    told: dict[str, object] = {
        "server_settings": {"default_transaction_read_only": "on", "jit": "off"},
        "timeout": 1.0,
    }
    tell(told, "asyncpg")
    assert told == {
        "timeout": 1.0,
        "server_settings": {"jit": "off"},
        "statement_cache_size": 0,
        "prepared_statement_cache_size": 0,
        "prepared_statement_name_func": unnamed,
    }
    told = {"options": "-c jit=off -c default_transaction_read_only=on"}
    tell(told, "psycopg")
    assert told == {"options": "-c jit=off", "prepare_threshold": None}
