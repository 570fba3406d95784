"""One engine for one node and purpose: what each driver is told, and what is known of each
connection's server.

Owns how connections are made. When a server is no longer believed, and what follows, is `primary`'s
and `replica`'s.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable
from typing import Any

import asyncpg
from sqlalchemy import URL, event
from sqlalchemy.engine.interfaces import DBAPIConnection, ExceptionContext
from sqlalchemy.exc import (
    ArgumentError,
    InvalidRequestError,
    NoSuchModuleError,
    OperationalError,
    StatementError,
)
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from repocache.engines.connect_args import connect_args
from repocache.engines.database_url import without_options, without_secrets
from repocache.engines.driver_errors import was_ended
from repocache.engines.engine_settings import EngineSettings
from repocache.engines.lent import take_back
from repocache.engines.pool import NodePool, refuse_ended
from repocache.engines.topology_settings import TopologySettings
from repocache.errors import ConfigurationError

PLAIN = EngineSettings()
FAREWELL = 0.5
"""Seconds that a server is given to close its connections, however little time is left."""


class Purpose(enum.Enum):
    """What an engine is for."""

    WRITE = "transactions that may write"
    READ = "single statements and snapshots, read-only"
    PROBE = "one connection of the sampler"
    OUTBOX = "the outbox's own transactions"


def make_engine(
    url: URL, purpose: Purpose, settings: TopologySettings, given: EngineSettings = PLAIN
) -> AsyncEngine:
    """An engine whose connections suit the purpose. Raises ConfigurationError for a driver that is
    not async."""
    read_only = purpose in (Purpose.READ, Purpose.PROBE)
    options: dict[str, Any] = {
        "connect_args": connect_args(url, settings, given, read_only=read_only)
    }
    # Errors of a statement end in logs, and its parameters are rows.
    options |= {"echo": given.echo, "hide_parameters": not given.echo}
    if purpose is Purpose.PROBE:
        options["poolclass"] = NullPool
    else:
        options |= {
            "poolclass": NodePool,
            "pool_size": _pool_size(purpose, settings, given),
            "max_overflow": 0,
        }
        options |= {"pool_timeout": settings.pool_wait, "pool_use_lifo": True}
        options["pool_recycle"] = -1 if given.pool_recycle is None else given.pool_recycle
    for name in ("json_serializer", "json_deserializer"):
        if (function := getattr(given, name)) is not None:
            options[name] = function
    if read_only:
        options["isolation_level"] = "AUTOCOMMIT"
    try:
        engine = create_async_engine(without_options(url), **options)
    except (ArgumentError, InvalidRequestError, NoSuchModuleError, ModuleNotFoundError) as error:
        # A driver that is not async refuses the pool, with an ArgumentError.
        why = "" if isinstance(error, ArgumentError) else f" ({error})"
        raise ConfigurationError(
            f"{without_secrets(url)}: no async driver{why}; PostgreSQL is postgresql+asyncpg://, "
            "SQLite sqlite+aiosqlite:// (pip install 'sqlalchemy-repocache[sqlite]')"
        ) from error
    event.listen(engine.sync_engine, "checkout", refuse_ended)
    event.listen(engine.sync_engine, "handle_error", _ended)
    if purpose is Purpose.READ:
        take_back(engine.sync_engine)
    if read_only and url.get_backend_name() == "sqlite":
        event.listen(engine.sync_engine, "connect", _forbid_sqlite_writes)
    return engine


def _ended(context: ExceptionContext) -> BaseException | None:
    """A connection was ended under a transaction of somebody's, who is told so in SQLAlchemy's
    words: asyncpg's own are an AttributeError."""
    error = context.original_exception
    if isinstance(error, StatementError) or not was_ended(error):
        return None
    context.is_disconnect = True
    why = ConnectionResetError("the connection was ended under the statement")
    return OperationalError(
        context.statement, None, why, hide_parameters=True, connection_invalidated=True
    )


def _pool_size(purpose: Purpose, settings: TopologySettings, given: EngineSettings) -> int:
    wanted = given.write_pool_size if purpose is Purpose.WRITE else None
    return settings.pool_size if wanted is None else wanted


def on_connect(
    engine: AsyncEngine, heard: Callable[[DBAPIConnection, ConnectionPoolEntry], None]
) -> None:
    """Call `heard` with each new connection. If it raises, the connection is closed and its maker
    gets the error."""

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
        # Another pool, which the first one's end was too late for.
        await engine.dispose(close=False)
    event.listen(pool, "checkin", came_back)


def _forbid_sqlite_writes(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA query_only = ON")
    cursor.close()
