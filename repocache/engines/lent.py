"""Connections for reads that were lent to the application: what it set there is gone before anybody
else reads by them.

What a read shows, and a cache then keeps for everybody, depends on the database alone, never on
what somebody has left on a pooled connection: a search path, a role, a temporary table, a default
of its transactions. Owns the mark, and what is done when such a connection comes back. Whose
statements are run is the callers'.
"""

from __future__ import annotations

from typing import Any

import asyncpg
from sqlalchemy import Engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.pool import ConnectionPoolEntry, PoolResetState

LENT = "repocache.lent"
"""In a pool entry's `info`: something of the application's may be left on the connection."""
SET_UP = "repocache.set_up"
"""In a pool entry's `info`, whether its maker has set more than a connection asks for at connect: a
reset would not bring that back, only a new connection does."""
POOLED = "repocache.pooled"
"""In a pool entry's `info`: a pooler answers. Its reads are transactions, which are rolled back
with all that was set in them; what else would be reset may be another client's."""

# Settings first, in a transaction of their own: they may hinder what follows, as an isolation level
# does that a standby has not. The role after the user: with the user it is set to none.
RESET_SQL = (
    "BEGIN; RESET ALL; COMMIT; RESET SESSION AUTHORIZATION; RESET ROLE; CLOSE ALL; UNLISTEN *; "
    "DISCARD TEMP; SELECT pg_catalog.pg_advisory_unlock_all()"
)
# asyncpg turns `jit` off and on again when it learns of a type: it changes no rows.
SET_UP_SQL = """
SELECT pg_catalog.current_setting('role') <> 'none'
    OR EXISTS (SELECT FROM pg_catalog.pg_settings
        WHERE source = 'session' AND name <> 'jit' AND name NOT LIKE 'transaction%')
    OR EXISTS (SELECT FROM pg_catalog.pg_stat_activity
        WHERE pid = pg_catalog.pg_backend_pid() AND usename <> session_user)
"""


async def lend(connection: AsyncConnection) -> None:
    """Before statements of the application's that may leave something. It costs a round trip when
    the connection comes back, and one more the first time."""
    raw = await connection.get_raw_connection()
    if POOLED in raw.info:
        return
    if SET_UP not in raw.info:
        raw.info[SET_UP] = connection.dialect.name != "postgresql" or await _is_set_up(connection)
    raw.info[LENT] = True


async def _is_set_up(connection: AsyncConnection) -> bool:
    begun = connection.in_transaction()
    answer = bool((await connection.exec_driver_sql(SET_UP_SQL)).scalar_one())
    if not begun:
        # SQLAlchemy's alone, where each statement is its own transaction.
        await connection.rollback()
    return answer


def take_back(engine: Engine) -> None:
    """Reset the engine's connections that were lent as they come back; those that were not reset,
    whatever the reason, give way to new ones."""
    event.listen(engine, "reset", _reset)
    event.listen(engine, "checkout", _refuse)


def _reset(connection: DBAPIConnection, entry: ConnectionPoolEntry, state: PoolResetState) -> None:
    """Those of asyncpg, in one round trip. If it fails the connection is ended, as by a rollback
    that fails."""
    driver = entry.driver_connection
    if LENT not in entry.info or entry.info[SET_UP] or not state.asyncio_safe:
        return
    if not isinstance(driver, asyncpg.Connection) or driver.is_closed():
        return
    connection.rollback()
    adapted: Any = connection
    adapted.run_async(
        lambda _: driver.execute(
            f"ROLLBACK; {RESET_SQL}" if driver.is_in_transaction() else RESET_SQL
        )
    )
    del entry.info[LENT]


def _refuse(_: DBAPIConnection, entry: ConnectionPoolEntry, __: object) -> None:
    if LENT in entry.info:
        raise DisconnectionError("the connection has been lent, and could not be reset")
