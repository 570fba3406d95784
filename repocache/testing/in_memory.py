"""A database in this machine's memory, on SQLite: for tests that need no server."""

import os
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack, ExitStack
from importlib.util import find_spec
from pathlib import Path
from secrets import token_hex
from tempfile import gettempdir
from typing import Any

from sqlalchemy import URL, MetaData, create_engine, event
from sqlalchemy import inspect as mapper_of
from sqlalchemy.dialects.sqlite.base import SQLiteTypeCompiler
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import CompileError
from sqlalchemy.pool import ConnectionPoolEntry

from repocache.database import Database
from repocache.errors import ConfigurationError
from repocache.repository.declared import model_and_id
from repocache.repository.repository import Repository
from repocache.runtime.given import Declared
from repocache.settings import Settings
from repocache.testing.private import new_file

MEMORY = Path("/dev/shm")  # noqa: S108  # the file's name is a secret, and its owner's alone
"""Where Linux has files in memory. Connections that share a database in SQLite's own memory cannot
read while one of them writes: an endpoint that flushes, and then reads, would wait for itself."""
FILES = ("", "-wal", "-shm", "-journal")
"""What SQLite appends to a database's name."""
SERVERS = "or let this test have real servers: docs/testing.md"


class IntegerTypes(SQLiteTypeCompiler):
    """SQLite's, with one name for all integers, which it stores alike: only a primary key that is
    declared INTEGER numbers itself."""

    def visit_BIGINT(self, type_: Any, **given: Any) -> str:  # noqa: N802  # SQLAlchemy's
        return "INTEGER"

    def visit_SMALLINT(self, type_: Any, **given: Any) -> str:  # noqa: N802
        return "INTEGER"


class MemoryDatabase:
    """See `memory`."""

    def __init__(self, database: Database, path: Path, tables: Sequence[MetaData]) -> None:
        self._database = database
        self._path = path
        self._tables = tables
        self._entered = AsyncExitStack()

    def __enter__(self) -> Database:
        """Raises ConfigurationError for tables that SQLite cannot have."""
        with ExitStack() as stack:
            stack.callback(self._remove)
            os.close(new_file(self._path))
            _make_tables(self._path, self._tables)
            stack.pop_all()
        return self._database

    def __exit__(self, *_: object) -> None:
        self._remove()

    async def __aenter__(self) -> Database:
        """Raises as `with` does, and as entering a `Database`."""
        async with AsyncExitStack() as stack:
            database = stack.enter_context(self)
            await stack.enter_async_context(database)
            self._entered = stack.pop_all()
        return database

    async def __aexit__(self, *_: object) -> None:
        await self._entered.aclose()

    def _remove(self) -> None:
        for end in FILES:
            self._path.with_name(self._path.name + end).unlink(missing_ok=True)


def memory(
    repositories: Iterable[Declared],
    *,
    metadata: MetaData | None = None,
    settings: Settings | None = None,
) -> MemoryDatabase:
    """A `Database` on an SQLite of its own in memory, with empty tables, and without Redis: entered
    by `async with memory([Users]) as db:`; not entered yet by `with memory([Users]) as db:`, for an
    application whose lifespan does it. Nothing of it is left after the block.

    `metadata`: whose tables are made; None: of the classes of the repositories. Foreign keys are
    enforced. The memory is a file's in /dev/shm, or, where there is none, in the folder for
    temporary files.

    What is lost: there are no positions, so that a session that wrote reads the primary for
    `Settings.window` seconds, and bookmarks prove nothing; no replicas, and no lag; no second
    process, and no Redis, so that L1 is the only tier and write-through stores nothing; no outbox
    and no trigger; and SQLite has one writer at a time, keeps no time zone, knows few types of
    PostgreSQL's, and forgives what PostgreSQL refuses. A service that is right here may still be
    wrong.

    Raises ConfigurationError without aiosqlite or for a `Database` that cannot work.
    """
    if find_spec("aiosqlite") is None:
        raise ConfigurationError(
            "memory() needs aiosqlite: pip install 'sqlalchemy-repocache[sqlite]'"
        )
    classes = tuple(repositories)
    folder = MEMORY if os.access(MEMORY, os.W_OK) else Path(gettempdir())
    path = folder / f"repocache-memory-{token_hex(8)}"
    url = URL.create("sqlite+aiosqlite", database=str(path))
    database = Database(url, repositories=classes, settings=settings)
    event.listen(database.engine.sync_engine, "connect", _enforce_foreign_keys)
    found = (
        [metadata]
        if metadata is not None
        else [_metadata_of(each) for each in classes if issubclass(each, Repository)]
    )
    return MemoryDatabase(database, path, tuple(dict.fromkeys(found)))


def _metadata_of(repository: type[Repository[Any, Any]]) -> MetaData:
    model, _ = model_and_id(repository)
    metadata: MetaData = mapper_of(model).local_table.metadata
    return metadata


def _make_tables(path: Path, tables: Sequence[MetaData]) -> None:
    """Without a loop. In WAL mode, where readers go on while one writes."""
    placed = [each for metadata in tables for each in metadata.tables.values() if each.schema]
    if placed:
        raise ConfigurationError(
            f"memory(): SQLite has no schemas, and {placed[0].fullname} is in one: give "
            f"memory(metadata=...) without it, {SERVERS}"
        )
    engine = create_engine(URL.create("sqlite", database=str(path)))
    engine.dialect.type_compiler_instance = IntegerTypes(engine.dialect)
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")
            for metadata in tables:
                metadata.create_all(connection)
    except CompileError as error:
        raise ConfigurationError(
            f"memory(): {error}: give the column's type a variant for SQLite, as in "
            f"ARRAY(Text).with_variant(JSON(), 'sqlite'), {SERVERS}"
        ) from error
    finally:
        engine.dispose()


def _enforce_foreign_keys(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA synchronous = OFF")
    cursor.close()
