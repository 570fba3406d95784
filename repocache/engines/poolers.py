"""Poolers between this library and a server: how one is found out, and how its connections are
used.

A pooler keeps its clients' connections while those to the server come and go. So what was asked at
connect, which life of the server this is and whether it is read-only, holds of the next statement
no more: each read is a transaction that says READ ONLY and asks first where it is. Owns how a new
connection is judged and told; what follows is `replica`'s and `primary`'s.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import asyncpg
from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry

from repocache.engines import lent
from repocache.engines.driver_errors import POOLED, REFUSED_PARAMETER, WRITABLE, Unusable
from repocache.engines.engine_settings import READ_ONLY
from repocache.engines.server import SERVER, SERVER_SQL, Server, read_only

COMMITTED, REPEATABLE = "READ COMMITTED", "REPEATABLE READ"
OWN_ADDRESS = "give the server's own address, past the pooler, to spare that"
IN_TRANSACTIONS = "each read is a transaction of its own there, with up to four round trips for one"
NOT_AS_ASKED = {
    POOLED: f"a pooler answers in its place: {IN_TRANSACTIONS}; {OWN_ADDRESS}",
    WRITABLE: (
        f"{READ_ONLY}=on was asked for at connect and does not hold there: "
        f"{IN_TRANSACTIONS}; {OWN_ADDRESS}"
    ),
}
"""What is told of a node, by the reason."""
PRIMARY_POOLED = (
    "where a commit stands is asked on another connection than that of the commit, and a pooler "
    f"may lead them to different servers during a failover; {NOT_AS_ASKED[POOLED]}"
)


def is_pooled(server: Server, driver: object) -> bool:
    """Whether another process answered than the protocol announced when the driver connected: a
    pooler announces a number of its own. Not known of drivers that do not tell."""
    announced = announced_backend(driver)
    return announced is not None and announced != server.backend


def announced_backend(driver: object) -> int | None:
    """The process id in the server's BackendKeyData; None if the driver does not tell."""
    if isinstance(driver, asyncpg.Connection):
        announced = driver.get_server_pid()
    else:
        announced = getattr(getattr(driver, "info", None), "backend_pid", None)  # psycopg's
    return announced if isinstance(announced, int) else None


def unnamed() -> str:
    """The name of asyncpg's statements behind a pooler: the next one's server has not this
    one's."""
    return ""


def tell(told: dict[str, Any], driver: str) -> None:
    """Change what a driver is told at connect to what a pooler takes, and keeps no statements
    of."""
    if driver == "asyncpg":
        told["server_settings"] = {
            k: v for k, v in (told.get("server_settings") or {}).items() if k != READ_ONLY
        }
        told |= {"statement_cache_size": 0, "prepared_statement_cache_size": 0}
        told["prepared_statement_name_func"] = unnamed
    else:
        told["options"] = told.get("options", "").replace(f"-c {READ_ONLY}=on", "").strip()
        told["prepare_threshold"] = None


class Opened(NamedTuple):
    """A connection for one read. `begun`: it is in a read-only transaction already."""

    connection: AsyncConnection
    begun: bool


class Way:
    """How one node is reached. `reason`: why what is asked for at connect does not hold of the
    statements that follow (POOLED, WRITABLE); empty while it does. Once found out it stays."""

    def __init__(self) -> None:
        self.reason = ""

    def follow(self, engine: AsyncEngine) -> None:
        """Its connections are made as the way demands."""
        event.listen(engine.sync_engine, "do_connect", self._connecting)

    def learn(self, server: Server, driver: object) -> None:
        """A new connection has answered. Raises Unusable for one that was made before a pooler was
        known of: its statements would be looked for where they are not."""
        if is_pooled(server, driver) and self.reason != POOLED:
            self.reason = POOLED
            raise Unusable(POOLED)
        if not server.read_only and not self.reason:
            self.reason = WRITABLE

    def learn_without_positions(self, connection: DBAPIConnection) -> None:
        """The same where the server may not be asked who it is."""
        if not self.reason and not read_only(connection):
            self.reason = WRITABLE

    def refused(self, error: BaseException) -> bool:
        """Whether no connection was had for what it was told, so that the next one may be."""
        if isinstance(error, Unusable):
            return True
        if REFUSED_PARAMETER in str(error) and self.reason != POOLED:
            self.reason = POOLED
            return True
        return False

    async def connect(self, engine: AsyncEngine) -> AsyncConnection:
        """A connection of the engine's. Raises what the driver raises."""
        try:
            return await engine.connect()
        except Exception as error:
            if not self.refused(error):
                raise
        return await engine.connect()

    def _connecting(
        self, dialect: Any, entry: ConnectionPoolEntry, _: Any, told: dict[str, Any]
    ) -> None:
        if self.reason == POOLED:
            tell(told, dialect.driver)
            entry.info[lent.POOLED] = True


async def begin_read(connection: AsyncConnection, level: str, *, positions: bool) -> None:
    """Begin a read-only transaction, and note which server it is on. `positions`: whether it may be
    asked."""
    await connection.execution_options(isolation_level=level, postgresql_readonly=True)
    if positions:
        row = (await connection.exec_driver_sql(SERVER_SQL)).one()
        (await connection.get_raw_connection()).info[SERVER] = Server.of(row)
