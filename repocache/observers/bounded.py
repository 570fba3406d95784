"""Label sets of metrics, bounded: whatever an application names its owners and nodes, a metric has
only so many series."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from repocache.observers.catalogue import Metric
from repocache.observers.readings import OTHER

T = TypeVar("T")

MOST_SERIES = 2_000
"""Of one metric, in one process."""


class Series(Generic[T]):
    """What an exporter makes for a metric and its labels, made once. Beyond so many of one metric
    they are one, whose labels are all "other"."""

    def __init__(self, make: Callable[[Metric, tuple[str, ...]], T]) -> None:
        self._make = make
        self._made: dict[tuple[Metric, tuple[str, ...]], T] = {}
        self._count: dict[Metric, int] = {}

    def __call__(self, metric: Metric, labels: tuple[str, ...]) -> T:
        found = self._made.get((metric, labels))
        if found is None:
            count = self._count.get(metric, 0)
            if count >= MOST_SERIES and labels != (others := (OTHER,) * len(labels)):
                return self(metric, others)
            self._count[metric] = count + 1
            found = self._made[metric, labels] = self._make(metric, labels)
        return found

    def end(self, metric: Metric, labels: tuple[str, ...]) -> T | None:
        """Forget it: there is room for another. None: it was never made."""
        found = self._made.pop((metric, labels), None)
        if found is not None:
            self._count[metric] -= 1
        return found
