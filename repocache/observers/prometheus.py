"""Metrics for Prometheus, an extra: `pip install sqlalchemy-repocache[prometheus]`.

    Database(..., settings=Settings(observe=Observers([LoggingObserver(), PrometheusMetrics()])))

They are in `prometheus_client`'s registry then, beside the application's own. Servers of several
processes share a scrape as `prometheus_client` has it: with PROMETHEUS_MULTIPROC_DIR.
"""

from __future__ import annotations

import math
import os
from functools import partial
from typing import TypeAlias

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from repocache.errors import ConfigurationError
from repocache.events import Event
from repocache.observers.bounded import Series
from repocache.observers.catalogue import CATALOGUE, Kind, Metric, Share
from repocache.observers.readings import EventReader

Family: TypeAlias = Counter | Gauge | Histogram
DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
"""The variable that makes processes share a scrape."""
SHARES: dict[Share, str] = {Share.SUM: "livesum", Share.MOST: "livemax", Share.LEAST: "livemin"}


class PrometheusMetrics:
    """An observer of one database. `registry`: where the metrics are. `namespace`: what their names
    begin with; two databases of one process have two.

    A gauge is there from when it was told first: a database without Redis has no channel that is
    down.

    Raises ConfigurationError where the registry has such metrics already.
    """

    def __init__(
        self, registry: CollectorRegistry = REGISTRY, *, namespace: str = "repocache"
    ) -> None:
        self._read = EventReader()
        self._make = partial(_family, registry=registry, namespace=namespace)
        try:
            self._families = {each: self._make(each) for each in CATALOGUE if not _waits(each)}
        except ValueError as error:
            raise ConfigurationError(
                f"PrometheusMetrics(namespace={namespace!r}): the registry has metrics of these "
                "names: make one for each database, once, and give a second one another namespace "
                f"or registry ({error})"
            ) from error
        self._series = Series(self._child)

    def __call__(self, event: Event) -> None:
        for metric, labels, value in self._read(event):
            child = self._series(metric, labels)
            if isinstance(child, Counter):
                child.inc(value)
            elif isinstance(child, Gauge):
                child.set(value)
            else:
                child.observe(value)
        for metric, labels in self._read.over(event):
            self._end(metric, labels)

    def _end(self, metric: Metric, labels: tuple[str, ...]) -> None:
        """Files that processes share forget nothing: there it is not a number, which no rule
        compares."""
        child = self._series.end(metric, labels)
        if child is not None and DIRECTORY in os.environ:
            assert isinstance(child, Gauge)
            child.set(math.nan)
        elif child is not None:
            self._families[metric].remove(*labels)

    def _child(self, metric: Metric, labels: tuple[str, ...]) -> Family:
        if metric not in self._families:
            self._families[metric] = self._make(metric)
        family = self._families[metric]
        return family.labels(*labels) if labels else family


def _waits(metric: Metric) -> bool:
    """Whether the client would show it as 0 from the beginning, and 0 says something."""
    return metric.kind is Kind.GAUGE and not metric.labels


def _family(metric: Metric, registry: CollectorRegistry, namespace: str) -> Family:
    name, text, labels = metric.full_name, metric.help, metric.labels
    if metric.kind is Kind.COUNTER:
        return Counter(name, text, labels, namespace=namespace, registry=registry)
    if metric.kind is Kind.HISTOGRAM:
        return Histogram(
            name, text, labels, namespace=namespace, registry=registry, buckets=metric.buckets
        )
    return Gauge(
        name,
        text,
        labels,
        namespace=namespace,
        registry=registry,
        multiprocess_mode=SHARES[metric.share],  # type: ignore[arg-type]  # one of its literals
    )
