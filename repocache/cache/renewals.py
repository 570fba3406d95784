"""Rows in Redis that are read anew while callers are given what is there.

Owns when. How is the loader's: a renewal is a load like any other, under a lease of its own that is
left beside the row, and lands only if that lease is still there (protocol, Read path 5).
"""

from __future__ import annotations

import random
from collections.abc import Callable

from repocache.cache.entry import CachedRow, Source
from repocache.cache.freshness import EARLIEST, Age
from repocache.cache.inflight import InflightLoad, InflightLoads
from repocache.events import Observer, Served

SMOOTHED = 8
"""A load's time counts for one of so many in the mean of late."""


class Renewals:
    """Of one owner. `begin`: of a load that nobody waits for."""

    def __init__(
        self,
        source: Source,
        inflight: InflightLoads,
        begin: Callable[[InflightLoad], None],
        observe: Observer,
    ) -> None:
        policy = source.policy
        self._freshness = policy.freshness
        self._inflight = inflight
        self._begin = begin
        self._observe = observe
        self._stale = Served(source.keys.prefix, "l2", "", "stale")
        #: Until this process looks at Redis again, at the most.
        self._unseen = policy.local_ttl
        self._earliest = EARLIEST * policy.ttl
        self._seconds = 0.0
        self.draw = random.random

    def loaded(self, seconds: float) -> None:
        """A statement took so long."""
        self._seconds += (seconds - self._seconds) / SMOOTHED

    def age(self, asked: InflightLoad, cached: CachedRow, left: float) -> Age:
        """Of what lies in Redis for `left` seconds more. If it is to be read anew, that begins, for
        whoever comes later. A negative entry has no age."""
        fresh = self._freshness
        if not fresh.is_aged or cached.row is None:
            return Age.FRESH
        age = fresh.age(left)
        if age is Age.STALE:
            self._observe(self._stale)
            self.renew(asked)
        elif age is Age.FRESH and fresh.is_early(left, self._lead, 1.0 - self.draw()):
            self.renew(asked)
        return age

    @property
    def _lead(self) -> float:
        return min(self._seconds + self._unseen, self._earliest)

    def renew(self, asked: InflightLoad) -> None:
        """Read it anew behind, unless that is under way."""
        load = InflightLoad(asked.key, asked.text, asked.bucket, asked.own, None)
        load.renews = True
        if self._inflight.begin_renewal(load):
            self._begin(load)
