"""What a cached value is found to be, and what many such findings say: pure values."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum

from repocache.cache.entry import Row
from repocache.verification.confidence import CONFIDENCE, highest_share


class Verdict(Enum):
    """`RIGHT`: as in the primary. `MOVED`: the row changed meanwhile, which says nothing. `LATE`:
    it was older than the primary's row, and gone or replaced in time: the invalidation had been on
    its way. `WRONG`: it was still there."""

    RIGHT = "right"
    MOVED = "moved"
    LATE = "late"
    WRONG = "wrong"


def judge(
    sampled: Row | None, cached_now: Collection[Row | None], primary_now: Row | None
) -> Verdict:
    """Of a value that the primary did not have when it was sampled, some seconds later. None: no
    such row.

    `cached_now`: what the tiers hold for the key by now, nothing or more than one value.
    """
    if sampled not in cached_now:
        return Verdict.LATE
    return Verdict.MOVED if sampled == primary_now else Verdict.WRONG


@dataclass(frozen=True, slots=True)
class Found:
    """How many values of one owner in one tier ("l1", "l2") were found to be what."""

    owner: str
    tier: str
    right: int
    moved: int
    late: int
    wrong: int

    @property
    def judged(self) -> int:
        return self.right + self.late + self.wrong


@dataclass(frozen=True, slots=True)
class Verification:
    """What a sample says of all that is cached. `within`: seconds after which a value that the
    primary no longer has counts as wrong. `repaired`: wrong keys that were invalidated."""

    within: float
    found: tuple[Found, ...]
    repaired: int

    @property
    def judged(self) -> int:
        """Values that say something: all but those that moved."""
        return sum(each.judged for each in self.found)

    @property
    def late(self) -> int:
        return sum(each.late for each in self.found)

    @property
    def wrong(self) -> int:
        return sum(each.wrong for each in self.found)

    @property
    def wrong_share(self) -> float:
        """No more than this share of the cached values is wrong for longer than `within`, at 95 %
        confidence."""
        return highest_share(self.wrong, self.judged)

    @property
    def nines(self) -> float:
        """As in "four nines": 4.0 for a `wrong_share` of 0.0001."""
        return max(0.0, -math.log10(self.wrong_share))

    def __str__(self) -> str:
        return (
            f"{self.nines:.1f} nines within {self.within:g} s at {CONFIDENCE:.0%} confidence: of "
            f"{self.judged} cached values {self.wrong} wrong, {self.late} late, {self.repaired} "
            "repaired"
        )
