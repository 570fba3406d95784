"""A driver's connection over simulated servers: who is connected to which life of which server, and
how it ends.

Owns what asyncpg would. What SQLAlchemy makes of it is `engines`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, TypeVar

import asyncpg

from proof.simulation.network import WORLDS, Lost, Path
from proof.simulation.server import BACKEND, Server, Transaction
from repocache.nodes.probe import COMPLETE_SQL

T = TypeVar("T")


class DriverError(Exception):
    """An error that PostgreSQL answered with."""

    def __init__(self, sqlstate: str) -> None:
        super().__init__(sqlstate)
        self.sqlstate = sqlstate


class Driver(asyncpg.Connection):  # type: ignore[misc]  # it has no types
    """A connection to one life of one server. One statement at a time."""

    _counter = count()

    def __init__(self, path: Path, server: Server) -> None:
        self.path = path
        self.server = server
        self.process = server.process
        self.dead = False
        self.transaction: Transaction | None = None
        self.number = next(self._counter)
        self._pending: asyncio.Future[Any] | None = None
        self._listeners: list[Callable[[Any], None]] = []
        self._hears: list[Callable[[], None]] = []
        path.connections[self] = None
        server.connections[self] = None

    def __del__(self) -> None:
        """Not asyncpg's."""

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return self is other

    def get_server_pid(self) -> int:
        return BACKEND

    def is_closed(self) -> bool:
        return self.dead

    def add_termination_listener(self, callback: Callable[[Any], None]) -> None:
        self._listeners.append(callback)

    def remove_termination_listener(self, callback: Callable[[Any], None]) -> None:
        if callback in self._listeners:
            self._listeners.remove(callback)

    async def add_listener(self, _: str, callback: Callable[[], None]) -> None:
        """LISTEN."""
        await self.ask(lambda _: self._hears.append(callback))

    def notify(self) -> None:
        """The server says NOTIFY to whoever listens."""
        for heard in self._hears:
            self.path.carry(lambda heard=heard: None if self.dead else heard(), self.path.context)  # type: ignore[misc]

    def terminate(self) -> None:
        """The client hangs up."""
        self._end(told=False)

    def lose(self) -> None:
        """The server, or the network, ends it. The client hears of it a little later, unless the
        way is held."""
        if self.path.held:
            self.path.carry(self.reset, self.path.context)
        else:
            self._end(told=True)

    def reset(self) -> None:
        """The network ends it."""
        self._end(told=True)

    def _end(self, *, told: bool) -> None:
        if self.dead:
            return
        self.dead = True
        self.path.connections.pop(self, None)
        self.server.connections.pop(self, None)
        transaction, self.transaction = self.transaction, None
        if transaction is not None and transaction.state == "open":
            # The backend notices when it next reads from its socket.
            self.server.cluster.later(0.02, lambda: self.server.cluster.abort(transaction))
        pending, self._pending = self._pending, None
        if pending is not None and not pending.done():
            pending.set_exception(Lost("the connection ended"))
            pending.exception()
        if told:
            for listener in self._listeners:
                self.path.loop.call_soon(listener, self, context=self.path.context)

    def send(self, run: Callable[[Callable[[Any], None]], None]) -> asyncio.Future[Any]:
        """`run` happens at the server, and answers when it calls what it is given. An exception is
        answered too."""
        if self.dead:
            raise Lost("the connection is closed")
        pending: asyncio.Future[Any] = self.path.loop.create_future()
        self._pending = pending

        def answer(outcome: Any) -> None:
            self.path.carry(lambda: arrive(outcome), self.path.context)

        def arrive(outcome: Any) -> None:
            if pending.done():
                return
            if isinstance(outcome, Exception):
                pending.set_exception(outcome)
                pending.exception()
            else:
                pending.set_result(outcome)

        def at_server() -> None:
            if self.server.up and self.server.process == self.process and not self.dead:
                run(answer)

        self.path.carry(at_server, WORLDS)
        return pending

    async def ask(self, query: Callable[[Server], T]) -> T:
        """One statement with one answer."""
        result: T = await self.send(lambda answer: answer(query(self.server)))
        return result

    async def fetchrow(self, sql: str, *_: Any, **__: Any) -> Any:
        sent = self.path.loop.now
        row = await self.ask(lambda server: row_of(server, sql))
        if row and "pg_current_wal_flush_lsn" in sql and row[1] is not None:
            self.path.heard = max(self.path.heard, sent)
        return row


def row_of(server: Server, sql: str) -> Sequence[Any]:
    """What the library's own statements answer."""
    if "pg_control_system" in sql:
        return server.server_row()
    if "pg_stat_wal_receiver" in sql:
        shown = (server.received,) if "pg_last_wal_receive_lsn" in sql else ()
        return server.replica_row() + shown
    if "pg_current_wal_flush_lsn" in sql:
        clock = (server.clock,) if "clock_timestamp" in sql else ()
        return server.primary_row() + clock
    assert sql in ("SELECT 1", COMPLETE_SQL), sql
    return (1,)
