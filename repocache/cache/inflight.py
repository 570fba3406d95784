"""Loads in flight: who waits for which key, and who may still join.

Joining is a pure decision; an invalidation marks the loads that it met, so that what they bring
stays out of L1 and nobody joins them any more.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable

from repocache.bookmark import Bookmark, Seen
from repocache.cache.belief import Before, BucketView, Doubt
from repocache.cache.entry import CachedRow
from repocache.cache.shelf import LocalKey

NEVER = Before(Doubt())
"""Of a record that was not asked yet: no answer is expected."""
UNKNOWN_VIEWS = (None, None)


class InflightLoad:
    """One read of one key, from the moment that L1 did not have it to its answer; others may join
    it once it loads."""

    __slots__ = (
        "asked",
        "began",
        "beside",
        "bookmark",
        "bucket",
        "cached",
        "direct",
        "invalidated",
        "invalidated_since_fill",
        "invalidations",
        "joined",
        "kept",
        "key",
        "left",
        "lives",
        "over",
        "own",
        "prefix",
        "refused",
        "renews",
        "reply",
        "sent",
        "text",
        "turns",
        "views",
        "waiters",
    )

    def __init__(
        self, key: LocalKey, text: str, bucket: int, own: int, bookmark: Bookmark | None
    ) -> None:
        self.key = key
        self.text = text
        self.bucket = bucket
        #: The owner's bucket.
        self.own = own
        #: Of the session that reads, None: it asks for nothing.
        self.bookmark = bookmark
        #: Past the cache.
        self.direct = False
        #: GET is on its way, None: Redis was not asked by name.
        self.reply: Awaitable[bytes | None] | None = None
        #: How long it has to live, sent along, None: that does not matter.
        self.left: Awaitable[float] | None = None
        #: The same, in seconds.
        self.lives = math.inf
        #: The beginning of the key's name that GET used.
        self.prefix = ""
        #: How often the bucket and the owner had been invalidated when GET was sent.
        self.invalidations = 0
        #: What is believed of the bucket and of the owner: when GET was sent, and later by the
        #: answer of their records.
        self.views: tuple[BucketView | None, BucketView | None] = UNKNOWN_VIEWS
        #: SHA-1 of a value in Redis that could not be read, and is to be replaced.
        self.refused = ""
        #: It may yet turn out to go past the cache: its session wrote in the bucket, and the record
        #: has not answered.
        self.turns = bookmark is not None and not bookmark.buckets.keys().isdisjoint((bucket, own))
        #: Something was asked already, so that the answer may be older than who joins now.
        self.sent = False
        #: What was believed of the bucket and of the owner when their records were last asked.
        self.asked = NEVER, NEVER
        #: The states of both records as they answered, None: they have not yet.
        self.began: tuple[Seen, Seen] | None = None
        #: Write leases whose transactions have ended.
        self.over: tuple[str, ...] = ()
        #: The key was invalidated since it began: nobody joins any more.
        self.invalidated = False
        #: The same, counted anew from the moment that the fill was sent: a fill that lands proves
        #: that nothing touched the key before.
        self.invalidated_since_fill = False
        #: Nobody waits: it reads anew what is there, and is given until then.
        self.renews = False
        #: What its lease was left beside, as it lay there then; of a conditional source, or where
        #: the database may not answer.
        self.beside: CachedRow | None = None
        #: A row past its time that counts for the session, if the database does not answer.
        self.kept: CachedRow | None = None
        #: Another's load, that has this one's answer too.
        self.joined: InflightLoad | None = None
        #: The answer, once it is there.
        self.cached: CachedRow | None = None
        self.waiters: list[asyncio.Future[CachedRow]] = []

    def join(self) -> asyncio.Future[CachedRow]:
        """A future of one's own: a caller that is cancelled takes nobody with it."""
        future: asyncio.Future[CachedRow] = asyncio.get_running_loop().create_future()
        if self.cached is not None:
            future.set_result(self.cached)
        else:
            self.waiters.append(future)
        return future

    def resolve(self, cached: CachedRow) -> None:
        """Answer everybody who waits, and whoever joins from now on."""
        self.cached = cached
        for future in self.waiters:
            if not future.done():
                future.set_result(cached)
        self.waiters.clear()

    def fail(self, error: BaseException) -> None:
        """Fail everybody who still waits."""
        for future in self.waiters:
            if not future.done():
                future.set_exception(error)
                # Retrieved here: a caller that has gone on must not make the loop complain.
                future.exception()
        self.waiters.clear()


def may_join(load: InflightLoad, bookmark: Bookmark | None, *, direct: bool) -> bool:
    """Whether a caller with this bookmark may share the load's answer (protocol, Read path 3).
    `direct`: he goes past the cache.

    Not if the key was invalidated since it took off: it may bring what was there before the
    caller's own commit. Nor if one of both goes past the cache: the caller who would use it may
    have heard of more than a lagging replica shows. Nor if the load promised less than the
    bookmark asks for: a position, or a record state.

    Nor, past the cache, once it was sent, for the primary may answer it, where a position is not
    visibility: 1. two commits are flushed, and both their bookmarks name that position; 2. one of
    them is visible, and its session reads on the primary; 3. the other becomes visible, and its
    session comes to join. Under a lease the record tells.
    """
    if load.invalidated or load.direct != direct:
        return False
    if bookmark is load.bookmark:
        return True
    if load.turns:
        return False
    if bookmark is None:
        return True
    return (not load.sent if direct else is_known(load, bookmark)) and _has_position(load, bookmark)


def is_known(load: InflightLoad, bookmark: Bookmark) -> bool:
    """Whether the records that a load has asked know of all that the session wrote in its bucket,
    and of the owner as a whole."""
    if not bookmark.takes_cached:
        return False
    if load.began is None:
        return bookmark.buckets.keys().isdisjoint((load.bucket, load.own))
    return all(
        bookmark.known_to(at, *seen)
        for at, seen in zip((load.bucket, load.own), load.began, strict=True)
    )


def _has_position(load: InflightLoad, bookmark: Bookmark) -> bool:
    """Whether a load asks for the position that a bookmark asks for, or for more."""
    had = load.bookmark
    if (
        had is None
        or had.history != bookmark.history
        or had.position is None
        or bookmark.position is None
    ):
        return False
    return had.position >= bookmark.position


class InflightLoads:
    """The loads of one process, by key and by bucket; for each key one that uses the cache and
    one that goes past it may be joined. `by_key`: these, by key and whether they go past it."""

    def __init__(self) -> None:
        self.by_key: dict[tuple[LocalKey, bool], InflightLoad] = {}
        self._by_bucket: dict[int, set[InflightLoad]] = {}
        self._renewed: set[LocalKey] = set()

    def __len__(self) -> int:
        return sum(map(len, self._by_bucket.values()))

    def get(self, key: LocalKey, *, direct: bool = False) -> InflightLoad | None:
        return self.by_key.get((key, direct))

    def begin(self, load: InflightLoad) -> None:
        """From now on joined for its key; one that was joined before goes on for its own
        callers."""
        self.by_key[load.key, load.direct] = load
        self._by_bucket.setdefault(load.bucket, set()).add(load)

    def goes_past(self, load: InflightLoad) -> None:
        """It turned out that it goes past the cache."""
        load.turns = False
        if not load.direct:
            self._forget(load)
            load.direct = True
            self.by_key.setdefault((load.key, True), load)

    def begin_renewal(self, load: InflightLoad) -> bool:
        """Never joined. False: one of this key is on its way already."""
        if load.key in self._renewed:
            return False
        self._renewed.add(load.key)
        self._by_bucket.setdefault(load.bucket, set()).add(load)
        return True

    def end(self, load: InflightLoad) -> None:
        self._forget(load)
        if load.renews:
            self._renewed.discard(load.key)
        bucket = self._by_bucket.get(load.bucket)
        if bucket is not None:
            bucket.discard(load)
            if not bucket:
                del self._by_bucket[load.bucket]

    def _forget(self, load: InflightLoad) -> None:
        name = load.key, load.direct
        if self.by_key.get(name) is load:
            del self.by_key[name]

    def invalidate_key(self, bucket: int, key: LocalKey) -> None:
        """The key was invalidated: also loads that are no longer joined keep out of L1."""
        for load in self._by_bucket.get(bucket, ()):
            if load.key == key:
                load.invalidated = load.invalidated_since_fill = True

    def invalidate_bucket(self, bucket: int) -> None:
        for load in self._by_bucket.get(bucket, ()):
            load.invalidated = load.invalidated_since_fill = True

    def invalidate_owner(self, owner: str) -> None:
        for loads in self._by_bucket.values():
            for load in loads:
                if load.key[0] == owner:
                    load.invalidated = load.invalidated_since_fill = True

    def invalidate_all(self) -> None:
        for bucket in self._by_bucket:
            self.invalidate_bucket(bucket)
