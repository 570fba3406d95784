"""Engines, pools and connections as the library uses SQLAlchemy's, over simulated servers.

Owns what a pool does with its connections. What these answer is `connections`'s, the wire below
`driver`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator, Sequence
from types import SimpleNamespace
from typing import Any

from sqlalchemy import URL
from sqlalchemy.event import base
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.util import await_only

from proof.simulation import outbox
from proof.simulation.connections import Connection
from proof.simulation.driver import Driver, DriverError
from proof.simulation.network import Lost, Path, Refused
from proof.simulation.postgres import Cluster
from proof.simulation.server import Server
from repocache.engines.engine import Purpose
from repocache.engines.lent import SET_UP
from repocache.engines.topology_settings import TopologySettings


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
    def begin(self, connection: Any) -> None: ...
    def commit(self, connection: Any) -> None: ...
    def rollback(self, connection: Any) -> None: ...
    def before_cursor_execute(self, *arguments: Any) -> None: ...
    def set_connection_execution_options(self, connection: Any, options: Any) -> None: ...
    def set_engine_execution_options(self, engine: Any, options: Any) -> None: ...
    def handle_error(self, context: Any) -> None: ...


class Dialect:
    """Of a write engine; `CommitWatch` puts its own `do_commit` in front of this one."""

    name = "postgresql"
    dispatch = SimpleNamespace()
    """Nobody listens to it."""
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
    """A pool's entry; the library keeps the server's identity in `info`, and that nothing else was
    set up."""

    def __init__(self, driver: Driver) -> None:
        self.driver_connection = driver
        self.info: dict[Any, Any] = {SET_UP: False}

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
            entry = (
                self._idle.pop()
                if self._idle and self.purpose is not Purpose.PROBE
                else await self._made()
            )
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
            if not server.up or (server.primary and self._host != "primary"):
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

    async def dispose(self, close: bool = True) -> None:
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
    """One process's names and ways: which server each host leads to now. `stale`: the one that was
    the primary, while its name still leads there."""

    def __init__(self, cluster: Cluster, paths: dict[str, Path]) -> None:
        self._cluster = cluster
        self._paths = paths
        self.stale: Server | None = None

    def route(self, host: str) -> tuple[Path, Server]:
        """`primary`, `r1`, `r2`."""
        place = ("primary", "r1", "r2").index(host)
        server = self._cluster.servers[place]
        if place == 0 and self.stale is not None and self.stale.cluster is not self._cluster:
            server = self.stale
        return self._paths[host], server

    def engine(self, url: URL, purpose: Purpose, settings: TopologySettings) -> Any:
        """As `make_engine`."""
        assert url.host is not None
        return Engine(url.host, purpose, self, settings.connect_timeout)
