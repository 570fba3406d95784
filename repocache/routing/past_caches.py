"""A session as it looks to reads that are to go past every cache.

Owns what such reads are told. The session itself, with its promises, is another's.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from repocache.bookmark import Bookmark
from repocache.nodes.stamps import Stamp
from repocache.nodes.wal import PrimaryPosition
from repocache.routing.causal_session import CausalSession, Look

NOTHING_CACHED = Bookmark("", 0, {}, covered=False, expires=float("inf"))
"""Asks nothing of a node, and for ever no cache."""


class PastCaches(CausalSession):
    """Reads see a bookmark that no cache covers, and that asks of nodes what the session's own
    does; whatever is written, seen or sent is the session's. So the read path has nothing new to
    look at. `left_of`: what a bookmark still says now.
    """

    def __init__(
        self, session: CausalSession, left_of: Callable[[Bookmark], Bookmark | None]
    ) -> None:
        self.client = session.client
        self.stale = session.stale
        self.serial = session.serial
        self._session = session
        self._left_of = left_of

    @property
    def bookmark(self) -> Bookmark:
        left = self._left_of(self._session.bookmark)
        if left is None:
            return NOTHING_CACHED
        # It was living just now; that no cache counts does not end before the block does.
        return msgspec.structs.replace(left, covered=False, expires=NOTHING_CACHED.expires)

    @property
    def did(self) -> Bookmark | None:
        return self._session.did

    def encode(self) -> str:
        """What the session itself would send: no other service reads past its caches for it."""
        return self._session.encode()

    def begin_with(self, incoming: Bookmark) -> None:
        self._session.begin_with(incoming)

    def advance(self, bookmark: Bookmark) -> None:
        self._session.advance(bookmark)

    def settle(self, look: Look, polled: PrimaryPosition | None) -> None:
        self._session.settle(look, polled)

    def absorb(self, did: Bookmark | None) -> None:
        self._session.absorb(did)

    def look(self) -> Look:
        return self._session.look()

    def looked(self, look: Look, stamp: Stamp) -> None:
        self._session.looked(look, stamp)

    def reads(self) -> Look:
        return self._session.reads()

    def saw(self, look: Look, stamp: Stamp) -> None:
        self._session.saw(look, stamp)
