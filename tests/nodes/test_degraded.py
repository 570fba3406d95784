"""Less than everything: databases without positions work from the same constructor, and say what is
lost."""

import time
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from repocache.bookmark import Bookmark
from repocache.engines.topology_settings import Replica
from repocache.events import Degraded, NodeOut
from repocache.nodes.selection import ReadRequirement
from repocache.routing.routing import Routing, Stickiness
from repocache.testing import Endpoints, Servers
from tests.nodes.conftest import Watched, value_of, watching


async def make_item(watched: Watched) -> None:
    async with watched.topology.write_engine.begin() as connection:
        await connection.execute(text("CREATE TABLE item (id int PRIMARY KEY, value int)"))
        await connection.execute(text("INSERT INTO item VALUES (1, 0)"))


def lost(watched: Watched) -> set[str]:
    return {event.what for event in watched.seen(Degraded)}


async def test_sqlite(tmp_path: Path) -> None:
    async with watching(f"sqlite+aiosqlite:///{tmp_path}/data", ()) as watched:
        await make_item(watched)
        assert lost(watched) == {"positions", "replicas"}
        assert (watched.topology.history, await watched.topology.position()) == ("", None)
        assert (await watched.read()).value == 0

        async def mistake(connection: AsyncConnection) -> None:
            await connection.execute(text("UPDATE item SET value = 13"))

        with pytest.raises(DBAPIError, match="readonly"):
            await watched.topology.read(ReadRequirement(), mistake)
        async with watched.topology.snapshot() as connection:
            assert await value_of(connection) == 0
        assert (await watched.read()).value == 0


async def test_replicas_without_positions_are_used_and_watched(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/data"
    async with watching(url, [Replica(url, name="copy")]) as watched:
        await make_item(watched)
        read = await watched.read()
        assert (read.value, read.node, read.at_least) == (0, "copy", 0)
        assert (await watched.read(ReadRequirement(max_lag=1e9))).node == "primary", (
            "nobody knows its lag"
        )


@pytest.mark.usefixtures("item")
@pytest.mark.parametrize("function", ["pg_current_wal_flush_lsn", "pg_control_system"])
async def test_a_postgresql_that_keeps_its_positions_to_itself(
    repocache_endpoints: Endpoints, repocache_servers: Servers, database: str, function: str
) -> None:
    repocache_servers.primary.sql(f"REVOKE EXECUTE ON FUNCTION {function}() FROM PUBLIC", database)
    repocache_servers.catch_up()
    async with watching(repocache_endpoints.primary, repocache_endpoints.replicas) as watched:
        assert lost(watched) == {"positions"}
        assert not watched.seen(NodeOut)
        assert (watched.topology.history, await watched.topology.position()) == ("", None)
        assert (await watched.read()).node != "primary"
        routing = Routing(watched.topology, Stickiness(window=60.0))
        async with routing.causal_session() as session:
            assert routing.need(0) == ReadRequirement(client=session)
            assert routing.need(None).primary == "floor unknown", "only the primary fills"
            session.advance(Bookmark("", None, {}, covered=True, expires=time.time() + 60.0))
            assert (await watched.read(routing.need(0))).node == "primary"
            session.advance(Bookmark("", None, {}, covered=True, expires=time.time() + 60.0))
        async with routing.causal_session(
            Bookmark("", None, {}, covered=True, expires=time.time() - 1.0)
        ):
            assert (await watched.read(routing.need(0))).node != "primary", "the window has passed"
