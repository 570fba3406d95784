"""One engine for one node and purpose: what each driver is told, and what is known of each connection's
server.

Owns how connections are made. When a server is no longer believed, and what follows, is `primary`'s and
`node`'s.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Self

import asyncpg
from sqlalchemy import URL, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import InvalidRequestError, NoSuchModuleError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from repocache.db.arguments import connect_args
from repocache.db.database_url import without_options, without_secrets
from repocache.db.engine_settings import EngineSettings
from repocache.db.lent import take_back
from repocache.db.pool import NodePool, refuse_ended
from repocache.db.positions import Process, System
from repocache.db.settings import TopologySettings
from repocache.errors import ConfigurationError

SERVER = "repocache.server"
PLAIN = EngineSettings()
FAREWELL = 0.5
"""Seconds that a server is given to close its connections, however little time is left."""
SERVER_SQL = """
SELECT s.system_identifier::text, d.oid::bigint,
       (extract(epoch FROM pg_catalog.pg_postmaster_start_time()) * 1000000.0)::bigint,
       coalesce((extract(epoch FROM pg_catalog.pg_stat_get_bgwriter_stat_reset_time()) * 1000000.0)::bigint, 0),
       pg_catalog.pg_is_in_recovery(),
       coalesce(pg_catalog.host(pg_catalog.inet_server_addr()) || ' ' ||
           CAST(pg_catalog.inet_server_port() AS text), ''),
       pg_catalog.pg_backend_pid(), pg_catalog.current_setting('default_transaction_read_only'),
       CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN
           ('x' || pg_catalog.substr(
               pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int
       END
FROM pg_catalog.pg_control_system() s, pg_catalog.pg_database d
WHERE d.datname = pg_catalog.current_database()
"""
READ_ONLY_SQL = "SELECT pg_catalog.current_setting('default_transaction_read_only')"


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
        cluster, database, started, recovered, in_recovery, address, backend, read_only, writes = row
        system, process = System(cluster, database), Process(started, recovered)
        return cls(system, process, in_recovery, address, backend, read_only == "on", writes or 0)


class Purpose(enum.Enum):
    """What an engine is for."""

    WRITE = "transactions that may write"
    READ = "single statements and snapshots, read-only"
    PROBE = "one connection of the sampler"
    OUTBOX = "the outbox's own transactions"


def make_engine(url: URL, purpose: Purpose, settings: TopologySettings, given: EngineSettings = PLAIN) -> AsyncEngine:
    """An engine whose connections suit the purpose. Raises ConfigurationError for a driver that is not async."""
    read_only = purpose in (Purpose.READ, Purpose.PROBE)
    options: dict[str, Any] = {"connect_args": connect_args(url, settings, given, read_only=read_only)}
    # Errors of a statement end in logs, and its parameters are rows.
    options |= {"echo": given.echo, "hide_parameters": not given.echo}
    if purpose is Purpose.PROBE:
        options["poolclass"] = NullPool
    else:
        options |= {"poolclass": NodePool, "pool_size": _pool_size(purpose, settings, given), "max_overflow": 0}
        options |= {"pool_timeout": settings.pool_wait, "pool_use_lifo": True}
        options["pool_recycle"] = -1 if given.pool_recycle is None else given.pool_recycle
    for name in ("json_serializer", "json_deserializer"):
        if (function := getattr(given, name)) is not None:
            options[name] = function
    if read_only:
        options["isolation_level"] = "AUTOCOMMIT"
    try:
        engine = create_async_engine(without_options(url), **options)
    except (InvalidRequestError, NoSuchModuleError, ModuleNotFoundError) as error:
        raise ConfigurationError(
            f"{without_secrets(url)}: no async driver ({error}); PostgreSQL is "
            "postgresql+asyncpg://, SQLite sqlite+aiosqlite://"
        ) from error
    event.listen(engine.sync_engine, "checkout", refuse_ended)
    if purpose is Purpose.READ:
        take_back(engine.sync_engine)
    if read_only and url.get_backend_name() == "sqlite":
        event.listen(engine.sync_engine, "connect", _forbid_sqlite_writes)
    return engine


def _pool_size(purpose: Purpose, settings: TopologySettings, given: EngineSettings) -> int:
    wanted = given.write_pool_size if purpose is Purpose.WRITE else None
    return settings.pool_size if wanted is None else wanted


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


def on_connect(engine: AsyncEngine, heard: Callable[[DBAPIConnection, ConnectionPoolEntry], None]) -> None:
    """Call `heard` with each new connection. If it raises, the connection is closed and its maker gets the error."""

    def connected(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
        try:
            heard(connection, entry)
        except BaseException:
            connection.close()
            raise

    event.listen(engine.sync_engine, "connect", connected)


def on_lost(engine: AsyncEngine, heard: Callable[[], None]) -> None:
    """Call `heard` when a connection is found broken."""

    def invalidated(*_: object) -> None:
        heard()

    event.listen(engine.sync_engine, "invalidate", invalidated)


class InUse:
    """The connections of one engine that are checked out, and those that lie in its pool: who can
    be hung up on."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._used: set[ConnectionPoolEntry] = set()
        self._idle: set[ConnectionPoolEntry] = set()
        event.listen(engine.sync_engine, "checkout", self._checked_out)
        event.listen(engine.sync_engine, "checkin", self._checked_in)

    def hang_up(self, *, idle: bool = False) -> None:
        """A silent server keeps its callers waiting for as long as TCP does: let them fail. `idle`:
        those in the pool too."""
        for entry in tuple(self._used | self._idle if idle else self._used):
            driver = entry.driver_connection
            if isinstance(driver, asyncpg.Connection):
                driver.terminate()

    def _checked_out(self, _: DBAPIConnection, entry: ConnectionPoolEntry, __: object) -> None:
        self._idle.discard(entry)
        self._used.add(entry)

    def _checked_in(self, _: DBAPIConnection | None, entry: ConnectionPoolEntry) -> None:
        self._used.discard(entry)
        if entry.driver_connection is not None:
            self._idle.add(entry)


async def close_engine(engine: AsyncEngine, in_use: InUse, grace: float) -> None:
    """Close its connections, those in use as soon as they come back: nobody would, in a pool that
    was disposed of. A server that lets a farewell wait for more than `grace` seconds is hung up
    on."""
    pool = engine.sync_engine.pool

    def came_back(_: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
        entry.close()

    if grace <= 0:
        in_use.hang_up(idle=True)
    try:
        async with asyncio.timeout(max(grace, FAREWELL)):
            await engine.dispose()
    except TimeoutError:
        in_use.hang_up(idle=True)
        await engine.dispose(close=False)  # another pool, which the first one's end was too late for
    event.listen(pool, "checkin", came_back)


def _forbid_sqlite_writes(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA query_only = ON")
    cursor.close()
