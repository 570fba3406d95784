"""A session as it looks to reads that are to go past every cache.

Owns what such reads are told. The session itself, with its promises, is another's.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from repocache.bookmark import Bookmark
from repocache.routing.causal_session import CausalSession
from repocache.routing.delegated import DelegatedSession

NOTHING_CACHED = Bookmark("", 0, {}, covered=False, expires=float("inf"))
"""Asks nothing of a node, and for ever no cache."""


class PastCaches(DelegatedSession):
    """Reads see a bookmark that no cache covers, and that asks of nodes what the session's own
    does. So the read path has nothing new to look at. `left_of`: what a bookmark still says now.
    """

    reads_past_caches = True

    def __init__(
        self, session: CausalSession, left_of: Callable[[Bookmark], Bookmark | None]
    ) -> None:
        super().__init__(session)
        self._left_of = left_of

    @property
    def bookmark(self) -> Bookmark:
        left = self._left_of(self._session.bookmark)
        if left is None:
            return NOTHING_CACHED
        # It was living just now; that no cache counts does not end before the block does.
        return msgspec.structs.replace(left, covered=False, expires=NOTHING_CACHED.expires)
