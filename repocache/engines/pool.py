"""The pool of one engine: patient with a node that is full, and never in two event loops at once.

Owns how a connection is had and given back. When one is looked for, and what its failure means, is
the callers'.
"""

from __future__ import annotations

import asyncio
import select
import time

import asyncpg
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry, PoolProxiedConnection
from sqlalchemy.util.queue import Empty

from repocache.engines.driver_errors import is_full
from repocache.errors import OtherLoop, PoolExhausted
from repocache.redaction.foreign import in_brief

FIRST_PAUSE = 0.05
"""Seconds before a server that was full is asked again; then twice as long."""


class NodePool(AsyncAdaptedQueuePool):
    """SQLAlchemy's, with two differences:

    A server that takes no more connections (of all, of this role, of this database) is a full pool:
    for `timeout` seconds its caller waits for one of those that are open, or for the server to have
    room. Raises PoolExhausted if neither comes in time.

    All of it is of the event loop that made its first connection. In another it raises OtherLoop,
    before anything is touched that the first one waits for.
    """

    _loop: asyncio.AbstractEventLoop | None = None

    def connect(self) -> PoolProxiedConnection:
        loop = asyncio.get_running_loop()
        if self._loop is not None and self._loop is not loop:
            raise OtherLoop
        try:
            connection = super().connect()
        except PoolTimeoutError as error:
            raise PoolExhausted(
                f"all {self.size()} connections to the node are in use, and none came free within "
                f"{self.timeout()} s: raise TopologySettings(pool_size=...), or end transactions "
                "sooner"
            ) from error
        self._loop = loop
        return connection

    def _do_get(self) -> ConnectionPoolEntry:
        until, pause = time.monotonic() + self.timeout(), FIRST_PAUSE
        while True:
            try:
                return super()._do_get()
            except Exception as error:
                if not is_full(error):
                    raise
                left = until - time.monotonic()
                if left <= 0:
                    raise PoolExhausted(
                        f"the server takes no more connections ({in_brief(error)}), and none of "
                        f"ours came free within {self.timeout()} s: raise its limit, or lower "
                        "TopologySettings(pool_size=...)"
                    ) from error
            try:
                return self._pool.get(True, min(pause, left))
            except Empty:
                pause *= 2


async def return_to_pool(connection: AsyncConnection) -> bool:
    """Or hang up if that fails, of which the pool's "invalidate" tells its node: what was read by
    it stays true. Whether the pool has it."""
    try:
        await connection.close()
    except Exception:  # noqa: BLE001
        # The rollback's, of a server that is gone or a driver that is confused.
        if not connection.closed:  # as of SQLAlchemy 2.1 it is
            await connection.invalidate()
            await connection.close()
        return False
    return True


def refuse_ended(_: DBAPIConnection, entry: ConnectionPoolEntry, __: object) -> None:
    """Listener to "checkout": a connection that the server has ended gives way to a new one, before
    anything was sent on it and without a round trip (asyncpg)."""
    driver = entry.driver_connection
    if isinstance(driver, asyncpg.Connection) and (driver.is_closed() or _has_spoken(driver)):
        raise DisconnectionError("the server has ended the connection")


def _has_spoken(driver: asyncpg.Connection) -> bool:
    """Whether an idle connection has something to say that the loop has not read yet: that it ends,
    as a rule."""
    transport = getattr(driver, "_transport", None)
    socket = None if transport is None else transport.get_extra_info("socket")
    if socket is None:
        return False
    poll = select.poll()
    poll.register(socket.fileno(), select.POLLIN)
    return bool(poll.poll(0))
