"""Loads in flight: who waits for which key, and who may still join.

One flight carries a key from the first miss to the answer. Joining is a pure decision; an
invalidation marks the flights that it met, so that what they bring stays out of L1 and nobody joins
them any more.
"""

from __future__ import annotations

import asyncio

from repocache.bookmark import Bookmark, Seen
from repocache.cache.belief import Before, BucketView, Doubt
from repocache.cache.entry import CachedRow
from repocache.cache.local_store import LocalKey
from repocache.keys import owner_bucket

NEVER = Before(Doubt())
"""Of a record that was not asked yet: no answer is expected."""


class InflightLoad:
    """`began`: the state of the bucket's record, and of the owner's, when it took off, None: not
    answered yet. `direct`: past the cache; `turns`: or it may yet turn out to go there, since its
    session wrote in the bucket and the record has not answered. `sent`: something was asked
    already, so that the answer may be older than who joins now. `dirty`: the key was invalidated
    since, so nobody joins any more. `touched`: the same, counted anew from the moment that the fill
    was sent: a fill that lands proves that nothing touched the key before. `cell`: the answer, once
    it is there. `refused`: digest of a value in Redis that could not be read, and is to be
    replaced. `over`: write leases whose transactions have ended. `asked`: what was believed of the
    bucket and of the owner when their records were last asked; `views`: what was by their answer.
    `own`: the owner's bucket."""

    __slots__ = (
        "asked",
        "began",
        "bookmark",
        "bucket",
        "cell",
        "direct",
        "dirty",
        "key",
        "over",
        "own",
        "refused",
        "sent",
        "text",
        "touched",
        "turns",
        "views",
        "waiters",
    )

    def __init__(self, key: LocalKey, text: str, bucket: int, bookmark: Bookmark | None) -> None:
        self.key = key
        self.text = text
        self.bucket = bucket
        self.bookmark = bookmark
        self.own = owner_bucket(key[0])
        self.began: tuple[Seen, Seen] | None = None
        self.asked = NEVER, NEVER
        self.views: tuple[BucketView | None, BucketView | None] = (None, None)
        self.cell: CachedRow | None = None
        self.direct = False
        self.turns = bookmark is not None and not bookmark.buckets.keys().isdisjoint(
            (bucket, self.own)
        )
        self.dirty = False
        self.touched = False
        self.refused = ""
        self.over: tuple[str, ...] = ()
        self.sent = False
        self.waiters: list[asyncio.Future[CachedRow]] = []

    def join(self) -> asyncio.Future[CachedRow]:
        """A future of one's own: a caller that is cancelled takes nobody with it."""
        future: asyncio.Future[CachedRow] = asyncio.get_running_loop().create_future()
        if self.cell is not None:
            future.set_result(self.cell)
        else:
            self.waiters.append(future)
        return future

    def resolve(self, cell: CachedRow) -> None:
        """Answer everybody who waits, and whoever joins from now on."""
        self.cell = cell
        for future in self.waiters:
            if not future.done():
                future.set_result(cell)
        self.waiters.clear()

    def fail(self, error: BaseException) -> None:
        """Fail everybody who still waits."""
        for future in self.waiters:
            if not future.done():
                future.set_exception(error)
                # Retrieved here: a caller that has gone on must not make the loop complain.
                future.exception()
        self.waiters.clear()


def may_join(flight: InflightLoad, bookmark: Bookmark | None, *, direct: bool) -> bool:
    """Whether a caller with this bookmark may share the flight's answer (protocol, Read path 3).
    `direct`: he goes past the cache.

    Not if the key was invalidated since it took off: it may bring what was there before the
    caller's own commit. Nor if one of both goes past the cache: the caller who would use it may
    have heard of more than a lagging replica shows. Nor if the flight promised less than the
    bookmark asks for: a position, or a record state.

    Nor, past the cache, once it was sent, for the primary may answer it, where a position is not
    visibility: 1. two commits are flushed, and both their bookmarks name that position; 2. one of
    them is visible, and its session reads on the primary; 3. the other becomes visible, and its
    session comes to join. Under a lease the record tells.
    """
    if flight.dirty or flight.direct != direct:
        return False
    if bookmark is flight.bookmark:
        return True
    if flight.turns:
        return False
    if bookmark is None:
        return True
    return (not flight.sent if direct else _is_known(flight, bookmark)) and _has_position(
        flight, bookmark
    )


def _is_known(flight: InflightLoad, bookmark: Bookmark) -> bool:
    """Whether the records that a flight has asked know of all that the session wrote in its bucket,
    and of the owner as a whole."""
    if not bookmark.takes_cached:
        return False
    if flight.began is None:
        return bookmark.buckets.keys().isdisjoint((flight.bucket, flight.own))
    return all(
        bookmark.known_to(at, *seen)
        for at, seen in zip((flight.bucket, flight.own), flight.began, strict=True)
    )


def _has_position(flight: InflightLoad, bookmark: Bookmark) -> bool:
    """Whether a flight asks for the position that a bookmark asks for, or for more."""
    had = flight.bookmark
    if (
        had is None
        or had.history != bookmark.history
        or had.position is None
        or bookmark.position is None
    ):
        return False
    return had.position >= bookmark.position


class InflightLoads:
    """The flights of one process, by key and by bucket; for each key one that uses the cache and
    one that goes past it may be joined."""

    def __init__(self) -> None:
        self._by_key: dict[tuple[LocalKey, bool], InflightLoad] = {}
        self._by_bucket: dict[int, set[InflightLoad]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._by_bucket.values()))

    def get(self, key: LocalKey, *, direct: bool = False) -> InflightLoad | None:
        return self._by_key.get((key, direct))

    def begin(self, flight: InflightLoad) -> None:
        """From now on joined for its key; one that flew there before goes on for its own
        passengers."""
        self._by_key[flight.key, flight.direct] = flight
        self._by_bucket.setdefault(flight.bucket, set()).add(flight)

    def goes_past(self, flight: InflightLoad) -> None:
        """It turned out that it goes past the cache."""
        flight.turns = False
        if not flight.direct:
            self._forget(flight)
            flight.direct = True
            self._by_key.setdefault((flight.key, True), flight)

    def end(self, flight: InflightLoad) -> None:
        self._forget(flight)
        bucket = self._by_bucket.get(flight.bucket)
        if bucket is not None:
            bucket.discard(flight)
            if not bucket:
                del self._by_bucket[flight.bucket]

    def _forget(self, flight: InflightLoad) -> None:
        name = flight.key, flight.direct
        if self._by_key.get(name) is flight:
            del self._by_key[name]

    def dirty_key(self, bucket: int, key: LocalKey) -> None:
        """The key was invalidated: also flights that are no longer joined keep out of L1."""
        for flight in self._by_bucket.get(bucket, ()):
            if flight.key == key:
                flight.dirty = flight.touched = True

    def dirty_bucket(self, bucket: int) -> None:
        for flight in self._by_bucket.get(bucket, ()):
            flight.dirty = flight.touched = True

    def dirty_owner(self, owner: str) -> None:
        for flights in self._by_bucket.values():
            for flight in flights:
                if flight.key[0] == owner:
                    flight.dirty = flight.touched = True

    def dirty_all(self) -> None:
        for bucket in self._by_bucket:
            self.dirty_bucket(bucket)
