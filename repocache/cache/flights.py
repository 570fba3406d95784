"""Loads in flight: who waits for which key, and who may still join.

One flight carries a key from the first miss to the answer. Joining is a pure decision; an invalidation marks the
flights that it met, so that what they bring stays out of L1 and nobody joins them any more.
"""

from __future__ import annotations

import asyncio
from typing import Any

from repocache.bookmark import Bookmark, Seen
from repocache.cache.entry import Cell

LocalKey = tuple[str, Any]
"""(owner prefix, id): what L1 and the flights are keyed by."""


class Flight:
    """`began`: the bucket's record state when it took off, None: no view. `direct`: past the cache. `sent`: something
    was asked already, so that the answer may be older than who joins now. `dirty`: the key was invalidated since, so
    nobody joins any more. `touched`: the same, counted anew from the moment that the fill was sent: a fill that lands
    proves that nothing touched the key before. `cell`: the answer, once it is there. `refused`: digest of a value in
    Redis that could not be read, and is to be replaced. `over`: write leases whose transactions have ended. `view`:
    what was believed of the bucket when the record was last asked, and then by its answer."""

    __slots__ = (
        "began",
        "bookmark",
        "bucket",
        "cell",
        "direct",
        "dirty",
        "key",
        "over",
        "refused",
        "sent",
        "text",
        "touched",
        "view",
        "waiters",
    )

    def __init__(self, key: LocalKey, text: str, bucket: int, bookmark: Bookmark | None) -> None:
        self.key = key
        self.text = text
        self.bucket = bucket
        self.bookmark = bookmark
        self.began: Seen | None = None
        self.view: object = None
        self.cell: Cell | None = None
        self.direct = False
        self.dirty = False
        self.touched = False
        self.refused = ""
        self.over: tuple[str, ...] = ()
        self.sent = False
        self.waiters: list[asyncio.Future[Cell]] = []

    def join(self) -> asyncio.Future[Cell]:
        """A future of one's own: a caller that is cancelled takes nobody with it."""
        future: asyncio.Future[Cell] = asyncio.get_running_loop().create_future()
        if self.cell is not None:
            future.set_result(self.cell)
        else:
            self.waiters.append(future)
        return future

    def land(self, cell: Cell) -> None:
        """Answer everybody who waits, and whoever joins from now on."""
        self.cell = cell
        for future in self.waiters:
            if not future.done():
                future.set_result(cell)
        self.waiters.clear()

    def crash(self, error: BaseException) -> None:
        """Fail everybody who still waits."""
        for future in self.waiters:
            if not future.done():
                future.set_exception(error)
                future.exception()  # told: a caller that has gone on does not make it "never retrieved"
        self.waiters.clear()


def may_join(flight: Flight, bookmark: Bookmark | None) -> bool:
    """Whether a caller with this bookmark may share the flight's answer (protocol, Read path 3).

    Not if the key was invalidated since it took off: it may bring what was there before the caller's own commit.
    Nor if the flight promised less than the bookmark asks for: a position, a record state, or to stay away from the
    cache.
    """
    if flight.dirty:
        return False
    if bookmark is None or bookmark is flight.bookmark:
        return True
    if not bookmark.takes_cached and not flight.direct:
        return False
    if not flight.direct and flight.bucket in bookmark.buckets:
        began = flight.began
        if began is None or not bookmark.known_to(flight.bucket, began.incarnation, began.seq):
            return False
    had = flight.bookmark
    if had is None or had.history != bookmark.history or had.position is None or bookmark.position is None:
        return False
    return had.position >= bookmark.position


class Flights:
    """The flights of one process, by key and by bucket."""

    def __init__(self) -> None:
        self._by_key: dict[LocalKey, Flight] = {}
        self._by_bucket: dict[int, set[Flight]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._by_bucket.values()))

    def get(self, key: LocalKey) -> Flight | None:
        return self._by_key.get(key)

    def begin(self, flight: Flight) -> None:
        """From now on joined for its key; one that flew there before goes on for its own passengers."""
        self._by_key[flight.key] = flight
        self._by_bucket.setdefault(flight.bucket, set()).add(flight)

    def end(self, flight: Flight) -> None:
        if self._by_key.get(flight.key) is flight:
            del self._by_key[flight.key]
        bucket = self._by_bucket.get(flight.bucket)
        if bucket is not None:
            bucket.discard(flight)
            if not bucket:
                del self._by_bucket[flight.bucket]

    def dirty_key(self, bucket: int, key: LocalKey) -> None:
        """The key was invalidated: also flights that are no longer joined keep out of L1."""
        for flight in self._by_bucket.get(bucket, ()):
            if flight.key == key:
                flight.dirty = flight.touched = True

    def dirty_bucket(self, bucket: int) -> None:
        for flight in self._by_bucket.get(bucket, ()):
            flight.dirty = flight.touched = True

    def dirty_all(self) -> None:
        for bucket in self._by_bucket:
            self.dirty_bucket(bucket)
