"""THE read path: L1, then Redis, then the loader. One of these for each owner.

Owns the order of the tiers and what may enter L1. What a miss costs is the loader's affair, what an
invalidation does the views'.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from repocache.bookmark import Bookmark, Seen
from repocache.cache.asked import Asked
from repocache.cache.belief import At, BucketView
from repocache.cache.entry import CachedRow, Source
from repocache.cache.inflight import InflightLoad, may_join
from repocache.cache.l1_reader import Near, Session, near_reader, observed
from repocache.cache.loader import OLDER, Loader
from repocache.cache.local_store import LocalKey
from repocache.cache.policies import is_strict
from repocache.cache.process_cache import ProcessCache
from repocache.cache.switch import CacheMode, Gate, Switch
from repocache.cache.values import Values, digest, is_lease
from repocache.errors import CacheUnavailable, DatabaseUnavailable
from repocache.events import CacheFailed, Served
from repocache.history import is_newer
from repocache.keys import bucket_of, owner_bucket
from repocache.records import OpenReply


class TieredCache:
    """Answers reads of one owner by id, with a `CachedRow` for every id that is asked for.

    `near`: the answer of L1 at once, if it has one that counts for the caller's session, which
    `session_of` tells; `at_hand`: the same for a caller who is content with it.
    """

    def __init__(
        self, source: Source, shared: ProcessCache, session_of: Callable[[], Session | None]
    ) -> None:
        self._owner = source.keys.prefix
        self._own = owner_bucket(self._owner)
        self._keys = source.keys
        self._fingerprint = source.fingerprint
        self._strict = is_strict(source.policy)
        self._keep_local = source.policy.local_ttl > 0
        self._shared = shared
        self._local = shared.local
        self._views = shared.views
        self._flights = shared.flights
        self._values = Values(source, shared.settings.max_value, shared.observe)
        self._l2_hit = Served(self._owner, "l2", "", "a value")
        self._loader = Loader(source, shared, self._values, self)
        self.switch = Switch(shared.settings.mode)
        self.near = self._near(self.switch.tier, session_of)
        self.at_hand = self._near(self.switch.callers, session_of)

    def _near(self, gate: Gate, session_of: Callable[[], Session | None]) -> Near:
        near = near_reader(self._owner, self._shared, gate, time.monotonic, session_of)
        return (
            observed(near, self._owner, self._shared.observe)
            if self._shared.settings.observe_hits
            else near
        )

    def turn(self, mode: CacheMode) -> None:
        """Answer in this mode from the next read on. The owner's L1 begins empty when it is used
        again."""
        self.switch.turn(mode)
        self._local.clear_owner(self._owner)

    async def read(self, id: Any, bookmark: Bookmark | None) -> CachedRow:
        """One id that L1 had not. As `get_many`."""
        asked = self._ask(id, bookmark)
        if asked.reply is not None:
            cell = await self._answer(asked)
            if cell is not None:
                return cell
        return await self._load(asked)

    async def get_many(self, ids: Sequence[Any], bookmark: Bookmark | None) -> dict[Any, CachedRow]:
        """In the order asked; one round trip a tier. `bookmark`: of the caller's session, None if
        it asks for nothing.

        Raises DatabaseUnavailable and the database's own errors; never one of the cache.
        """
        near = {id: self.near(id) for id in ids}
        asked = {id: self._ask(id, bookmark) for id, cell in near.items() if cell is None}
        hits = {id: await self._answer(each) for id, each in asked.items()}
        loads = {id: self._load(asked[id]) for id, cell in hits.items() if cell is None}
        return {id: cell or hits[id] or await loads[id] for id, cell in near.items()}

    def _ask(self, id: Any, bookmark: Bookmark | None) -> Asked:
        """GET, if the key's name is known and nobody loads it (protocol, Read path 2: the counter
        is noted before).

        Never for a strict owner: the name may be that of an old generation, and only the script
        sees write leases.
        """
        text = self._keys.text(id)
        asked = Asked((self._owner, id), text, bucket_of(text), bookmark)
        asked.direct = not self.switch.shared or (
            bookmark is not None and not bookmark.takes_cached
        )
        view, own = self._views.get(asked.bucket), self._views.get(self._own)
        if (
            view is None
            or own is None
            or asked.direct
            or self._strict
            or self._flights.get(asked.key) is not None
        ):
            return asked
        if bookmark is not None and not self._views.covers((asked.bucket, self._own), bookmark):
            return asked  # only a script tells the state of the records
        prefix = self._prefix(asked.bucket, view, own)
        if prefix is not None:
            asked.views, asked.prefix, asked.moved = (view, own), prefix, view.moved + own.moved
            try:
                asked.reply = self._shared.records.get(prefix + text)
            except CacheUnavailable as error:
                self._failed(asked, error)
        return asked

    async def _answer(self, asked: Asked) -> CachedRow | None:
        try:
            return None if asked.reply is None else self._hit(asked, await asked.reply)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            self._failed(asked, CacheUnavailable("the call was cancelled"))
        except Exception as error:  # noqa: BLE001  # whatever it is, the database answers
            self._failed(asked, error)
        return None

    def _failed(self, asked: Asked, error: Exception) -> None:
        """Past the cache, unless Redis answers and will not give this key: a script may find out
        what is there."""
        asked.direct = isinstance(error, CacheUnavailable)
        self._shared.observe(CacheFailed("get", str(error)))

    def _hit(self, asked: Asked, value: bytes | None) -> CachedRow | None:
        """The cell in what GET brought. Of a value under a name that is no longer the key's nothing
        is believed:

        1. GET is sent under the old record's name; 2. the record is made anew; 3. its message comes
        before the reply.
        """
        if value is None or asked.views is None or is_lease(value):
            return None
        view, own = asked.views
        if view is not self._views.get(asked.bucket) or own is not self._views.get(self._own):
            return None
        if view.prefixes.get(self._owner) != asked.prefix:
            return None
        cell = self._values.decode(asked.text, value, asked.key[1])
        if cell is None:
            asked.refused = digest(value)
            return None
        self._shared.observe(self._l2_hit)
        if view.moved + own.moved == asked.moved:
            self._keep(asked.key, cell, asked.bucket)
        return cell

    def _load(self, asked: Asked) -> asyncio.Future[CachedRow]:
        """Join the load of this key that is under way, or begin one. Of a strict owner nobody is
        given an answer that was asked for before he came. Raises DatabaseUnavailable for a session
        that knows of a newer timeline than this process, whose primary has been replaced."""
        flight = self._flights.get(asked.key, direct=asked.direct)
        joins = flight is not None and may_join(flight, asked.bookmark, direct=asked.direct)
        if flight is not None and joins and not (self._strict and flight.sent):
            return flight.join()
        if asked.bookmark is not None and is_newer(
            asked.bookmark.history, self._shared.primary.history
        ):
            raise DatabaseUnavailable(OLDER)
        flight = InflightLoad(asked.key, asked.text, asked.bucket, asked.bookmark)
        flight.direct = asked.direct
        flight.refused = asked.refused
        self._flights.begin(flight)
        waiter = flight.join()
        self._loader.enqueue(flight)
        return waiter

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

    def opened(self, flight: InflightLoad, answer: OpenReply) -> bool:
        flight.turns = False
        of_bucket, of_owner = flight.asked
        at, owner = At(answer.incarnation, answer.seq, answer.tip), answer.owner
        own_at = At(owner.incarnation, owner.seq, owner.tip)
        own = self._views.adopt_generation(self._owner, of_owner, own_at, answer.generation)
        view = self._views.adopt(flight.bucket, of_bucket, at)
        if view is None or own is None:
            return False
        flight.views = view, own
        flight.began = Seen(at.incarnation, at.seq), Seen(own_at.incarnation, own_at.seq)
        return True

    def answered(self, flight: InflightLoad, cell: CachedRow, tier: str) -> None:
        if tier == "l2":
            self._shared.observe(self._l2_hit)
        flight.resolve(cell)

    def ended(self, flight: InflightLoad, keep: bool) -> None:
        """L1 only after an L2 hit or a fill that landed, and only if no invalidation met the flight
        (protocol, Read path 6), nor could one have been missed unnoticed:

        1. the connection is lost under a flight, and all views go; 2. its fill lands on the next
        one; 3. a message is lost; 4. another makes the view, where there was none and hence no gap.
        """
        self._flights.end(flight)
        cell, (view, own) = flight.cell, flight.views
        same = view is self._views.get(flight.bucket) and own is self._views.get(flight.own)
        if cell is not None and keep and not flight.touched and same:
            self._keep(flight.key, cell, flight.bucket)

    def _keep(self, key: LocalKey, cell: CachedRow, bucket: int) -> None:
        if not self._keep_local or not self._views.alive or not self.switch.tier.open:
            return
        life = self._values.local_life(cell)
        if life > 0:
            self._local.put(key, cell, bucket, life, cell.size)

    def failed(self, flight: InflightLoad, error: BaseException) -> None:
        self._flights.end(flight)
        flight.fail(error)
