"""THE read path: L1, then Redis, then the loader. One of these for each owner.

Owns the order of the tiers and what may enter L1. What a miss costs is the loader's affair, what an
invalidation does the views'.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, cast

from repocache.background.tasks import AT_ONCE
from repocache.bookmark import Bookmark
from repocache.cache.belief import BucketView
from repocache.cache.entry import CachedRow, Source
from repocache.cache.fallback import Fallback
from repocache.cache.freshness import Age
from repocache.cache.inflight import InflightLoad
from repocache.cache.l1_reader import Peek, ReadRecorder, Session, hits_told, l1_peek, observed
from repocache.cache.loader import Loader
from repocache.cache.process_cache import ProcessCache
from repocache.cache.switch import CacheMode, Gate, Switch
from repocache.cache.values import Values, digest
from repocache.errors import CacheUnavailable
from repocache.events import CacheFailed, Served
from repocache.keys import bucket_of, owner_bucket
from repocache.records.names import LEASE


class TieredCache:
    """Answers reads of one owner by id, with a `CachedRow` for every id that is asked for.

    `keys`: of the owner. `peek_l1`: the answer of L1 at once, if it has one that counts for the
    caller's session, which `session_of` tells; `peek_for_caller`: the same for a caller who has no
    use for the other tiers.
    """

    def __init__(
        self, source: Source, shared: ProcessCache, session_of: Callable[[], Session | None]
    ) -> None:
        self._owner = source.keys.prefix
        self._own = owner_bucket(self._owner)
        self.keys = source.keys
        self._fingerprint = source.fingerprint
        self._reads_by_name = source.policy.reads_by_name
        self._caches = source.policy.caches
        self._shared = shared
        self._views = shared.views
        self._inflight = shared.inflight
        self._values = Values(source, shared.settings.max_value, shared.observe)
        self.switch = Switch(shared.settings.mode)
        self._loader = Loader(source, shared, self._values, self.switch.tier)
        self._renewals = self._loader.renewals
        self._aged = source.policy.freshness.is_aged
        self._fallback = Fallback(source, shared, self._values, session_of)
        self._falls_back = source.policy.freshness.falls_back
        self.peek_l1 = self._peek(self.switch.tier, session_of)
        self.peek_for_caller = self._peek(self.switch.callers, session_of)

    def _peek(self, gate: Gate, session_of: Callable[[], Session | None]) -> Peek:
        shared = self._shared
        tell = hits_told(self.keys, shared.local, shared.observe)
        peek = l1_peek(self._owner, shared, gate, tell, session_of)
        return observed(peek, self._owner, shared.observe) if shared.settings.observe_hits else peek

    def turn(self, mode: CacheMode) -> None:
        """Answer in this mode from the next read on. The owner's L1 begins empty when it is used
        again."""
        self.switch.turn(mode)
        self._shared.local.clear_owner(self._owner)

    async def read_past_l1(self, id: Any, bookmark: Bookmark | None) -> CachedRow:
        """One id that L1 had not. As `get_many`."""
        if self._falls_back:
            return (await self.get_many((id,), bookmark))[id]
        load = self._ask(id, bookmark)
        if load.reply is not None:
            cached = await self._answer(load)
            if cached is not None:
                return cached
        return await self._loader.load(load)

    def _note(self, recorder: ReadRecorder, id: Any, cached: CachedRow, load: InflightLoad) -> None:
        """A load that goes past the cache knows no floor."""
        recorder.row(self._shared, self._owner, id, cached)
        if (load.joined or load).direct:
            recorder.behind(f"{self._owner} was read past the cache")

    async def get_many(
        self,
        ids: Sequence[Any],
        bookmark: Bookmark | None,
        recorder: ReadRecorder | None = None,
    ) -> dict[Any, CachedRow]:
        """In the order asked; one round trip a tier. `bookmark`: of the caller's session, None if
        it asks for nothing. `recorder`: of what the session is given.

        Raises DatabaseUnavailable and the database's own errors; never one of the cache.
        """
        found: dict[Any, CachedRow | None] = {}
        asked: list[tuple[Any, InflightLoad]] = []
        since = asyncio.get_running_loop().time() if self._falls_back else None
        for number, id in enumerate(ids, 1):
            found[id] = cached = self.peek_l1(id)
            if cached is None:
                asked.append((id, self._ask(id, bookmark)))
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
        loads: list[tuple[Any, InflightLoad, asyncio.Future[CachedRow]]] = []
        for number, (id, load) in enumerate(asked, 1):
            found[id] = cached = await self._answer(load)
            if cached is None:
                loads.append((id, load, self._loader.load(load)))
            elif recorder is not None:
                self._note(recorder, id, cached, load)
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
        for id, load, answer in loads:
            found[id] = cached = await (
                self._fallback.answer(load, answer, since) if since is not None else answer
            )
            if recorder is not None:
                self._note(recorder, id, cached, load)
        return cast("dict[Any, CachedRow]", found)

    def version(self, cached: CachedRow) -> bytes:
        """The same in every process for the same values, and for them alone. Raises CodecError for
        a row that cannot be kept."""
        if not cached.version:
            cached.version = self._values.version(cached.row)
        return cached.version

    def renew(self, id: Any) -> None:
        """Have one read anew behind that lies in Redis, whatever its age. Of a conditional
        source."""
        text = self.keys.text(id)
        self._renewals.renew(
            InflightLoad((self._owner, id), text, bucket_of(text), self._own, None)
        )

    def _ask(self, id: Any, bookmark: Bookmark | None) -> InflightLoad:
        """GET, if the key's name is known and nobody loads it (protocol, Read path 2: the counter
        is noted before).

        Never for a strict owner: the name may be that of an old generation, and only the script
        sees write leases. Nor where no values lie in Redis.
        """
        text = self.keys.text(id)
        asked = InflightLoad((self._owner, id), text, bucket_of(text), self._own, bookmark)
        asked.direct = not (self._caches and self.switch.shared) or (
            bookmark is not None and not bookmark.takes_cached
        )
        beliefs = self._views.beliefs
        view, own = beliefs[asked.bucket], beliefs[self._own]
        if (
            type(view) is not BucketView
            or type(own) is not BucketView
            or asked.direct
            or not self._reads_by_name
            or (asked.key, False) in self._inflight.by_key
        ):
            return asked
        if bookmark is not None and not self._views.covers((asked.bucket, self._own), bookmark):
            return asked  # only a script tells the state of the records
        prefix = self._prefix(asked.bucket, view, own)
        if prefix is not None:
            asked.views, asked.prefix = (view, own), prefix
            asked.invalidations = view.invalidations + own.invalidations
            try:
                asked.reply = self._shared.records.get(prefix + text)
                if self._aged:
                    asked.left = self._shared.records.left(prefix + text)
            except CacheUnavailable as error:
                self._failed(asked, error)
        return asked

    async def _answer(self, asked: InflightLoad) -> CachedRow | None:
        try:
            if asked.reply is None:
                return None
            value = await asked.reply
            if asked.left is not None:
                asked.lives = await asked.left
            return self._hit(asked, value)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            self._failed(asked, CacheUnavailable("the call was cancelled"))
        except Exception as error:  # noqa: BLE001  # whatever it is, the database answers
            self._failed(asked, error)
        return None

    def _failed(self, asked: InflightLoad, error: Exception) -> None:
        """Past the cache, unless Redis answers and will not give this key: a script may find out
        what is there."""
        asked.direct = isinstance(error, CacheUnavailable)
        self._shared.observe(CacheFailed("get", str(error)))

    def _hit(self, asked: InflightLoad, value: bytes | None) -> CachedRow | None:
        """The row in what GET brought. Of a value under a name that is no longer the key's nothing
        is believed:

        1. GET is sent under the old record's name; 2. the record is made anew; 3. its message comes
        before the reply.
        """
        view, own = asked.views
        if value is None or view is None or own is None or value[:1] == LEASE:
            return None
        beliefs = self._views.beliefs
        if view is not beliefs[asked.bucket] or own is not beliefs[self._own]:
            return None
        if view.prefixes.get(self._owner) != asked.prefix:
            return None
        cached = self._values.decode(asked.text, value, asked.key[1])
        if cached is None:
            asked.refused = digest(value)
            return None
        if self._aged and (age := self._renewals.age(asked, cached, asked.lives)) is not Age.FRESH:
            if age is Age.STALE:
                return cached
            asked.kept = cached
            return None
        told = Served(self._owner, "l2", "", "a value", key=asked.text, size=cached.length)
        self._shared.observe(told)
        if view.invalidations + own.invalidations == asked.invalidations:
            self._loader.keep(asked, cached)
        return cached

    def _prefix(self, bucket: int, view: BucketView, own: BucketView) -> str | None:
        """What stands before the key's text under these views; None while the generation is not
        known."""
        prefix = view.prefixes.get(self._owner)
        if prefix is None:
            generation = own.generations.get(self._owner)
            if generation is None:
                return None
            names = self._shared.namespace
            prefix = names.prefix(bucket, view.incarnation, generation, self._fingerprint)
            view.prefixes[self._owner] = prefix
        return prefix
