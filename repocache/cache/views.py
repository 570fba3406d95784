"""What this process believes of each record, and what an invalidation does here: L1 and the flights follow the views.

Plain sync code, run inside the connection's own callback, so that a message has its effect before the caller of any
later reply runs (protocol, The channel).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from repocache.bookmark import Bookmark, Seen
from repocache.cache.flights import Flights
from repocache.cache.local_store import LocalKey
from repocache.errors import RepocacheError
from repocache.events import GapSeen, Invalidated, Observer
from repocache.keys import BUCKETS, KeySpace, bucket_of, owner_bucket
from repocache.message import Message


class Local(Protocol):
    """What the views need of L1."""

    def discard(self, key: LocalKey) -> bool: ...

    def clear_bucket(self, bucket: int) -> int: ...

    def clear_owner(self, owner: str) -> int: ...

    def clear(self) -> int: ...


class View:
    """A record as believed, a bucket's or an owner's. `since`: the `seq` that it began with; `moved`: how often
    anything under it was invalidated. A bucket's has the `prefixes` of its keys' names by owner, an owner's its
    `generations` (by owner: several may share one).

    `history`: that of who announced the record, perhaps another than this process lives in.
    """

    __slots__ = ("generations", "history", "incarnation", "moved", "prefixes", "seq", "since")

    def __init__(self, incarnation: str, seq: int, history: str = "") -> None:
        self.incarnation = incarnation
        self.seq = self.since = seq
        self.history = history
        self.moved = 0
        self.generations: dict[str, str] = {}
        self.prefixes: dict[str, str] = {}


class Views:
    """`alive`: connected and subscribed. While it is False, L1 does not count and nothing enters it."""

    def __init__(self, local: Local, flights: Flights, keys: KeySpace, process: str, observe: Observer) -> None:
        self.alive = False
        self._local = local
        self._flights = flights
        self._keys = keys
        self._process = process
        self._observe = observe
        self._views: list[View | None] = [None] * (2 * BUCKETS)
        self._owners: dict[int, list[str]] = {}
        for each in keys:
            self._owners.setdefault(owner_bucket(each.prefix), []).append(each.prefix)

    def get(self, bucket: int) -> View | None:
        return self._views[bucket]

    def up(self) -> None:
        """The channel is confirmed: everything known is from before, and is dropped."""
        self._forget()
        self.alive = True

    def down(self) -> None:
        self.alive = False
        self._forget()

    def covers(self, buckets: tuple[int, int], bookmark: Bookmark) -> bool:
        """Whether what lies under these records counts in the bookmark's session: of a key's bucket and of its
        owner (protocol, Read path 1)."""
        if not bookmark.takes_cached:
            return False
        wrote = bookmark.buckets
        if not wrote:
            return True
        views = self._views
        for bucket in buckets:
            view, seen = views[bucket], wrote.get(bucket)
            if seen is not None and (view is None or view.incarnation != seen.incarnation or view.seq < seen.seq):
                return False
        return True

    def apply(self, message: Message) -> None:
        """A record's announcement. The next in line drops its keys; anything else is a gap and drops the bucket.

        Where there is no view there is nothing in L1, and no answer of the record has been believed yet.
        """
        bucket = message.bucket
        if not 0 <= bucket < len(self._views):
            return
        view = self._views[bucket]
        if view is not None and view.incarnation == message.incarnation and message.seq <= view.seq:
            return
        if view is None or view.incarnation != message.incarnation or message.seq != view.seq + 1:
            if view is not None:
                why = "a new record" if view.incarnation != message.incarnation else "messages were lost"
                self._observe(GapSeen(bucket, why))
                self._clear(bucket)
            view = self._views[bucket] = View(message.incarnation, message.seq, message.history)
        view.seq = message.seq
        self._drop_keys(bucket, message.keys)
        for owner, state in message.owners.items():
            if owner in self._keys:
                self._told(owner_bucket(owner), Seen(*state))
        for owner, generation in message.generations.items():
            self._clear_owner(owner)
            view.generations[owner] = generation
        if message.keys or message.generations:
            self._observe(Invalidated(bucket, message.keys, message.origin == self._process))

    def _told(self, bucket: int, seen: Seen) -> None:
        """A key's message tells how far its owner's record is.

        1. An owner changes as a whole, and the message is lost; 2. a key of it is written, and what lies under its
        new name is dropped; 3. this process hears of that, and would go on reading by the old name.
        """
        view = self._views[bucket]
        if view is not None and (view.incarnation != seen.incarnation or view.seq < seen.seq):
            self._observe(GapSeen(bucket, "messages were lost"))
            self._clear(bucket)
            self._views[bucket] = View(seen.incarnation, seen.seq)

    def adopt(self, bucket: int, before: object, seen: Seen) -> View | None:
        """Take over what a script's reply said of a record. None: the reply is older than what is known by now.

        1. a script is sent under the view `before`; 2. Redis answers; 3. a message arrives behind the answer, in the
        same read; 4. the message is applied at once; 5. the caller of the script runs, with an answer from before it.
        """
        view = self._views[bucket]
        if view is not None and view.incarnation == seen.incarnation:
            if view.seq < seen.seq:
                self._observe(GapSeen(bucket, "messages were lost"))
                self._clear(bucket)
                view = self._views[bucket] = View(seen.incarnation, seen.seq)
        elif view is not before:
            return None
        else:
            if view is not None:
                self._observe(GapSeen(bucket, "a new record"))
                self._clear(bucket)
            view = self._views[bucket] = View(seen.incarnation, seen.seq)
        # 1. A script is answered; 2. a message is lost, of its key or with a new generation; 3. the next message or
        # another answer shows more, and the view begins behind it; 4. the caller of the script runs.
        return None if seen.seq < view.since else view

    def adopt_generation(self, owner: str, before: object, seen: Seen, generation: str) -> View | None:
        """The same for the owner's record, and its generation."""
        view = self.adopt(owner_bucket(owner), before, seen)
        if view is None:
            return None
        known = view.generations.get(owner)
        if known is not None and known != generation:
            if view.seq > seen.seq:
                return None
            self._clear_owner(owner)
        view.generations[owner] = generation
        return view

    def wrote(self, texts: Iterable[str], owners: Iterable[str]) -> None:
        """This process's own commit, before `commit()` returns (protocol, Write path 6). `owners`: as a whole."""
        for owner in owners:
            self._clear_owner(owner)
        for text in texts:
            self._drop_keys(bucket_of(text), (text,))

    def forget_all(self) -> None:
        """Something on the channel could not be read: anything may have been missed."""
        self._forget()

    def new_history(self) -> None:
        """What was cached in this process may hold commits that the new primary never had."""
        self._forget()

    def _drop_keys(self, bucket: int, texts: Iterable[str]) -> None:
        self._move(bucket)
        for text in texts:
            key = self._local_key(text)
            if key is not None:
                self._local.discard(key)
                self._flights.dirty_key(bucket, key)

    def _local_key(self, text: str) -> LocalKey | None:
        """None for the keys of owners that this process has not."""
        prefix = text.partition(":")[0]
        if prefix not in self._keys:
            return None
        id: Any
        try:
            id = self._keys.owner(text).id(text)
        except RepocacheError:
            return None
        return (prefix, id)

    def _move(self, bucket: int) -> None:
        view = self._views[bucket]
        if view is not None:
            view.moved += 1

    def _clear(self, bucket: int) -> None:
        """Anything under this record may have been invalidated."""
        if bucket >= BUCKETS:
            for owner in self._owners.get(bucket, ()):
                self._clear_owner(owner)
            return
        self._move(bucket)
        self._local.clear_bucket(bucket)
        self._flights.dirty_bucket(bucket)

    def _clear_owner(self, owner: str) -> None:
        """All keys of an owner were invalidated, and have other names from now on."""
        self._move(owner_bucket(owner))
        self._local.clear_owner(owner)
        self._flights.dirty_owner(owner)
        for view in self._views:
            if view is not None:
                view.prefixes.pop(owner, None)

    def _forget(self) -> None:
        self._views = [None] * (2 * BUCKETS)
        self._local.clear()
        self._flights.dirty_all()
