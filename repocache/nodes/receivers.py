"""Which WAL receivers are known to follow the primary: a timeline's number alone does not say whose
timeline it is.

Owns that bookkeeping for one replica. What follows from it is `wal`'s.
"""

from __future__ import annotations

from repocache.events import Out
from repocache.nodes.wal import PrimaryView, ReplicaReading, WalReceiver

MOST = 64
"""How many receivers are remembered: each restart of a replica or of what it streams from brings a
new one."""


class Receivers:
    """The receivers seen on one replica, or behind one balancer.

    A receiver is believed once the primary has answered a poll that began after the receiver was
    seen. The race:
    1. the primary is polled; 2. it crashes, losing visible asynchronous commits, and is up again;
    3. a replica streams from it anew, on the same timeline, past the positions that were lost; 4.
    its position must not vouch for them. The receiver of 3 is new, and no later poll is answered by
    the process of 1.
    """

    def __init__(self) -> None:
        self._seen: dict[WalReceiver, float] = {}
        self._believed: set[WalReceiver] = set()
        self._distrusted: set[WalReceiver] = set()

    def why_out(self, reading: ReplicaReading, primary: PrimaryView) -> str:
        """Why the reading's receiver is not known to follow the primary: "unconfirmed", "other
        history"; else empty."""
        receiver = reading.receiver
        if receiver is None or receiver in self._believed:
            return ""
        if receiver in self._distrusted:
            return Out.OTHER_HISTORY
        if len(self._seen) >= MOST:
            self._seen.clear()
        seen = self._seen.setdefault(receiver, reading.ended)
        if primary.lost or primary.began <= seen:
            return Out.UNCONFIRMED
        if len(self._believed) >= MOST:
            self._believed.clear()
        self._believed.add(receiver)
        return ""

    def forget(self) -> None:
        """The primary writes another history: whom each receiver follows has to be seen anew."""
        self._believed.clear()
        self._distrusted.clear()
        self._seen.clear()

    def distrust(self) -> None:
        """Those that were believed follow a server that is not the primary; their successors may be
        believed."""
        doubtful = self._believed | self._distrusted
        self.forget()
        self._distrusted = doubtful
