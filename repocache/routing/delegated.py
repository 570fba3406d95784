"""A session as it looks from within a block that changes what its reads are told, or who hears of
them."""

from __future__ import annotations

from repocache.bookmark import Bookmark
from repocache.nodes.stamps import Stamp
from repocache.nodes.wal import PrimaryPosition
from repocache.routing.causal_session import CausalSession, Look


class DelegatedSession(CausalSession):
    """Whatever is written, seen or sent is the session's own."""

    def __init__(self, session: CausalSession) -> None:
        self.client = session.client
        self.stale = session.stale
        self.serial = session.serial
        self.recorder = session.recorder
        self._session = session

    @property
    def bookmark(self) -> Bookmark:
        return self._session.bookmark

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
