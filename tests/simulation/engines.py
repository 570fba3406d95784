"""Engines, pools and connections as the library uses SQLAlchemy's, over simulated servers.

Owns what a pool does with its connections, and which statement asks what. The wire below is `driver`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace
from typing import Any, TypeVar

from sqlalchemy import URL, TextClause
from sqlalchemy.event import base
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.util import await_only

from repocache.db.engines import Purpose
from repocache.db.settings import TopologySettings
from tests.simulation import outbox
from tests.simulation.driver import Driver, DriverError, row_of
from tests.simulation.network import WORLDS, Lost, Path, Refused
from tests.simulation.postgres import Cluster, Key, Server, Transaction

T = TypeVar("T")


class Target:
    """What the library listens to in place of an Engine."""

    dispatch: base.dispatcher[Any]

    def __init__(self) -> None:
        self.dialect = Dialect()

    @property
    def pool(self) -> Target:
        """Its events are heard here too."""
        return self

    def get_execution_options(self) -> dict[str, Any]:
        return {}


class Events(base.Events[Any]):
    """The events of engines and pools that the library listens to."""

    _dispatch_target = Target

    def do_connect(self, *arguments: Any) -> None: ...
    def connect(self, connection: Any, entry: Any) -> None: ...
    def checkout(self, connection: Any, entry: Any, proxy: Any) -> None: ...
    def checkin(self, connection: Any, entry: Any) -> None: ...
    def invalidate(self, connection: Any, entry: Any, error: Any) -> None: ...
    def commit(self, connection: Any) -> None: ...
    def before_cursor_execute(self, *arguments: Any) -> None: ...
    def set_connection_execution_options(self, connection: Any, options: Any) -> None: ...
    def set_engine_execution_options(self, engine: Any, options: Any) -> None: ...
    def handle_error(self, context: Any) -> None: ...


class Dialect:
    """Of a write engine; `CommitWatch` puts its own `do_commit` in front of this one."""

    name = "postgresql"
    loaded_dbapi = SimpleNamespace(Error=DriverError)

    def do_commit(self, connection: Connection) -> None:
        await_only(connection.commit())

    def do_rollback(self, connection: Connection) -> None:
        await_only(connection.rollback())

    def do_savepoint(self, *_: object) -> None: ...
    def do_release_savepoint(self, *_: object) -> None: ...
    def do_rollback_to_savepoint(self, *_: object) -> None: ...
    def do_begin_twophase(self, *_: object) -> None: ...
    def do_prepare_twophase(self, *_: object) -> None: ...
    def do_commit_twophase(self, *_: object) -> None: ...


class Entry:
    """A pool's entry; the library keeps the server's identity in `info`."""

    def __init__(self, driver: Driver) -> None:
        self.driver_connection = driver
        self.info: dict[Any, Any] = {}

    def __hash__(self) -> int:
        return self.driver_connection.number

    def __eq__(self, other: object) -> bool:
        return self is other

    def close(self) -> None:
        self.driver_connection.terminate()


class Greeting:
    """The connection as `on_connect` sees it: which server it reached is known already."""

    def __init__(self, row: Sequence[Any]) -> None:
        self._row = row

    def cursor(self) -> Greeting:
        return self

    def execute(self, _: str) -> None: ...
    def rollback(self) -> None: ...
    def close(self) -> None: ...

    def fetchone(self) -> Sequence[Any]:
        return self._row


class Result:
    """Rows of one statement."""

    def __init__(self, rows: Sequence[Any]) -> None:
        self._rows = rows

    def one(self) -> Any:
        return self._rows[0]

    def first(self) -> Any:
        return self._rows[0] if self._rows else None

    def scalar(self) -> Any:
        return self._rows[0][0]

    def __iter__(self) -> Any:
        return iter(self._rows)


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
    """An AsyncConnection, and the pooled connection under it. `alone`: in AUTOCOMMIT."""

    def __init__(self, engine: Engine, entry: Entry, alone: bool) -> None:
        self._engine = engine
        self._entry = entry
        self._alone = alone
        self._driver = entry.driver_connection
        self._closed = False
        self._failed = False
        self.dialect = engine.sync_engine.dialect

    @property
    def info(self) -> dict[Any, Any]:
        return self._entry.info

    @property
    def driver_connection(self) -> Driver:
        return self._driver

    async def get_raw_connection(self) -> Entry:
        return self._entry

    def cursor(self) -> Cursor:
        return Cursor(self)

    async def exec_driver_sql(self, sql: str) -> Result:
        return Result([await self._statement(lambda server: row_of(server, sql))])

    async def execute(self, statement: Any, parameters: Any = None) -> Result:
        """The status of a transaction, rows by key, or what the outbox asks."""
        if self._engine.purpose is Purpose.OUTBOX:
            return await self._outbox(statement, parameters)
        if isinstance(parameters, dict):
            return Result([(await self._statement(lambda server: status_of(server, parameters["xid"])),)])
        return Result(await self._statement(lambda server: rows_of(server.rows, parameters)))

    async def _outbox(self, statement: TextClause, parameters: Any) -> Result:
        meaning, given = outbox.meaning(statement), outbox.arguments(statement, parameters)
        transaction, cluster = self._begun(), self._driver.server.cluster
        rows = await self._working(lambda: meaning(cluster, transaction, given))
        if self._alone:
            await self.commit()
        return Result(rows)

    async def seal(self, parameters: dict[str, Any]) -> Sequence[Any]:
        """The row that the last statement of a transaction returns, where there is an outbox."""
        transaction, cluster = self._begun(), self._driver.server.cluster
        row: Sequence[Any] = await self._working(lambda: outbox.seal(cluster, transaction, parameters))
        return row

    async def update(self, key: Key, exists: bool, *, noticed: bool = False) -> int:
        """Lock a row and write it; its version. `noticed`: its table has a trigger."""
        transaction, cluster = self._begun(), self._driver.server.cluster

        async def work() -> int:
            version = await cluster.update(transaction, key, exists)
            if noticed:
                outbox.notice(cluster, transaction, key[0], [key[1]])
            return version

        version: int = await self._working(work)
        return version

    def _begun(self) -> Transaction:
        driver = self._driver
        if driver.transaction is None:
            driver.transaction = driver.server.cluster.begin()
        return driver.transaction

    async def _working(self, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """What may wait for locks at the server."""

        async def run(answer: Callable[[Any], None]) -> None:
            try:
                answer(await work())
            except Lost as error:
                answer(error)

        def at_server(answer: Callable[[Any], None]) -> None:
            self._driver.server.cluster.loop.create_task(run(answer), context=WORLDS)

        return await self._waited(at_server)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[None]:
        """Rolled back if the block fails, or its COMMIT."""
        try:
            yield
            await self.commit()
        except BaseException:
            with suppress(Exception):
                await self.rollback()
            raise

    async def in_transaction(self, sql: str) -> Any:
        transaction = self._driver.transaction

        def query(server: Server) -> Any:
            assert transaction is not None
            if "pg_current_xact_id_if_assigned" in sql:
                return (transaction.xid, "on" if transaction.synchronous else "off", server.cluster.insert)
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
        transaction, cluster = driver.transaction, driver.server.cluster
        if transaction is None and not driver.dead:
            return

        def at_server(answer: Callable[[Any], None]) -> None:
            assert transaction is not None
            cluster.commit(transaction, lambda state: answer(DriverError(state) if state else "COMMIT"))

        await self._waited(at_server)
        driver.transaction = None

    async def rollback(self) -> None:
        transaction = self._driver.transaction
        if transaction is not None and not self._driver.dead:
            cluster = self._driver.server.cluster
            await self._statement(lambda _: cluster.abort(transaction))
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


def status_of(server: Server, xid: str) -> str | None:
    transaction = server.cluster.status.get(xid)
    if transaction is None or transaction.state == "lost":
        return None
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

    def execute(self, _: object, keys: Sequence[Key]) -> list[tuple[int, int]]:
        rows: list[tuple[int, int]] = await_only(self.connection.locked_rows(keys))
        return rows


class Engine:
    """One purpose's pool to wherever the host's name leads."""

    def __init__(self, host: str, purpose: Purpose, nodes: Nodes, timeout: float) -> None:
        self.sync_engine = Target()
        self._timeout = timeout
        self.purpose = purpose
        self._host = host
        self._nodes = nodes
        self._idle: list[Entry] = []

    @property
    def dialect(self) -> Any:
        return outbox.DIALECT if self.purpose is Purpose.OUTBOX else self.sync_engine.dialect

    def execution_options(self, isolation_level: str) -> Alone:
        """Over the same pool."""
        assert isolation_level == "AUTOCOMMIT"
        return Alone(self)

    def connect(self, *, alone: bool = False) -> Connecting:
        """Raises OSError, and what a listener raises."""
        return Connecting(self._connected(alone))

    async def _connected(self, alone: bool) -> Connection:
        for _ in range(3):
            entry = self._idle.pop() if self._idle and self.purpose is not Purpose.PROBE else await self._made()
            try:
                self.sync_engine.dispatch.checkout(None, entry, None)
            except InvalidatePoolError:
                for each in [entry, *self._idle]:
                    each.driver_connection.terminate()
                self._idle.clear()
            else:
                return Connection(self, entry, alone)
        raise Lost("no connection stands")

    async def _made(self) -> Entry:
        self.sync_engine.dispatch.do_connect(self.dialect, None, (), {})
        path, _ = self._nodes.route(self._host)
        arrived: asyncio.Future[None] = path.loop.create_future()
        path.carry(lambda: None if arrived.done() else arrived.set_result(None), path.context)
        async with asyncio.timeout(self._timeout):
            await arrived
            path, server = self._nodes.route(self._host)
            if not server.up:
                raise Refused(self._host)
            entry = Entry(Driver(path, server))
            try:
                row = await entry.driver_connection.ask(Server.server_row)
            except BaseException:
                entry.driver_connection.terminate()
                raise
        try:
            self.sync_engine.dispatch.connect(Greeting(row), entry)
        except BaseException:
            entry.driver_connection.terminate()
            raise
        return entry

    def give_back(self, entry: Entry) -> None:
        self.sync_engine.dispatch.checkin(None, entry)
        if self.purpose is Purpose.PROBE:
            entry.driver_connection.terminate()
        elif not entry.driver_connection.dead:
            self._idle.append(entry)

    def found_broken(self, entry: Entry, error: Exception) -> None:
        """As SQLAlchemy does: the entry is invalid, and so is what the pool made before."""
        self.sync_engine.dispatch.invalidate(None, entry, error)
        for each in self._idle:
            each.driver_connection.terminate()
        self._idle.clear()

    async def dispose(self) -> None:
        for each in self._idle:
            each.driver_connection.terminate()
        self._idle.clear()


class Connecting:
    """A connection that is on its way: to be awaited, or for a block."""

    def __init__(self, made: Coroutine[Any, Any, Connection]) -> None:
        self._made = made

    def __await__(self) -> Generator[Any, Any, Connection]:
        return self._made.__await__()

    async def __aenter__(self) -> Connection:
        self._connection = await self._made
        return self._connection

    async def __aexit__(self, *_: object) -> None:
        await self._connection.close()


class Alone:
    """The same engine, in AUTOCOMMIT."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def connect(self) -> Connecting:
        return self._engine.connect(alone=True)


class Nodes:
    """One process's names and ways: which server each host leads to now."""

    def __init__(self, cluster: Cluster, paths: dict[str, Path]) -> None:
        self._cluster = cluster
        self._paths = paths

    def route(self, host: str) -> tuple[Path, Server]:
        """`primary`, `r1`, `r2`."""
        place = ("primary", "r1", "r2").index(host)
        server = self._cluster.servers[place]
        return self._paths[host], server

    def engine(self, url: URL, purpose: Purpose, settings: TopologySettings) -> Any:
        """As `make_engine`."""
        assert url.host is not None
        return Engine(url.host, purpose, self, settings.connect_timeout)
