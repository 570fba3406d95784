"""Poolers between this library and a server: how one is found out, and what is told of it.

A pooler keeps its clients' connections while those to the server come and go. So what was asked at
connect, which life of the server this is and whether it is read-only, holds of the next statement
no more. Owns how a new connection is judged; what follows is `node`'s and `primary`'s.
"""

from __future__ import annotations

import asyncpg
from sqlalchemy.engine.interfaces import DBAPIConnection

from repocache.db.engines import Server, read_only
from repocache.db.trouble import POOLED, WRITABLE, Unusable

NOT_READ_ONLY = (
    "default_transaction_read_only=on was asked for at connect and does not hold there, as behind "
    "a pooler that drops it (ignore_startup_parameters)"
)
OWN_ADDRESS = "give the server's own address, past the pooler"
REPLICA_UNUSED = {
    POOLED: (
        "nothing is read from it: a pooler answers in its place, and keeps connections while the "
        f"server behind them begins another life, so that positions say nothing; {OWN_ADDRESS}"
    ),
    WRITABLE: f"nothing is read from it: {NOT_READ_ONLY}; {OWN_ADDRESS}",
}
"""By the reason why a replica is out."""
PRIMARY_POOLED = (
    "a pooler answers in the primary's place: where a commit stands is asked on another connection "
    f"than that of the commit, and the pooler may lead them to different servers; {OWN_ADDRESS}"
)
PRIMARY_WRITABLE = f"the primary is not read from: {NOT_READ_ONLY}; {OWN_ADDRESS}"


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


def require_direct(server: Server, driver: object) -> None:
    """Raises Unusable for a connection that no replica may be read on."""
    if is_pooled(server, driver):
        raise Unusable(POOLED)
    if not server.read_only:
        raise Unusable(WRITABLE)


def require_read_only(connection: DBAPIConnection) -> None:
    """The same where positions are not to be had, so that they cannot be wrong. Raises Unusable."""
    if not read_only(connection):
        raise Unusable(WRITABLE)
