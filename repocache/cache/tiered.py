"""THE read path: L1, then Redis, then the loader. One of these for each owner.

Owns the order of the tiers and what may enter L1. What a miss costs is the loader's affair, what an invalidation
does the views'.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from repocache.bookmark import Bookmark, Seen
from repocache.cache.entry import Cell, Source
from repocache.cache.flights import Flight, may_join
from repocache.cache.loader import Loader
from repocache.cache.near import Near, Session, near_reader, observed
from repocache.cache.shared import Shared
from repocache.cache.switch import CacheMode, Gate, Switch
from repocache.cache.values import Values, digest, is_lease
from repocache.cache.views import View
from repocache.errors import CacheUnavailable
from repocache.events import CacheFailed, Served
from repocache.keys import bucket_of
from repocache.records import Opened


class TieredCache:
    """Answers reads of one owner by id, with a `Cell` for every id that is asked for.

    `near`: the answer of L1 at once, if it has one that counts for the caller's session, which `session_of` tells;
    `at_hand`: the same for a caller who is content with it.
    """

    def __init__(self, source: Source, shared: Shared, session_of: Callable[[], Session | None]) -> None:
        self._owner = source.keys.prefix
        self._keys = source.keys
        self._fingerprint = source.fingerprint
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
        return observed(near, self._owner, self._shared.observe) if self._shared.settings.observe_hits else near

    def turn(self, mode: CacheMode) -> None:
        """Answer in this mode from the next read on. The owner's L1 begins empty when it is used again."""
        self.switch.turn(mode)
        for key in [key for key in self._local.entries if isinstance(key, tuple) and key[0] == self._owner]:
            self._local.discard(key)

    async def get_many(self, ids: Sequence[Any], bookmark: Bookmark | None) -> dict[Any, Cell]:
        """In the order asked; one round trip a tier. `bookmark`: of the caller's session, None if it asks for nothing.

        Raises DatabaseUnavailable and the database's own errors; never one of the cache.
        """
        near = {id: self.near(id) for id in ids}
        fetched = {id: self.fetch(id, bookmark) for id, cell in near.items() if cell is None}
        return {id: cell or await fetched[id] for id, cell in near.items()}

    def fetch(self, id: Any, bookmark: Bookmark | None) -> asyncio.Future[Cell]:
        """Join the flight for this key, or begin one: GET if the key's name is known, else the loader."""
        key = (self._owner, id)
        flight = self._flights.get(key)
        if flight is not None and may_join(flight, bookmark):
            return flight.join()
        text = self._keys.text(id)
        flight = Flight(key, text, bucket_of(text), bookmark)
        self._flights.begin(flight)
        waiter = flight.join()
        flight.direct = not self.switch.shared or (bookmark is not None and not bookmark.covered)
        view = self._views.get(flight.bucket)
        prefix = None if view is None or flight.direct else self._prefix(flight.bucket, view)
        if view is None or prefix is None:
            self._loader.enqueue(flight)
            return waiter
        flight.began = Seen(view.incarnation, view.seq)
        try:
            reply = self._shared.records.get(prefix + text)
        except CacheUnavailable as error:
            self._past_the_cache(flight, error)
        else:
            asyncio.ensure_future(reply).add_done_callback(partial(self._got, flight, view, prefix))
        return waiter

    def _prefix(self, bucket: int, view: View) -> str | None:
        """What stands before the key's text under this view; None while its generation is not known, or if the record
        is of another history than ours: only a script may find out what to do about that."""
        prefix = view.prefixes.get(self._owner)
        if prefix is None:
            generation = view.generations.get(self._owner)
            if generation is None or view.history != self._shared.primary.history:
                return None
            names = self._shared.namespace
            prefix = names.prefix(bucket, view.incarnation, generation, self._fingerprint)
            view.prefixes[self._owner] = prefix
        return prefix

    def _got(self, flight: Flight, view: View, prefix: str, reply: asyncio.Future[bytes | None]) -> None:
        """The GET's reply. Of a value under a name that is no longer the key's nothing is believed:

        1. GET is sent under the old record's name; 2. the record is made anew; 3. its message comes before the reply.
        """
        if reply.cancelled():
            return self._past_the_cache(flight, CacheUnavailable("the call was cancelled"))
        error = reply.exception()
        if isinstance(error, CacheUnavailable):
            return self._past_the_cache(flight, error)
        if error is not None:
            # Redis answers, and will not give this key: a script may find out what is there.
            self._shared.observe(CacheFailed("get", str(error)))
            return self._loader.enqueue(flight)
        value = reply.result()
        named_so = self._views.get(flight.bucket) is view and view.prefixes.get(self._owner) == prefix
        if value is None or not named_so or is_lease(value):
            return self._loader.enqueue(flight)
        cell = self._values.decode(flight.text, value)
        if cell is None:
            flight.refused = digest(value)
            return self._loader.enqueue(flight)
        self.answered(flight, cell, "l2")
        self.ended(flight, keep=True)

    def _past_the_cache(self, flight: Flight, error: BaseException) -> None:
        self._shared.observe(CacheFailed("get", str(error)))
        flight.direct = True
        self._loader.enqueue(flight)

    def opened(self, flight: Flight, answer: Opened) -> bool:
        seen = Seen(answer.incarnation, answer.seq)
        view = self._views.adopt(flight.bucket, flight.view, seen, self._owner, answer.generation)
        if view is None:
            return False
        view.history = self._shared.primary.history  # under which Redis answered
        flight.began = Seen(view.incarnation, view.seq)
        return True

    def answered(self, flight: Flight, cell: Cell, tier: str) -> None:
        if tier == "l2":
            self._shared.observe(self._l2_hit)
        flight.land(cell)

    def ended(self, flight: Flight, keep: bool) -> None:
        """L1 only after an L2 hit or a fill that landed, and only if no invalidation met the flight (protocol, Read
        path 6)."""
        self._flights.end(flight)
        cell = flight.cell
        if cell is None or not keep or flight.touched or not self._keep_local or not self._views.alive:
            return
        if not self.switch.tier.open:
            return
        life = self._values.local_life(cell)
        if life > 0:
            self._local.put(flight.key, cell, flight.bucket, life, cell.size)

    def failed(self, flight: Flight, error: BaseException) -> None:
        self._flights.end(flight)
        flight.crash(error)
