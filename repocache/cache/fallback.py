"""What a caller is given in place of the load that he waits for: where the database is slow or
away.

Owns the order: a row past its time that nobody has invalidated, then one that an invalidation took
away, then the error. Each caller is looked at by himself, for what may be shown to one session may
not be shown to another that waits for the same load. The load goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from repocache.cache.entry import CachedRow, Source
from repocache.cache.inflight import InflightLoad, is_known
from repocache.cache.l1_reader import Session
from repocache.cache.process_cache import ProcessCache
from repocache.cache.values import Values
from repocache.errors import CacheUnavailable, DatabaseUnavailable
from repocache.events import CacheFailed, Served
from repocache.records.names import ASIDE


class Fallback:
    """Of one owner, as its policy's freshness has it."""

    def __init__(
        self,
        source: Source,
        shared: ProcessCache,
        values: Values,
        session_of: Callable[[], Session | None],
    ) -> None:
        self._owner = source.keys.prefix
        self._fingerprint = source.fingerprint
        self._freshness = source.policy.freshness
        self._shared = shared
        self._values = values
        self._session_of = session_of

    async def answer(
        self, asked: InflightLoad, loading: asyncio.Future[CachedRow], since: float
    ) -> CachedRow:
        """`asked`: the caller's own. `since`: when he came, in seconds on the loop's clock. Raises
        what the load raises, and DatabaseUnavailable when he has waited long enough."""
        error: DatabaseUnavailable
        try:
            return await self._waited(asked, loading, since)
        except TimeoutError:
            error = DatabaseUnavailable(f"{asked.text}: not read in time; the load goes on")
        except DatabaseUnavailable as unavailable:
            error = unavailable
        found = kept_for(asked) or await self._taken_away(asked)
        if found is None:
            raise error
        self._shared.observe(Served(self._owner, "aside", "", str(error)))
        session = self._session_of()
        if session is not None:
            session.shown_stale(asked.text)
        return found

    async def _waited(
        self, asked: InflightLoad, loading: asyncio.Future[CachedRow], since: float
    ) -> CachedRow:
        """The load's own answer. Raises TimeoutError when the caller has waited long enough: that
        there is a row past its time may turn out while he does."""
        soft, hard = self._freshness.soft_timeout, self._freshness.hard_timeout
        if soft:
            await asyncio.wait((loading,), timeout=_left(since + soft))
            if not loading.done() and kept_for(asked) is not None:
                raise TimeoutError
        async with asyncio.timeout_at(since + hard if hard else None):
            return await loading

    async def _taken_away(self, asked: InflightLoad) -> CachedRow | None:
        """Never for who may have written it: whose bookmark names a bucket that it lies under, or
        does not tell all of them, or is not covered. Such a bookmark lives as long as the row is
        kept aside (`publication.publisher`)."""
        if not self._freshness.fail_safe or not has_not_written(asked):
            return None
        names, views = self._shared.namespace, self._shared.views
        view, own = views.get(asked.bucket), views.get(asked.own)
        generation = None if own is None else own.generations.get(self._owner)
        if view is None or generation is None:
            return None
        under = view.incarnation, generation, self._fingerprint + ASIDE
        try:
            value = await self._shared.records.get(names.prefix(asked.bucket, *under) + asked.text)
        except CacheUnavailable as error:
            self._shared.observe(CacheFailed("aside", str(error)))
            return None
        return None if value is None else self._values.decode(asked.text, value, asked.key[1])


def has_not_written(asked: InflightLoad) -> bool:
    """Whether the caller's session has written nothing in the buckets of the key and of its
    owner."""
    bookmark = asked.bookmark
    return bookmark is None or (
        bookmark.takes_cached and bookmark.buckets.keys().isdisjoint((asked.bucket, asked.own))
    )


def kept_for(asked: InflightLoad) -> CachedRow | None:
    """A row past its time that counts for the caller: his own GET brought it, or the load that he
    shares has met it in records that know of all that his session wrote."""
    if asked.kept is not None or asked.joined is None:
        return asked.kept
    bookmark = asked.bookmark
    if bookmark is None or is_known(asked.joined, bookmark):
        return asked.joined.kept
    return None


def _left(deadline: float) -> float:
    return max(0.0, deadline - asyncio.get_running_loop().time())
