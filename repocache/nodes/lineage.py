"""Which server is the primary, which ones have been, and in which histories other processes live.

Pure: what follows from a change is `primary`'s and `topology`'s.
"""

from __future__ import annotations

from repocache.engines.server import Server
from repocache.errors import DatabaseUnavailable
from repocache.history import cluster_of, is_newer
from repocache.nodes.wal import PrimaryIdentity

MOST_MET = 64
"""How many histories of others are remembered as looked into."""
RETIRED = "the transaction is on a server that is the primary no more: nothing was committed"


class Lineage:
    """`identity`: the server process that is believed to be the primary, None before its first
    answer and where positions are not to be had; `history`: its text, else empty."""

    def __init__(self) -> None:
        self.identity: PrimaryIdentity | None = None
        self.history = ""
        self._retired: set[int] = set()
        self._met: set[str] = set()

    def believe(self, identity: PrimaryIdentity) -> None:
        """This is the primary from now on."""
        before, old = self.identity, self.history
        self.identity, self.history = identity, identity.history
        if before is None or identity == before:
            return
        self._met.add(old)
        if before.started != identity.started:
            self._retired.add(before.started)
            self._retired.discard(identity.started)

    def is_news(self, history: str) -> bool:
        """Whether another process's history is worth a look by name at who the primary is: one of
        this cluster, not older than ours. Once for each, and for one of a newer timeline until it
        is found: ours has been replaced."""
        if history == self.history or is_newer(self.history, history):
            return False
        if cluster_of(history) != cluster_of(self.history):
            return False
        if history in self._met and not is_newer(history, self.history):
            return False
        if len(self._met) >= MOST_MET:
            self._met.clear()
        self._met.add(history)
        return True

    def is_past(self, server: Server) -> bool:
        """Whether a server has been the primary: of ours, or, of an older timeline, before this
        process knew of it. It may live on, and its address may lead there again."""
        known = self.identity
        older = (
            known is not None
            and server.system == known.system
            and 0 < server.timeline < known.timeline
        )
        return older or server.process.started in self._retired

    def writes_with(self, server: object) -> str:
        """The history that a connection to this server writes, or the beginning of its text if it
        is of a newer timeline than this process has noticed; empty if that is not known.

        Raises DatabaseUnavailable for a server that is the primary no more: what is committed there
        is lost.
        """
        if self.identity is None or not isinstance(server, Server):
            return ""
        if self.is_past(server):
            raise DatabaseUnavailable(RETIRED)
        if server.system == self.identity.system and server.timeline > self.identity.timeline:
            return f"{server.system.cluster}.{server.timeline}."
        return self.history if server.process.started == self.identity.started else ""

    def is_another(self, server: Server) -> bool:
        """Whether this is another server process than the one that is believed to be primary."""
        return self.identity is not None and server.process.started != self.identity.started
