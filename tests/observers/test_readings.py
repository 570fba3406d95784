"""What metrics make of events."""

from __future__ import annotations

from typing import cast

import pytest

from repocache import events
from repocache.errors import UsageError
from repocache.observers import CATALOGUE, Kind, LiveFigures
from repocache.observers import catalogue as metrics
from repocache.observers.bounded import MOST_SERIES, Series
from repocache.observers.catalogue import Metric
from repocache.observers.readings import READERS, EventReader

SPEAKS_OF_NOTHING = {
    "Event", "BacklogLeft", "CachedEntityChanged", "ClockJumped", "Degraded",
    "HistoryChanged", "OutboxPutAside", "OutboxRefused", "OutboxUnowned", "Switched",
    "Unguarded",
}  # fmt: skip
"""Rare, or told by a gauge too: they are for the log."""


def measured(hits: int) -> events.OwnerMeasured:
    return events.OwnerMeasured("user", "cache-aside", 1, 700, hits, *[0] * 7)


def hits_of(read: EventReader, hits: int) -> float:
    found = {(each.metric, each.labels): each.value for each in read(measured(hits))}
    return found[metrics.READS, ("user", "l1")]


def test_totals_become_additions() -> None:
    read = EventReader()
    assert [hits_of(read, hits) for hits in (5, 5, 12)] == [5, 0, 7]


def test_a_total_that_begins_anew_is_added_whole() -> None:
    """The database was left and entered again."""
    read = EventReader()
    assert [hits_of(read, hits) for hits in (50, 3)] == [50, 3]


def test_every_event_is_read_or_known_to_be_left_out() -> None:
    known = {
        name
        for name in events.__all__
        if isinstance(found := getattr(events, name), type) and issubclass(found, events.Event)
    }
    kinds: list[type[events.Event]] = [*READERS]
    kinds += [events.OwnerMeasured, events.Served, events.Filled]
    read = {kind.__name__ for kind in kinds}
    assert known - read == SPEAKS_OF_NOTHING


def test_an_event_of_the_application_s_own_says_nothing() -> None:
    class Own(events.Event, frozen=True):
        pass

    assert list(EventReader()(Own())) == []


@pytest.mark.parametrize("metric", CATALOGUE, ids=lambda metric: metric.full_name)
def test_metrics_are_spelled_alike(metric: Metric) -> None:
    assert metric.help.endswith(".")
    assert metric.unit in ("", "seconds", "bytes")
    assert (metric.kind is Kind.HISTOGRAM) == bool(metric.buckets)
    assert list(metric.buckets) == sorted(metric.buckets)


def test_no_two_have_one_name() -> None:
    assert len({each.name for each in CATALOGUE}) == len(CATALOGUE)


def test_series_are_bounded() -> None:
    made: list[tuple[str, ...]] = []

    def make(_: Metric, labels: tuple[str, ...]) -> int:
        made.append(labels)
        return len(made)

    series = Series(make)
    for number in range(3 * MOST_SERIES):
        series(metrics.ROUTES, (f"node{number}", "replica"))
    assert len(made) == MOST_SERIES + 1
    assert made[-1] == ("other", "other")
    assert series(metrics.ROUTES, ("node0", "replica")) == 1, "those that were there stay"


def test_what_is_no_metric_or_has_other_labels_is_refused() -> None:
    """A test of the application's that expects 0 would pass whatever happened."""
    figures, wrong = LiveFigures(), cast("Metric", "reads")
    for ask in (figures.value, figures.histogram):
        with pytest.raises(UsageError, match=r"repocache\.observers\.catalogue"):
            ask(wrong, "user", "l1")
        with pytest.raises(UsageError, match="1 labels, and it has: owner, tier"):
            ask(metrics.READS, "user")
    assert figures.value(metrics.READS, "user", "l1") == 0
