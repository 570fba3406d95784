"""Compares what is cached with the primary: samples it, waits for invalidations on their way,
judges, and repairs.

Owns the order of these steps. What a finding means is `verdict`'s affair.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from repocache.cache.entry import CachedRow, Row, Source
from repocache.cache.local_store import LocalStore
from repocache.cache.values import Values, is_lease
from repocache.errors import CacheUnavailable, OwnerClash
from repocache.events import CacheFailed, Observer, Verified
from repocache.invalidation.batch import Batch
from repocache.records.sampler import SampledKey, Sampler
from repocache.verification.verdict import Found, Verdict, Verification, judge

DRAWS = 20
"""Keys drawn from Redis for each value wanted, at the most: others' keys lie there too."""

Repair = Callable[[Batch], Awaitable[None]]
"""Invalidates everywhere. Raises CacheUnavailable."""


@dataclass(frozen=True, slots=True)
class Examined:
    """One owner. `rows`: the primary's rows by id, past the cache, from a snapshot younger than the
    call."""

    source: Source
    values: Values
    rows: Callable[[Sequence[Any]], Awaitable[Mapping[Any, Row]]]

    @property
    def owner(self) -> str:
        return self.source.keys.prefix

    def place(self, id: Any) -> SampledKey:
        return SampledKey(self.owner, self.source.fingerprint, self.source.keys.text(id))


class Verifier:
    """For the owners of one database. `examined`: by their prefix. `local`, `sampler`: what L1 and
    L2 hold. `repair`: invalidates what is wrong."""

    def __init__(
        self,
        examined: Mapping[str, Examined],
        *,
        local: LocalStore,
        sampler: Sampler,
        repair: Repair,
        observe: Observer,
    ) -> None:
        self._examined = examined
        self._l1 = local
        self._l2 = sampler
        self._repair = repair
        self._observe = observe

    async def verify(self, samples: int, within: float) -> Verification:
        """At most `samples` values of each tier, at random. Raises CacheUnavailable if Redis is
        away, DatabaseUnavailable if the primary is."""
        found: list[Found] = []
        wrong: dict[str, frozenset[str]] = {}
        sampled = [("l1", self._local(samples)), ("l2", await self._shared(samples))]
        for tier, rows in sampled:
            asked = [self.judge(owner, rows[owner], within) for owner in rows]
            for owner, verdicts in zip(rows, await asyncio.gather(*asked), strict=True):
                counts = [sum(each is verdict for each in verdicts.values()) for verdict in Verdict]
                found.append(Found(owner, tier, *counts))
                text = self._examined[owner].source.keys.text
                bad = {text(id) for id, verdict in verdicts.items() if verdict is Verdict.WRONG}
                wrong[owner] = wrong.get(owner, frozenset()) | bad
        batch = Batch({owner: keys for owner, keys in wrong.items() if keys})
        if batch:
            await self._repair(batch)
        verification = Verification(within, tuple(found), len(batch))
        self._observe(Verified(verification.judged, verification.late, verification.wrong, within))
        return verification

    async def judge(
        self, owner: str, sampled: Mapping[Any, Row | None], within: float
    ) -> dict[Any, Verdict]:
        """What these cached values are. Who agrees with the primary at once is not waited for."""
        it = self._examined[owner]
        primary = await it.rows(list(sampled))
        verdicts = {
            id: Verdict.RIGHT for id, row in sampled.items() if self._same(it, row, primary.get(id))
        }
        suspects = {id: row for id, row in sampled.items() if id not in verdicts}
        if suspects:
            await asyncio.sleep(within)
            cached = await self._cached(it, list(suspects))
            primary = await it.rows(list(suspects))
            for id, row in suspects.items():
                verdicts[id] = judge(row, cached[id], primary.get(id))
        return verdicts

    def _same(self, it: Examined, one: Row | None, other: Row | None) -> bool:
        """As bytes: a NaN is then what it is."""
        if one is None or other is None:
            return one is other
        return one == other or it.source.codec.encode(one) == it.source.codec.encode(other)

    async def _cached(self, it: Examined, ids: Sequence[Any]) -> dict[Any, list[Row | None]]:
        """What both tiers have for each id."""
        try:
            values = await self._l2.values([it.place(id) for id in ids])
        except CacheUnavailable as error:
            self._observe(CacheFailed("verify", str(error)))
            values = [None] * len(ids)
        found: dict[Any, list[Row | None]] = {}
        now = time.monotonic()
        for id, value in zip(ids, values, strict=True):
            entry = self._l1.find((it.owner, id))
            cached = [entry.value] if entry is not None and entry.expires > now else []
            if value is not None and not is_lease(value):
                cached.append(it.values.decode(it.source.keys.text(id), value, id))
            found[id] = [each.row for each in cached if isinstance(each, CachedRow)]
        return found

    def _local(self, samples: int) -> dict[str, dict[Any, Row | None]]:
        """From this process's L1. Tags and computed values, which no row stands behind, are left
        out."""
        now = time.monotonic()
        entries = [each for each in self._l1.entries() if each.key[0] in self._examined]
        chosen = random.sample(entries, min(samples, len(entries)))
        found: dict[str, dict[Any, Row | None]] = {}
        for entry in chosen:
            if isinstance(entry.value, CachedRow) and entry.expires > now:
                owner, id = entry.key
                found.setdefault(owner, {})[id] = entry.value.row
        return found

    async def _shared(self, samples: int) -> dict[str, dict[Any, Row | None]]:
        """From Redis, by draws in growing number: nobody knows how much of it is this
        application's."""
        places: set[SampledKey] = set()
        draws = samples
        left = samples * DRAWS
        while left > 0 and len(places) < samples:
            drawn = await self._l2.places(min(draws, left))
            places |= {each for each in drawn if self._is_ours(each)}
            left -= draws
            draws *= 2
        chosen = list(places)[:samples]
        found: dict[str, dict[Any, Row | None]] = {}
        for place, value in zip(chosen, await self._l2.values(chosen), strict=True):
            it = self._examined[place.owner]
            id = it.source.keys.id(place.text)
            cached = (
                None
                if value is None or is_lease(value)
                else it.values.decode(place.text, value, id)
            )
            if cached is not None:
                found.setdefault(place.owner, {})[id] = cached.row
        return found

    def _is_ours(self, place: SampledKey) -> bool:
        it = self._examined.get(place.owner)
        if it is None or it.source.fingerprint != place.fingerprint:
            return False
        try:
            it.source.keys.id(place.text)
        except OwnerClash:
            return False
        return True
