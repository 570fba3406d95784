"""A PostgreSQL server under a test's hands: each control does what it says, and is over when it
returns."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest

from repocache.testing import Endpoints, PostgresServer, ServerError, Servers

Connect = Callable[[PostgresServer], Awaitable["asyncpg.Connection[asyncpg.Record]"]]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Connections of the ordinary role, dropped after the test."""
    connections = []

    async def open_connection(server: PostgresServer) -> "asyncpg.Connection[asyncpg.Record]":
        connections.append(await asyncpg.connect(server.url("postgresql"), timeout=10))
        return connections[-1]

    yield open_connection
    for connection in connections:
        connection.terminate()


def number(server: PostgresServer) -> list[tuple[str, ...]]:
    return server.sql("SELECT max(id) FROM number")


@pytest.fixture
def servers(repocache_controls: Servers) -> Servers:
    repocache_controls.primary.sql(
        "DROP TABLE IF EXISTS number; CREATE TABLE number AS SELECT 1 AS id"
    )
    repocache_controls.catch_up()
    return repocache_controls


async def test_a_url_is_an_ordinary_role_s(repocache_servers: Servers, connect: Connect) -> None:
    connection = await connect(repocache_servers.primary)
    assert await connection.fetchval("SELECT current_user") == "app"
    assert await connection.fetchval("SELECT current_setting('is_superuser')") == "off"
    assert (
        await connection.fetchval(
            "SELECT rolcreatedb OR rolreplication FROM pg_roles WHERE rolname = 'app'"
        )
        is False
    )


async def test_the_ordinary_role_may_make_tables_in_its_database(
    repocache_endpoints: Endpoints,
) -> None:
    connection = await asyncpg.connect(repocache_endpoints.primary.replace("+asyncpg", ""))
    try:
        await connection.execute("CREATE TABLE mine (id int)")
    finally:
        await connection.close()


def test_rows_are_text_and_nothing_gets_lost_on_the_way(repocache_servers: Servers) -> None:
    rows = repocache_servers.primary.sql(
        "SELECT 1, 'a,\"b\"', NULL, E'two\\nlines'; SELECT ''; SELECT true WHERE false"
    )
    assert rows == [("1", 'a,"b"', "", "two\nlines"), ("",)]


def test_what_the_server_refuses_is_told(repocache_servers: Servers) -> None:
    with pytest.raises(ServerError, match='relation "nowhere" does not exist'):
        repocache_servers.primary.sql("SELECT * FROM nowhere")


def test_a_database_is_a_copy_of_its_template(repocache_servers: Servers) -> None:
    primary = repocache_servers.primary
    primary.create_database("pattern")
    try:
        primary.sql("CREATE TABLE made_once (id int)", "pattern")
        primary.create_database("copied", "pattern")
        assert primary.sql("SELECT count(*) FROM made_once", "copied") == [("0",)]
    finally:
        primary.drop_database("copied")
        primary.drop_database("pattern")


def test_a_paused_replica_stays_behind_until_it_resumes(servers: Servers) -> None:
    primary, (paused, running) = servers.primary, servers.replicas
    paused.pause_replay()
    primary.sql("INSERT INTO number VALUES (2)")
    running.await_position(primary.position())
    assert (number(paused), number(running)) == ([("1",)], [("2",)])
    with pytest.raises(ServerError, match="in vain"):
        paused.await_position(primary.position(), seconds=0.01)
    paused.resume_replay()
    servers.catch_up()
    assert number(paused) == [("2",)]


async def test_a_crash_cuts_connections_and_loses_no_commit(
    servers: Servers, connect: Connect
) -> None:
    primary = servers.primary
    port, connection = primary.port, await connect(primary)
    primary.sql("INSERT INTO number VALUES (2)")
    primary.kill()
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await connection.execute("SELECT 1")
    with pytest.raises(ServerError, match="does not run"):
        _ = primary.pid
    primary.start()
    assert (primary.port, number(primary)) == (port, [("2",)])


async def test_a_restart_cuts_connections(servers: Servers, connect: Connect) -> None:
    connection = await connect(servers.replicas[0])
    before = servers.replicas[0].pid
    # From a thread that may end before the server does.
    await asyncio.to_thread(servers.replicas[0].restart)
    assert servers.replicas[0].pid != before
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await connection.execute("SELECT 1")


async def test_a_frozen_server_is_silent_and_keeps_its_connections(
    servers: Servers, connect: Connect
) -> None:
    connection = await connect(servers.primary)
    servers.primary.freeze()
    waiting = asyncio.ensure_future(connection.fetchval("SELECT 7"))
    done, _ = await asyncio.wait([waiting], timeout=0.1)
    assert not done
    servers.primary.thaw()
    assert await waiting == 7


def test_a_stopped_server_cannot_be_frozen(servers: Servers) -> None:
    servers.replicas[0].stop()
    with pytest.raises(ServerError, match="replica1 does not run"):
        servers.replicas[0].freeze()


def test_another_replica_follows_the_one_that_is_promoted(servers: Servers) -> None:
    first, second = servers.replicas
    servers.primary.kill()
    first.promote()
    second.follow(first)
    first.sql("INSERT INTO number VALUES (2)")
    second.await_position(first.position())
    assert number(second) == [("2",)]


def test_a_question_that_replay_has_interrupted_is_asked_again(
    repocache_servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the server says of it comes in no order that a test could force."""
    replica = repocache_servers.replicas[0]
    asked, ask = [], type(replica).position
    refusals = iter(["canceling statement due to conflict with recovery", "out of memory"])

    def interrupted(server: PostgresServer) -> int:
        asked.append(server.name)
        if len(asked) % 2:
            raise ServerError(next(refusals))
        return ask(server)

    monkeypatch.setattr(type(replica), "position", interrupted)
    replica.await_position(0)
    assert len(asked) == 2
    with pytest.raises(ServerError, match="out of memory"):
        replica.await_position(0)
