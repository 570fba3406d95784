"""How stale what a reader was shown is: pure, of what both processes noted on the clock that they
share."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

Written = Mapping[int, Sequence[tuple[int, float]]]
"""Of each row the numbers that it was given, ascending, and the seconds of the clock at which the
answer to COMMIT had come."""
Shown = tuple[int, float, int]
"""The row, when the read began, and the number that it was shown."""


@dataclass(frozen=True, slots=True)
class Staleness:
    """`reads`: how many there were. `ages`: of each that was shown what had been replaced before it
    began, the seconds since then."""

    reads: int
    ages: tuple[float, ...]

    @property
    def share(self) -> float:
        """Of the reads that were stale."""
        return len(self.ages) / self.reads if self.reads else 0.0

    def quantile(self, part: float) -> float:
        """Of the ages; 0: nothing was stale."""
        if not self.ages:
            return 0.0
        ordered = sorted(self.ages)
        return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def staleness(shown: Sequence[Shown], written: Written) -> Staleness:
    ages = []
    for id, began, number in shown:
        replaced = replaced_at(written.get(id, ()), number)
        if replaced is not None and replaced < began:
            ages.append(began - replaced)
    return Staleness(len(shown), tuple(ages))


def pooled(rounds: Iterable[Staleness]) -> Staleness:
    """Of all of them together: what is rare may be missing from most rounds."""
    every = list(rounds)
    ages = tuple(age for each in every for age in each.ages)
    return Staleness(sum(each.reads for each in every), ages)


def replaced_at(written: Sequence[tuple[int, float]], number: int) -> float | None:
    """When a row was given a number above this one, None: never."""
    at = bisect_right(written, number, key=lambda each: each[0])
    return written[at][1] if at < len(written) else None
