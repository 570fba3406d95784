"""The metrics of this process, kept here: for a page, a terminal, a test."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from repocache.errors import UsageError
from repocache.events import EdgePurged, Event, Invalidated
from repocache.observers.catalogue import Kind, Metric
from repocache.observers.hot_keys import HotKeys
from repocache.observers.readings import EventReader

RECENT = 50
"""Invalidations that are kept."""


@dataclass(frozen=True, slots=True)
class HistogramTotal:
    """`count` of values, and their `sum`."""

    count: int
    sum: float

    @property
    def mean(self) -> float:
        """0 of none."""
        return self.sum / self.count if self.count else 0.0


@dataclass(frozen=True, slots=True)
class HeardKeys:
    """An invalidation that this process heard of, at a Unix time in seconds."""

    at: float
    keys: tuple[str, ...]
    mine: bool


NOTHING = HistogramTotal(0, 0.0)


class LiveFigures:
    """An observer. `hot`: its hot keys. `recent`: the last invalidations, the latest first.
    `purged`: when each edge was purged last, Unix time in seconds."""

    def __init__(self) -> None:
        self.hot = HotKeys()
        self.recent: deque[HeardKeys] = deque(maxlen=RECENT)
        self.purged: dict[str, float] = {}
        self._read = EventReader()
        self._values: dict[Metric, dict[tuple[str, ...], float]] = {}
        self._histograms: dict[Metric, dict[tuple[str, ...], HistogramTotal]] = {}

    def __call__(self, event: Event) -> None:
        self.hot(event)
        if isinstance(event, Invalidated):
            self.recent.appendleft(HeardKeys(time.time(), event.keys, event.mine))
        elif isinstance(event, EdgePurged):
            self.purged[event.edge] = time.time()
        for metric, labels, value in self._read(event):
            if metric.kind is Kind.HISTOGRAM:
                found = self._histograms.setdefault(metric, {})
                before = found.get(labels, NOTHING)
                found[labels] = HistogramTotal(before.count + 1, before.sum + value)
            else:
                values = self._values.setdefault(metric, {})
                added = metric.kind is Kind.COUNTER
                values[labels] = values.get(labels, 0.0) + value if added else value
        for metric, labels in self._read.over(event):
            self._values.get(metric, {}).pop(labels, None)

    def value(self, metric: Metric, *labels: str) -> float:
        """Of a counter since the process began, or of a gauge; 0 of what was never told. Raises
        UsageError for what is no metric, or has other labels."""
        _check(metric, labels)
        return self._values.get(metric, {}).get(labels, 0.0)

    def values(self, metric: Metric) -> Mapping[tuple[str, ...], float]:
        """Of a counter or a gauge, by its labels."""
        return dict(self._values.get(metric, {}))

    def histogram(self, metric: Metric, *labels: str) -> HistogramTotal:
        """Of all values with these labels. Raises UsageError as `value`."""
        _check(metric, labels)
        return self._histograms.get(metric, {}).get(labels, NOTHING)

    def histograms(self, metric: Metric) -> Mapping[tuple[str, ...], HistogramTotal]:
        """By their labels."""
        return dict(self._histograms.get(metric, {}))


def _check(metric: object, labels: tuple[str, ...]) -> None:
    if not isinstance(metric, Metric):
        raise UsageError(f"{metric!r}: give a metric of repocache.observers.catalogue")
    if len(labels) != len(metric.labels):
        named = ", ".join(metric.labels) or "none"
        raise UsageError(f"{metric.full_name}: {len(labels)} labels, and it has: {named}")
