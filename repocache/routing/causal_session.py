"""What one flow of requests has written and seen: the bookmark that grows while it goes on.

Owns how the bookmark advances. Who is in which session, and what a bookmark asks of a read, is
`routing`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from repocache.bookmark import Bookmark, TextSigner, merge, says_something
from repocache.cache.l1_reader import ReadRecorder
from repocache.history import is_newer
from repocache.nodes.stamps import Stamp
from repocache.nodes.wal import PrimaryPosition
from repocache.routing.serial_count import SerialCount

STRANGERS = "whoever sends unsigned bookmarks"
"""One client, all of them together: each can make as many bookmarks, and so sessions, as he
likes."""


class Look(NamedTuple):
    """A read, or a transaction, under way. `since`: how often the session had noted, when it began,
    what no position polled for an earlier read covers."""

    since: int


class CausalSession:
    """One mutable object for a task and all its children.

    `bookmark`: what a read of this session must not be older than; send it along with the answer.
    `client`: who is charged for reads that the bookmark sends to the primary: the session itself,
    unless somebody else is named. `reads_past_caches`: no cache answers them.
    """

    reads_past_caches = False

    def __init__(
        self,
        window: float,
        clock: Callable[[], float],
        signer: TextSigner | None = None,
        monotonic: bool = False,
    ) -> None:
        self.client: object = self
        self._window = window
        self._clock = clock
        self._signer = signer
        self._monotonic = monotonic
        self._bookmark = Bookmark("", 0, {}, covered=True, expires=clock() + window)
        self._did: Bookmark | None = None
        #: Keys of what it was given past its time, for the database was slow or away.
        self.stale: set[str] = set()
        #: Reads past L1, as they come one after another.
        self.serial = SerialCount()
        #: Who records what it is given, if somebody does.
        self.recorder: ReadRecorder | None = None
        self._open = 0
        self._noted = 0

    @property
    def bookmark(self) -> Bookmark:
        """While a transaction is open that may have seen anything, its position is not known."""
        if self._open:
            return merge(self._bookmark, self._unknown())
        return self._bookmark

    def shown_stale(self, key: str) -> None:
        """It is given a row past its time, under this key."""
        self.stale.add(key)
        if self.recorder is not None:
            self.recorder.behind(f"{key} is given past its time")

    @property
    def did(self) -> Bookmark | None:
        """What came in since it began: it wrote, saw or was told of that. None: nothing."""
        return self._did

    def encode(self) -> str:
        """The bookmark's text, signed if there is a signer."""
        return self.bookmark.encode(self._signer)

    def begin_with(self, incoming: Bookmark) -> None:
        """What came with the request."""
        self._bookmark = incoming

    def advance(self, bookmark: Bookmark) -> None:
        """After a commit: reads of this session are not older than it either. A bookmark that says
        nothing changes nothing.
        """
        self._take(bookmark, beyond=True)

    def settle(self, look: Look, polled: PrimaryPosition | None) -> None:
        """The primary was polled after a commit, for which `look` was taken: if the session's
        position is not known, and nothing was noted since, the end of the WAL covers all that it
        has written and seen.
        """
        if polled is not None and self._may_settle(look, polled.history):
            now = self._clock()
            self._know(Bookmark(polled.history, polled.insert, {}, True, now + self._window, now))

    def absorb(self, did: Bookmark | None) -> None:
        """What a session within this one, or another service on behalf of it, wrote and saw counts
        here too."""
        if did is not None:
            self._take(did)

    def look(self) -> Look:
        """A transaction begins. `looked` ends it, whatever becomes of it."""
        self._open += 1
        return self.reads()

    def looked(self, look: Look, stamp: Stamp) -> None:
        """It has ended, and had shown no more than `stamp` says."""
        self._open -= 1
        self.saw(look, stamp)

    def reads(self) -> Look:
        """A read begins."""
        return Look(self._noted)

    def saw(self, look: Look, stamp: Stamp) -> None:
        """After a read, for monotonic reads: what was read is not newer than the stamp's position;
        if that is not known, the next reads are the primary's.

        An unknown position is forgotten for one that the primary named to a read that began after
        it was noted. One that was polled for an earlier read, which only ends later, says nothing
        of it.
        """
        if not self._monotonic:
            return None
        if stamp.position is None:
            return self._take(self._unknown(stamp.history))
        now = self._clock()
        seen = Bookmark(stamp.history, stamp.position, {}, True, now + self._window, now)
        if stamp.primary and self._may_settle(look, stamp.history):
            return self._know(seen)
        self._take(seen, beyond=stamp.primary)

    def _may_settle(self, look: Look, history: str) -> bool:
        """Not what nobody knows the outcome of: it may appear after whatever was polled. Nor by an
        older line than what is not known is of:

        1. a process has not noticed that its primary was replaced; 2. a transaction of the session
        is on the new one; 3. a commit of it on the old one asks how far that is.
        """
        old = self._bookmark
        if old.position is not None or not old.covered or is_newer(old.history, history):
            return False
        return look.since == self._noted

    def _know(self, place: Bookmark) -> None:
        """An unknown position gives way."""
        self._bookmark = _without_position(self._bookmark)
        self._did = None if self._did is None else _without_position(self._did)
        self._take(place, beyond=True)

    def _unknown(self, history: str = "") -> Bookmark:
        """`history`: what is known of the line that it is of."""
        now = self._clock()
        return Bookmark(history, None, {}, covered=True, expires=now + self._window, made=now)

    def _take(self, new: Bookmark, *, beyond: bool = False) -> None:
        if not says_something(new):
            return
        old = self._bookmark
        self._bookmark = taken = merge(old, new, beyond=beyond) if says_something(old) else new
        self._did = merge(self._did, new, beyond=beyond)
        if taken.position is None or new.history != old.history:
            # Also what is merged into an unknown position: a read under way is not known to cover
            # it.
            self._noted += 1


def _without_position(bookmark: Bookmark) -> Bookmark:
    return msgspec.structs.replace(bookmark, history="", position=0)
