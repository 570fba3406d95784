"""Which server is at the other end of a connection, and in which of its lives.

Owns what is asked of it. When a server is no longer believed, and what follows, is the nodes'.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

from sqlalchemy.engine.interfaces import DBAPIConnection

SERVER = "repocache.server"
"""In a pool entry's `info`: its `Server`."""
SERVER_SQL = """
SELECT s.system_identifier::text, d.oid::bigint,
       (extract(epoch FROM pg_catalog.pg_postmaster_start_time()) * 1000000.0)::bigint,
       coalesce((extract(epoch FROM pg_catalog.pg_stat_get_bgwriter_stat_reset_time()) *
           1000000.0)::bigint, 0),
       pg_catalog.pg_is_in_recovery(),
       coalesce(pg_catalog.host(pg_catalog.inet_server_addr()) || ' ' ||
           CAST(pg_catalog.inet_server_port() AS text), ''),
       pg_catalog.pg_backend_pid(), pg_catalog.current_setting('default_transaction_read_only'),
       CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN
           ('x' || pg_catalog.substr(
               pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1,
                   8))::bit(32)::int
       END
FROM pg_catalog.pg_control_system() s, pg_catalog.pg_database d
WHERE d.datname = pg_catalog.current_database()
"""
READ_ONLY_SQL = "SELECT pg_catalog.current_setting('default_transaction_read_only')"


class System(NamedTuple):
    """What physical replicas have in common: the cluster's identifier, and the database's in it."""

    cluster: str
    database: int


class Process(NamedTuple):
    """One life of a server: while it lasts, what a replica has replayed never goes back. In the
    units of `nodes.wal.PrimaryIdentity`."""

    started: int
    recovered: int


class Server(NamedTuple):
    """The server at the other end of a connection. `address`: as it sees itself, empty for a local
    socket. `backend`: the process that answered, `read_only`: whether transactions are, unless they
    say otherwise. `timeline`: that it writes, 0 if it is in recovery."""

    system: System
    process: Process
    in_recovery: bool
    address: str
    backend: int = 0
    read_only: bool = True
    timeline: int = 0

    @classmethod
    def of(cls, row: Sequence[Any]) -> Self:
        """The server in a row of SERVER_SQL."""
        cluster, database, started, recovered, in_recovery, address, backend, read_only, writes = (
            row
        )
        system, process = System(cluster, database), Process(started, recovered)
        return cls(system, process, in_recovery, address, backend, read_only == "on", writes or 0)


def read_server(connection: DBAPIConnection) -> Server:
    """Ask a fresh PostgreSQL connection which server process it reached."""
    return Server.of(_row(connection, SERVER_SQL))


def read_only(connection: DBAPIConnection) -> bool:
    """Ask a fresh PostgreSQL connection the same as `Server.read_only`, where more may not be
    asked."""
    return bool(_row(connection, READ_ONLY_SQL)[0] == "on")


def _row(connection: DBAPIConnection, sql: str) -> Sequence[Any]:
    cursor = connection.cursor()
    try:
        cursor.execute(sql)
        row: Sequence[Any] | None = cursor.fetchone()
    finally:
        cursor.close()
        connection.rollback()
    assert row is not None
    return row
