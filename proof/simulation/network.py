"""The ways between processes and servers: each delays, may be held (half-open) or cut, and keeps a
connection's order.

Owns when bytes and calls arrive. What they mean is the servers' affair.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Protocol

from proof.simulation.loop import WORLD, Loop


class Lost(ConnectionResetError):
    """A connection to PostgreSQL ended, as drivers say it."""

    sqlstate = "08006"


class Refused(ConnectionRefusedError):
    """Nobody listens there."""


class Held(Protocol):
    """A connection that a path carries."""

    def reset(self) -> None:
        """Both ends learn that it is gone."""


class Path:
    """From one process to one server and back. `slow`: seconds of a hop, typically; one in fifty
    takes many times that.

    `held`: nothing arrives any more, and nobody is told. `heard`: when the last question that the
    primary has answered for its position was sent.
    """

    def __init__(self, loop: Loop, slow: float, context: Context) -> None:
        self.loop = loop
        self.slow = slow
        self.context = context
        self.held = False
        self.heard = 0.0
        self.connections: dict[Held, None] = {}
        self._waiting: list[tuple[Callable[[], None], Context]] = []

    def hop(self) -> float:
        """Seconds that the next hop takes."""
        draw = self.loop.draw()
        return self.slow * (0.5 + draw) if draw < 0.98 else self.slow * 40 * self.loop.draw()

    def carry(
        self, arrive: Callable[[], None], context: Context, delay: float | None = None
    ) -> None:
        """Call `arrive` in `context` after a hop."""
        if self.held:
            self._waiting.append((arrive, context))
        else:
            self.loop.call_later(self.hop() if delay is None else delay, arrive, context=context)

    def hold(self) -> None:
        self.held = True

    def release(self) -> None:
        """What was held arrives now, in its order."""
        self.held = False
        waiting, self._waiting = self._waiting, []
        delay = 0.0
        for arrive, context in waiting:
            delay += 1e-6
            self.loop.call_later(delay, arrive, context=context)

    def cut(self) -> None:
        """All connections are reset; new ones may be made."""
        self._waiting.clear()
        self.held = False
        for connection in list(self.connections):
            connection.reset()


class Session(Protocol):
    """A server's side of a stream."""

    def receive(self, data: bytes) -> None: ...

    def left(self) -> None:
        """The client is gone."""


WORLDS = WORLD.context


class Stream(asyncio.Transport):
    """One connection of bytes. What the server says is handed over in as many pieces as chance
    wants."""

    def __init__(self, path: Path, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._path = path
        self._protocol = protocol
        self.session: Session | None = None
        self._up: list[bytes] = []
        self._down: list[bytes | Callable[[], None]] = []
        self._sending = False
        self._hearing = False
        self._open = True
        path.connections[self] = None

    def write(self, data: bytes) -> None:  # type: ignore[override]  # nobody gives a memoryview
        if not self._open:
            return
        self._up.append(data)
        if not self._sending:
            self._sending = True
            self._path.carry(self._arrive, WORLDS)

    def say(self, data: bytes | Callable[[], None]) -> None:
        """The server's answer or push; or what happens once what was said before has arrived."""
        if not self._open:
            return
        self._down.append(data)
        if not self._hearing:
            self._hearing = True
            self._path.carry(self._hear, self._path.context)

    def _arrive(self) -> None:
        self._sending = False
        if self._path.held:
            return self._path.carry(self._arrive, WORLDS)
        data, self._up = b"".join(self._up), []
        if self.session is not None:
            self.session.receive(data)

    def _hear(self) -> None:
        self._hearing = False
        if not self._open:
            return None
        if self._path.held:
            self._hearing = True
            return self._path.carry(self._hear, self._path.context)
        size = len(self._down)
        draw = self._path.loop.draw()
        if size > 1 and draw < 0.3:
            size = 1 + int(draw / 0.3 * (size - 1))
        some, self._down = self._down[:size], self._down[size:]
        data = b"".join(each for each in some if isinstance(each, bytes))
        if self._down:
            self._hearing = True
            self._path.carry(self._hear, self._path.context)
        if data:
            self._protocol.data_received(data)
        for each in some:
            if not isinstance(each, bytes):
                each()

    def abort(self) -> None:
        """The client gives up; the server hears of it a hop later."""
        if self._open:
            self._end()
            self._path.loop.call_soon(self._protocol.connection_lost, None)

    def close(self) -> None:
        self.abort()

    def reset(self) -> None:
        if self._open:
            self._end()
            error = ConnectionResetError("the network")
            self._path.loop.call_soon(
                self._protocol.connection_lost, error, context=self._path.context
            )

    def _end(self) -> None:
        if self._open:
            self._open = False
            self._path.connections.pop(self, None)
            if self.session is not None:
                self.session.left()
