"""Transactions of monotonic sessions: what they show has been seen, whether or not they write.

Owns the listeners on the primary's engine that tell a session when its transactions begin and end.
What a session makes of it is `session`'s.
"""

from __future__ import annotations

from contextlib import suppress

from sqlalchemy import Connection, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.util import await_only

from repocache.engines.listeners import Listeners
from repocache.engines.server import SERVER
from repocache.errors import DatabaseUnavailable, NotStarted
from repocache.nodes.stamps import Stamp, shown_by_primary
from repocache.nodes.topology import Topology
from repocache.routing.around import tell_unknown
from repocache.routing.routing import Routing

_SEEN = "repocache.seen"


class SeenTransactions:
    """Follows every transaction of the engine that begins in a monotonic session, until `stop`:
    units of work, plain sessions and connections.

    1. It begins: from now on the session's other reads go to the primary, for they must not be
    older than what it shows. 2. Right before COMMIT or ROLLBACK the primary is asked how far its
    WAL goes, which covers all that it can have shown. 3. A connection that is given back without
    either was lost, and what it had shown is not known.
    """

    def __init__(self, engine: AsyncEngine, routing: Routing, topology: Topology) -> None:
        self._engine = engine.sync_engine
        self._routing = routing
        self._topology = topology
        self._listeners = Listeners(
            self._engine,
            {"begin": self._begun, "commit": self._ending, "rollback": self._ending},
        )
        event.listen(self._engine, "checkin", self._given_back)

    def stop(self) -> None:
        """No transaction that begins from now on is followed."""
        self._listeners.stop()
        event.remove(self._engine, "checkin", self._given_back)

    def _begun(self, connection: Connection) -> None:
        self._routing.check()
        tell_unknown("a transaction was begun on the primary, which reads anything")
        session = self._routing.monotonic
        if session is not None and _SEEN not in connection.info:
            connection.info[_SEEN] = (session, session.look())

    def _ending(self, connection: Connection) -> None:
        if connection.invalidated or _SEEN not in connection.info:
            return
        session, look = connection.info.pop(_SEEN)
        server = connection.info.get(SERVER)
        stamp = self._unknown(server)
        try:
            stamp = await_only(self._stamp(server))
        finally:
            session.looked(look, stamp)

    async def _stamp(self, server: object) -> Stamp:
        """What a transaction on this server can have shown."""
        try:
            position = await self._topology.position()
        except NotStarted:
            return self._unknown(server)
        return shown_by_primary(self._line(server), self._topology.history, position)

    def _unknown(self, server: object) -> Stamp:
        """How far it was is not known, but of which line it is: else the primary of an older one
        would answer the session's next read."""
        return Stamp(self._line(server), None, primary=False)

    def _line(self, server: object) -> str:
        with suppress(DatabaseUnavailable):
            return self._topology.lineage.writes_with(server)
        return ""

    def _given_back(self, _: DBAPIConnection | None, entry: ConnectionPoolEntry) -> None:
        seen = entry.info.pop(_SEEN, None)
        if seen is not None:
            session, look = seen
            session.looked(look, self._unknown(entry.info.get(SERVER)))
