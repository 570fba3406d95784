"""A connection as the library uses SQLAlchemy's: which statement asks what of the simulated server
behind it.

Owns what statements mean, and transactions as a client drives them. The wire below is `driver`'s,
pools `engines`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import TextClause
from sqlalchemy.exc import DBAPIError
from sqlalchemy.util import await_only

from proof.simulation import outbox
from proof.simulation.columns import Asked
from proof.simulation.driver import Driver, DriverError, row_of
from proof.simulation.network import WORLDS, Lost
from proof.simulation.server import Key, Server, Transaction
from repocache.engines.engine import Purpose

if TYPE_CHECKING:
    from proof.simulation.engines import Engine, Entry
    from proof.simulation.postgres import Cluster

T = TypeVar("T")


class Result:
    """Rows of one statement."""

    def __init__(self, rows: Sequence[Any], names: Sequence[str] = ()) -> None:
        self._rows = rows
        self._names = names

    def keys(self) -> Sequence[str]:
        return self._names

    def all(self) -> Sequence[Any]:
        return self._rows

    def one(self) -> Any:
        return self._rows[0]

    def first(self) -> Any:
        return self._rows[0] if self._rows else None

    def scalar(self) -> Any:
        return self._rows[0][0]

    def __iter__(self) -> Any:
        return iter(self._rows)


class Begun:
    """A transaction that was begun: to be awaited, and ended by whoever ends the connection, or a
    block. It is rolled back if the block fails, or its COMMIT."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __await__(self) -> Iterator[Any]:
        yield from ()

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                await self._connection.commit()
        except BaseException:
            await self._quietly_rolled_back()
            raise
        if kind is not None:
            await self._quietly_rolled_back()

    async def _quietly_rolled_back(self) -> None:
        with suppress(Exception):
            await self._connection.rollback()


class Cursor:
    """A cursor of the driver's, inside SQLAlchemy's greenlet."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._row: Any = None

    def execute(self, sql: str, parameters: Any = ()) -> None:
        if isinstance(parameters, dict):
            self._row = await_only(self._connection.seal(parameters))
        else:
            self._row = await_only(self._connection.in_transaction(sql))

    def fetchone(self) -> Any:
        return self._row

    def close(self) -> None: ...


class Connection:
    """An AsyncConnection, and the pooled connection under it. `alone`: in AUTOCOMMIT. `ended`: its
    transaction was committed or rolled back. `locked`: rows as they were before its last write of
    each."""

    def __init__(self, engine: Engine, entry: Entry, alone: bool) -> None:
        self._engine = engine
        self._entry = entry
        self._alone = alone
        self._driver = entry.driver_connection
        self._closed = False
        self._failed = False
        self._repeatable = False
        self._snapshot: Mapping[Key, tuple[int, bool]] | None = None
        self.ended = False
        self.locked: dict[Key, tuple[int, bool]] = {}
        self.dialect = engine.sync_engine.dialect

    @property
    def info(self) -> dict[Any, Any]:
        return self._entry.info

    @property
    def driver_connection(self) -> Driver:
        return self._driver

    @property
    def written(self) -> Mapping[Key, tuple[int, bool]]:
        """By its transaction."""
        return {} if self._driver.transaction is None else self._driver.transaction.rows

    @property
    def invalidated(self) -> bool:
        return self._failed

    async def get_raw_connection(self) -> Entry:
        return self._entry

    def cursor(self) -> Cursor:
        return Cursor(self)

    async def exec_driver_sql(self, sql: str) -> Result:
        def answered(server: Server) -> Sequence[Any]:
            self._shown(server)
            return row_of(server, sql)

        return Result([await self._statement(answered)])

    async def execute(self, statement: Any, parameters: Any = None) -> Result:
        """The status of a transaction, rows by key, a select's, or what the outbox asks."""
        if self._engine.purpose is Purpose.OUTBOX:
            return await self._outbox(statement, parameters)
        if isinstance(parameters, dict):
            return Result(
                [(await self._statement(lambda server: asked_status(server, parameters["xid"])),)]
            )
        options = {} if parameters is not None else statement.get_execution_options()
        if "asked" in options:
            asked: Asked = options["asked"]
            names, rows = await self._statement(lambda server: asked.answer(self._shown(server)))
            width = len(statement.selected_columns)
            return Result([row[:width] for row in rows], names[:width])
        keys = options["keys"] if parameters is None else parameters
        return Result(await self._statement(lambda server: rows_of(self._shown(server), keys)))

    async def execution_options(self, **_: Any) -> Connection:
        """REPEATABLE READ: what the first statement sees, all see."""
        self._repeatable = True
        return self

    def _shown(self, server: Server) -> Mapping[Key, tuple[int, bool]]:
        if not self._repeatable:
            return server.rows
        if self._snapshot is None:
            self._snapshot = dict(server.rows)
        return self._snapshot

    async def _outbox(self, statement: TextClause, parameters: Any) -> Result:
        meaning, given = outbox.meaning(statement), outbox.arguments(statement, parameters)
        transaction = self._begun()
        rows = await self._working(lambda: meaning(self._cluster, transaction, given))
        if self._alone:
            await self.commit()
        return Result(rows)

    async def seal(self, parameters: dict[str, Any]) -> Sequence[Any]:
        """The row that the last statement of a transaction returns, where there is an outbox."""
        transaction = self._begun()
        row: Sequence[Any] = await self._working(
            lambda: outbox.seal(self._cluster, transaction, parameters)
        )
        return row

    async def update(self, key: Key, exists: bool, *, noticed: bool = False) -> int:
        """Lock a row and write it; its version. `noticed`: its table has a trigger."""
        transaction = self._begun()

        async def work() -> tuple[int, tuple[int, bool]]:
            before = transaction.rows.get(key)
            version = await self._cluster.update(transaction, key, exists)
            before = before or self._cluster.primary.rows[key]
            if noticed:
                outbox.notice(self._cluster, transaction, key[0], [key[1]])
            return version, before

        version: int
        version, self.locked[key] = await self._working(work)
        return version

    @property
    def _cluster(self) -> Cluster:
        """Whose line the server writes at the moment."""
        return self._driver.server.cluster

    def _begun(self) -> Transaction:
        driver = self._driver
        if driver.transaction is None:
            driver.transaction = self._cluster.begin()
        return driver.transaction

    async def _working(self, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """What may wait for locks at the server."""

        async def run(answer: Callable[[Any], None]) -> None:
            try:
                answer(await work())
            except Lost as error:
                answer(error)

        def at_server(answer: Callable[[Any], None]) -> None:
            self._cluster.loop.create_task(run(answer), context=WORLDS)

        return await self._waited(at_server)

    def begin(self) -> Begun:
        return Begun(self)

    async def in_transaction(self, sql: str) -> Any:
        transaction = self._driver.transaction

        def query(server: Server) -> Any:
            assert transaction is not None
            if "pg_current_xact_id_if_assigned" in sql:
                return (
                    transaction.xid,
                    "on" if transaction.synchronous else "off",
                    server.cluster.insert,
                )
            if "pg_current_wal_insert_lsn" in sql:
                return (server.cluster.insert,)
            raise AssertionError(sql)

        return await self._statement(query)

    async def locked_rows(self, keys: Sequence[Key]) -> list[tuple[int, int]]:
        """As the transaction sees them."""
        transaction = self._driver.transaction
        own = {} if transaction is None else transaction.rows
        return await self._statement(lambda server: rows_of({**server.rows, **own}, keys))

    async def commit(self) -> None:
        driver = self._driver
        transaction = driver.transaction
        self.ended = True
        if transaction is None and not driver.dead:
            return

        def at_server(answer: Callable[[Any], None]) -> None:
            assert transaction is not None
            self._cluster.commit(
                transaction, lambda state: answer(DriverError(state) if state else "COMMIT")
            )

        await self._waited(at_server)
        driver.transaction = None

    async def rollback(self) -> None:
        transaction = self._driver.transaction
        self.ended = True
        if transaction is not None and not self._driver.dead:
            await self._statement(lambda server: server.cluster.abort(transaction))
        self._driver.transaction = None

    async def invalidate(self) -> None:
        self._driver.terminate()

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._driver.transaction is not None:
            self._driver.terminate()
        self._engine.give_back(self._entry)

    async def _statement(self, query: Callable[[Server], T]) -> T:
        result: T = await self._waited(lambda answer: answer(query(self._driver.server)))
        return result

    async def _waited(self, run: Callable[[Callable[[Any], None]], None]) -> Any:
        try:
            return await self._driver.send(run)
        except Lost as error:
            if not self._failed:
                self._failed = True
                self._engine.found_broken(self._entry, error)
            raise
        except asyncio.CancelledError:
            self._driver.terminate()
            raise


def asked_status(server: Server, xid: str) -> str | DBAPIError | None:
    """Or how the question fails: a transaction that was lost is in the future of this history, and
    now and then the question itself is cancelled."""
    cluster = server.cluster
    if cluster.pace.confused and cluster.loop.draw() < cluster.pace.confused:
        return DBAPIError("the status", None, DriverError("57014"))
    transaction = cluster.status.get(xid)
    if transaction is None or transaction.state == "lost":
        return DBAPIError("the status", None, DriverError("22023"))
    return status_of(transaction)


def status_of(transaction: Transaction) -> str:
    if transaction.state in ("open", "record"):
        return "in progress"
    return "committed" if transaction.state == "visible" else "aborted"


def rows_of(rows: Mapping[Key, tuple[int, bool]], keys: Sequence[Key]) -> list[tuple[int, int]]:
    """(id, version) of the rows that are there."""
    found = ((key, *rows[key]) for key in keys)
    return [(key[1], version) for key, version, exists in found if exists]


class Sync:
    """The same connection as SQLAlchemy shows it inside its greenlet."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.info = connection.info

    @property
    def invalidated(self) -> bool:
        return self.connection.driver_connection.dead

    def get_execution_options(self) -> Mapping[str, object]:
        return {}

    def begin_nested(self) -> AbstractContextManager[None]:
        """The server computes nothing here, and knows no DDL: nothing fails behind a savepoint."""
        return nullcontext()

    def execute(self, _: object, keys: Sequence[Key]) -> list[tuple[int, int]]:
        rows: list[tuple[int, int]] = await_only(self.connection.locked_rows(keys))
        return rows
