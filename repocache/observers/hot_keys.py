"""Which keys are asked for most, missed most, and move most bytes: the first some of each, in
bounded memory (as Space-Saving; Metwally, Agrawal and El Abbadi, 2005)."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from repocache.events import Event, Filled, HitSampled, NodesMeasured, Served
from repocache.keys import TAGS

ROOM = 512
"""Keys that are counted at least, and twice as many at the most, for each order."""
LEAST = 0.5
"""A count below this is forgotten."""
FADING = 0.9
"""What is left of a count at each measuring: with one every 10 seconds, half of it after a
minute."""


@dataclass(frozen=True, slots=True)
class HotKey:
    """`count`: about how much lately, at the most; `sure`: how much at the least."""

    key: str
    count: float
    sure: float


class TopCounts:
    """The first of one order. What has no room any more leaves the largest of its counts behind,
    which is taken over by whoever comes: no count is too small."""

    __slots__ = ("_counts", "_floor", "_over", "_room")

    def __init__(self, room: int = ROOM) -> None:
        self._room = room
        self._counts: dict[str, float] = {}
        #: Of each, what was taken over.
        self._over: dict[str, float] = {}
        self._floor = 0.0

    def add(self, key: str, much: float) -> None:
        """It was met so often."""
        counts = self._counts
        if key in counts:
            counts[key] += much
            return
        counts[key], self._over[key] = self._floor + much, self._floor
        if len(counts) >= 2 * self._room:
            self._make_room()

    def _make_room(self) -> None:
        """For half of them at once, so that each costs little."""
        order = sorted(self._counts.items(), key=lambda item: item[1], reverse=True)
        self._keep(dict(order[: self._room]))
        self._floor = max(self._floor, order[self._room][1])

    def fade(self, share: float) -> None:
        """What was counts for less."""
        self._floor *= share
        self._over = {key: over * share for key, over in self._over.items()}
        self._keep(
            {key: count * share for key, count in self._counts.items() if count * share >= LEAST}
        )

    def _keep(self, counts: dict[str, float]) -> None:
        self._counts = counts
        self._over = {key: self._over[key] for key in counts}

    def top(self, most: int) -> list[HotKey]:
        """The first some, the hottest before the others."""
        first = heapq.nlargest(most, self._counts.items(), key=lambda item: item[1])
        return [HotKey(key, count, count - self._over[key]) for key, count in first]


class HotKeys:
    """An observer. Hits in L1 are a sample, and count for those that they stand for. Tokens of tags
    are none: nothing of the application lies under them."""

    def __init__(self) -> None:
        self._reads = TopCounts()
        self._misses = TopCounts()
        self._bytes = TopCounts()

    def __call__(self, event: Event) -> None:
        kind = type(event)
        if kind is Served:  # quicker than isinstance
            if _is_counted(event.key):  # type: ignore[attr-defined]
                self._moved(event.key, event.size)  # type: ignore[attr-defined]
        elif isinstance(event, HitSampled):
            if _is_counted(event.key):
                self._reads.add(event.key, event.hits)
        elif isinstance(event, Filled):
            if _is_counted(event.key):
                self._misses.add(event.key, 1)
                self._moved(event.key, event.size)
        elif isinstance(event, NodesMeasured):
            for each in (self._reads, self._misses, self._bytes):
                each.fade(FADING)

    def _moved(self, key: str, size: int) -> None:
        self._reads.add(key, 1)
        if size:
            self._bytes.add(key, size)

    def reads(self, most: int = 10) -> list[HotKey]:
        """By reads, of all tiers."""
        return self._reads.top(most)

    def misses(self, most: int = 10) -> list[HotKey]:
        """By loads from the database that filled Redis."""
        return self._misses.top(most)

    def bytes(self, most: int = 10) -> list[HotKey]:
        """By bytes to and from Redis."""
        return self._bytes.top(most)


def _is_counted(key: str) -> bool:
    return key != "" and not key.startswith(TAGS)
