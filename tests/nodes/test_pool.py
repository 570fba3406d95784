"""Connections that the server ended, servers that are full, pools that are used up: who waits, and
who is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from urllib.parse import urlsplit, urlunsplit

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from repocache.engines.topology_settings import TopologySettings
from repocache.errors import DatabaseUnavailable, PoolExhausted
from repocache.events import NodeBack, NodeOut
from repocache.nodes.selection import ReadRequirement
from repocache.testing import Endpoints, PostgresServer, Servers
from tests.nodes.conftest import Watched, until, value_of, watching

pytestmark = pytest.mark.usefixtures("item")
ASKED = ReadRequirement(primary="asked", asked=True)
LIMIT = 9
"""Connections that the role may have on each server: the sampler's, and some."""


def hang_up_all(server: PostgresServer, database: str) -> None:
    """As an idle timeout does, and a restart."""
    server.sql(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        f" WHERE datname = '{database}' AND pid <> pg_backend_pid() AND backend_type = 'client "
        "backend'",
        "postgres",
    )


async def filled(watched: Watched, connections: int) -> None:
    """So many connections lie in each pool of the primary."""
    for engine in (watched.topology.write_engine, watched.topology._primary.engine):
        together = asyncio.Barrier(connections)

        async def use(engine: AsyncEngine = engine, together: asyncio.Barrier = together) -> None:
            async with engine.connect() as connection:
                await connection.execute(text("SELECT 1"))
                await together.wait()

        await asyncio.gather(*(use() for _ in range(connections)))


@pytest.mark.parametrize("noticed", [True, False], ids=["noticed", "not noticed yet"])
async def test_the_next_transaction_after_a_lost_connection_does_not_fail(
    noticed: bool, repocache_endpoints: Endpoints, repocache_servers: Servers, database: str
) -> None:
    """Also where the loop has had no time to hear of it."""
    async with watching(repocache_endpoints.primary, ()) as watched:
        for value in range(1, 4):
            await filled(watched, 3)
            hang_up_all(repocache_servers.primary, database)
            if noticed:
                await asyncio.sleep(0.05)
            async with watched.topology.write_engine.begin() as connection:
                await connection.execute(text("UPDATE item SET value = :value"), {"value": value})
            async with watched.topology.snapshot(ASKED) as connection:
                assert await value_of(connection) == value
            assert (await watched.topology.read(ASKED, value_of)).value == value


async def test_all_at_once_after_a_lost_pool(
    repocache_endpoints: Endpoints, repocache_servers: Servers, database: str
) -> None:
    async with watching(repocache_endpoints.primary, ()) as watched:
        await filled(watched, 8)
        hang_up_all(repocache_servers.primary, database)

        async def add() -> None:
            async with watched.topology.write_engine.begin() as connection:
                await connection.execute(text("UPDATE item SET value = value + 1"))

        await asyncio.gather(*(add() for _ in range(20)))
        assert (await watched.topology.read(ASKED, value_of)).value == 20


async def test_a_replica_whose_connections_were_ended_answers_and_stays(
    repocache_endpoints: Endpoints, repocache_servers: Servers, database: str
) -> None:
    settings = TopologySettings(sample_every=600.0, max_lag=6000.0, catch_up_wait=10.0)
    replica = repocache_servers.replicas[0]
    async with watching(
        repocache_endpoints.primary, repocache_endpoints.replicas[:1], settings
    ) as watched:
        for _ in range(3):
            together = asyncio.Barrier(4)

            async def waits(connection: object, together: asyncio.Barrier = together) -> None:
                await together.wait()

            await asyncio.gather(
                *(watched.topology.read(ReadRequirement(), waits) for _ in range(4))
            )
            hang_up_all(replica, database)
            reads = await asyncio.gather(*(watched.read() for _ in range(8)))
            assert {read.node for read in reads} == {f"{replica.host}:{replica.port}"}
            async with watched.topology.snapshot() as connection:
                assert await value_of(connection) == 0
        assert not watched.seen(NodeOut)


def of_role(url: str, role: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{role}:secret@{parts.netloc.rpartition('@')[2]}"))


@pytest.fixture
def limited(
    repocache_endpoints: Endpoints, repocache_servers: Servers, database: str
) -> Iterator[Endpoints]:
    """A role that may have few connections."""
    role, primary = f"few_{database[-8:]}", repocache_servers.primary
    primary.sql(
        f"CREATE ROLE {role} LOGIN PASSWORD 'secret' CONNECTION LIMIT {LIMIT} IN ROLE app", database
    )
    repocache_servers.catch_up()
    try:
        yield Endpoints(
            of_role(repocache_endpoints.primary, role),
            tuple(of_role(url, role) for url in repocache_endpoints.replicas),
            repocache_endpoints.redis,
        )
    finally:
        primary.sql(
            (
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = "
                f"'{role}'"
            ),
            "postgres",
        )
        primary.sql(f"DROP ROLE {role}", database)


async def slow_value(connection: object) -> int:
    value = await value_of(connection)  # type: ignore[arg-type]
    await connection.execute(text("SELECT pg_sleep(0.02)"))  # type: ignore[attr-defined]
    return value


async def test_a_role_that_has_no_more_connections_waits_for_one_of_its_own(
    limited: Endpoints,
) -> None:
    """And a replica that is full is well."""
    settings = TopologySettings(
        sample_every=0.02, max_lag=5.0, pool_size=30, pool_wait=30.0, catch_up_wait=30.0
    )
    async with watching(limited.primary, limited.replicas[:1], settings) as watched:
        await watched.all_in()
        reads = await asyncio.gather(
            *(watched.topology.read(ReadRequirement(fallback=False), slow_value) for _ in range(60))
        )
        assert {read.value for read in reads} == {0}
        assert {read.node for read in reads} == {node.name for node in watched.topology.nodes[1:]}
        reads = await asyncio.gather(*(watched.topology.read(ASKED, slow_value) for _ in range(60)))
        assert {read.value for read in reads} == {0}
        assert not watched.seen(NodeOut)


async def test_one_who_has_no_connection_at_all_waits_until_the_server_has_room(
    limited: Endpoints,
) -> None:
    """All of the role's are another pool's: none would ever come back to it."""
    settings = TopologySettings(sample_every=0.02, max_lag=5.0, pool_size=30, pool_wait=30.0)
    async with (
        watching(limited.primary, (), settings) as watched,
        watching(limited.primary, ()) as other,
    ):
        async with holding(other, LIMIT - 2):
            writing = asyncio.create_task(watched.write(5))
            await asyncio.sleep(0.1)
            assert not writing.done()
        await other.topology._primary.engine.dispose()
        await writing
        assert (await watched.topology.read(ASKED, value_of)).value == 5


@asynccontextmanager
async def holding(watched: Watched, connections: int) -> AsyncIterator[None]:
    """So many connections are in use."""
    engine = watched.topology._primary.engine
    held = [await engine.connect() for _ in range(connections)]
    try:
        yield
    finally:
        for connection in held:
            await connection.close()


@contextmanager
def refused(why: str) -> Iterator[None]:
    with pytest.raises(PoolExhausted, match=why) as raised:
        yield
    assert isinstance(raised.value, DatabaseUnavailable)


async def test_who_waits_in_vain_is_told(
    limited: Endpoints, repocache_endpoints: Endpoints
) -> None:
    settings = TopologySettings(
        sample_every=0.02, max_lag=5.0, pool_size=1, pool_wait=0.1, primary_reads=2
    )
    async with watching(repocache_endpoints.primary, (), settings) as watched:
        async with watched.topology.write_engine.connect():
            with refused(
                r"all 1 connections .* are in use, .* within 0.1 s: raise "
                r"TopologySettings\(pool_size="
            ):
                await watched.write(1)
        async with holding(watched, 2):
            with pytest.raises(DatabaseUnavailable, match="the primary is busy"):
                await watched.topology.read(ASKED, value_of)
        await watched.write(2)
    async with (
        watching(limited.primary, (), settings) as watched,
        watching(limited.primary, ()) as other,
        holding(other, LIMIT - 2),
    ):
        with refused("the server takes no more connections .*too many connections for role"):
            await watched.write(3)


async def test_a_sampler_without_a_connection_is_no_lost_node(
    limited: Endpoints, repocache_servers: Servers
) -> None:
    """How far the replica is cannot be asked: it is out, and the reason is said."""
    role = urlsplit(limited.primary).username

    async def limit(connections: int) -> None:
        await asyncio.to_thread(
            repocache_servers.primary.sql, f"ALTER ROLE {role} CONNECTION LIMIT {connections}"
        )
        await asyncio.to_thread(repocache_servers.catch_up)

    async with watching(limited.primary, limited.replicas[:1]) as watched:
        await watched.all_in()
        node = watched.topology._replicas[0]
        async with node.engine.connect():
            await limit(1)
            await node.probe.drop()
            node.poll.nudge()
            await until(lambda: watched.out(node.name) == "busy", "it is out")
            await limit(-1)
            await watched.all_in()
        assert watched.seen(NodeOut) == [NodeOut(node.name, "busy")]
        assert watched.seen(NodeBack)[-1] == NodeBack(node.name)
