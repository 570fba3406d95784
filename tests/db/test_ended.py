"""A connection that is ended under a statement is lost; no row is at fault."""

from __future__ import annotations

import asyncpg
import pytest

from repocache.db.trouble import connecting_trouble, is_of_rows, is_undecodable, statement_trouble
from repocache.testing import Servers


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


async def test_a_connection_that_is_ended_under_a_statement_is_lost(repocache_servers: Servers) -> None:
    error = await ended_under_a_statement(repocache_servers)
    assert isinstance(error, AttributeError)
    assert statement_trouble(error, replica=True) == "lost"
    assert connecting_trouble(error) == "lost"
    assert not is_undecodable(error)
    assert not is_of_rows(error)


def test_what_a_type_looks_for_in_vain_is_the_rows() -> None:
    with pytest.raises(AttributeError) as raised:
        None.decode  # type: ignore[attr-defined]  # noqa: B018
    assert is_undecodable(raised.value)
    assert statement_trouble(raised.value, replica=True) == ""
