"""A connection that is ended, under a statement or between two, is lost; no row is at fault."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from repocache.engines.driver_errors import (
    connecting_trouble,
    is_of_rows,
    is_undecodable,
    statement_trouble,
)
from repocache.engines.poolers import COMMITTED, begin_read
from repocache.events import NodeOut
from repocache.nodes.selection import ANYTHING, ReadRequirement
from repocache.testing import Endpoints, Servers
from tests.nodes.conftest import Watched, value_of, watching

FATAL = b"SFATAL\0VFATAL\0C08P01\0Mserver conn crashed?\0\0"
FAREWELL = b"E" + (len(FATAL) + 4).to_bytes(4, "big") + FATAL
"""What a pooler says before it hangs up."""
NEEDS = pytest.mark.parametrize(
    "need", [ANYTHING, ReadRequirement(primary="asked", asked=True)], ids=["replica", "primary"]
)


async def ended_under_a_statement(servers: Servers) -> Exception:
    """What asyncpg raises once its connection has no protocol any more."""
    connection = await asyncpg.connect(servers.primary.url().replace("+asyncpg", ""))
    protocol, connection._protocol = connection._protocol, None
    try:
        await connection.fetch("SELECT 1")
    except Exception as error:  # noqa: BLE001  # that is the question
        return error
    finally:
        connection._protocol = protocol
        await connection.close()
    raise AssertionError


async def take_leave(connection: AsyncConnection) -> None:
    """The server says that it ends, while nothing is asked, and asyncpg has not seen yet that it
    hung up."""
    driver: Any = (await connection.get_raw_connection()).driver_connection
    driver._protocol.data_received(FAREWELL)


async def ended_in_a_transaction(connection: AsyncConnection) -> int:
    """After the rows. As behind a pooler, the read is one."""
    await begin_read(connection, COMMITTED, positions=False)
    return await ended_after_the_rows(connection)


async def ended_after_the_rows(connection: AsyncConnection) -> int:
    value = await value_of(connection)
    await take_leave(connection)
    return value


class EndedBeforeTheRows:
    """The first connection alone."""

    ended = False

    async def __call__(self, connection: AsyncConnection) -> int:
        if not self.ended:
            self.ended = True
            await connection.execute(text("SELECT 1"))
            await take_leave(connection)
        return await value_of(connection)


async def test_a_connection_that_is_ended_under_a_statement_is_lost(
    repocache_servers: Servers,
) -> None:
    error = await ended_under_a_statement(repocache_servers)
    assert isinstance(error, AttributeError)
    assert statement_trouble(error, replica=True) == "lost"
    assert connecting_trouble(error) == "lost"
    assert not is_undecodable(error)
    assert not is_of_rows(error)


def test_a_connection_that_is_in_no_state_to_be_asked_is_lost() -> None:
    error = asyncpg.InternalClientError(
        "cannot switch to state 12; another operation (2) is in progress"
    )
    adapted = Exception(f"{error}")  # SQLAlchemy's adapter of the driver raises its own from it
    adapted.__cause__ = error
    for each in (error, DBAPIError("SELECT 1", None, adapted)):
        assert statement_trouble(each, replica=True) == "lost"
        assert connecting_trouble(each) == "lost"
        assert not is_of_rows(each)


def test_what_a_type_looks_for_in_vain_is_the_rows() -> None:
    with pytest.raises(AttributeError) as raised:
        None.decode  # type: ignore[attr-defined]  # noqa: B018
    assert is_undecodable(raised.value)
    assert statement_trouble(raised.value, replica=True) == ""


@pytest_asyncio.fixture
async def watched(repocache_endpoints: Endpoints, item: None) -> AsyncIterator[Watched]:
    async with watching(repocache_endpoints.primary, repocache_endpoints.replicas[:1]) as each:
        await each.all_in()
        yield each


@NEEDS
async def test_what_was_read_is_told_though_the_connection_cannot_be_given_back(
    watched: Watched, need: ReadRequirement
) -> None:
    assert (await watched.topology.read(need, ended_in_a_transaction)).value == 0
    assert {event.why for event in watched.seen(NodeOut)} == (set() if need.asked else {"lost"})
    await watched.all_in()
    assert (await watched.read(need)).value == 0
    gc.collect()  # a connection that nobody has given back says so: warnings are errors


@NEEDS
async def test_a_read_goes_on_elsewhere_if_its_connection_has_ended(
    watched: Watched, need: ReadRequirement
) -> None:
    assert (await watched.topology.read(need, EndedBeforeTheRows())).value == 0


@pytest.mark.parametrize("begun", [False, True])
async def test_who_uses_a_connection_that_was_hung_up_on_is_told_in_sqlalchemys_words(
    watched: Watched, begun: bool
) -> None:
    """A silent server is hung up on, whoever uses the connection at the moment."""
    async with watched.topology.write_engine.connect() as connection:
        if begun:
            await connection.execute(text("SELECT 1"))
        driver: Any = (await connection.get_raw_connection()).driver_connection
        driver.terminate()
        with pytest.raises(DBAPIError) as raised:
            await connection.execute(text("SELECT 1"))
        assert raised.value.connection_invalidated
        assert statement_trouble(raised.value, replica=False) == "lost"


async def test_a_snapshot_is_left_though_its_connection_cannot_be_given_back(
    watched: Watched,
) -> None:
    async with watched.topology.snapshot(ANYTHING, lambda _: None) as connection:
        assert await ended_after_the_rows(connection) == 0
    assert [event.why for event in watched.seen(NodeOut)] == ["lost"]
