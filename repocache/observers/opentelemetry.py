"""Metrics and traces for OpenTelemetry, an extra:
`pip install sqlalchemy-repocache[opentelemetry]`.

    observe = Observers([LoggingObserver(), OpenTelemetryMetrics(), OpenTelemetryTraces()])

Without an SDK that the application has set up they do nothing, as the API has it.
"""

from __future__ import annotations

import time
from typing import TypeAlias

from opentelemetry.metrics import Counter, Histogram, Meter, get_meter
from opentelemetry.metrics import _Gauge as Gauge
from opentelemetry.trace import SpanKind, Tracer, get_tracer

from repocache.events import Event, Published, Served
from repocache.observers.bounded import Series
from repocache.observers.catalogue import CATALOGUE, Kind, Metric
from repocache.observers.readings import EventReader

Instrument: TypeAlias = Counter | Gauge | Histogram
SCOPE = "repocache"
SUFFIXES = {"seconds": ".duration", "bytes": ".size", "": ""}
"""Names have no units there; what a histogram measures stands in its name."""
UNITS = {"seconds": "s", "bytes": "By"}


class OpenTelemetryMetrics:
    """An observer. `meter`: None: that of the application's provider."""

    def __init__(self, meter: Meter | None = None) -> None:
        self._read = EventReader()
        made = meter or get_meter(SCOPE)
        self._instruments = {each: _instrument(each, made) for each in CATALOGUE}
        self._attributes = Series(_attributes)

    def __call__(self, event: Event) -> None:
        for metric, labels, value in self._read(event):
            instrument, attributes = self._instruments[metric], self._attributes(metric, labels)
            if isinstance(instrument, Counter):
                instrument.add(value, attributes)
            elif isinstance(instrument, Histogram):
                instrument.record(value, attributes)
            else:
                instrument.set(value, attributes)


class OpenTelemetryTraces:
    """An observer: a span for each statement that a read sent to the database, and for each
    publication of a commit's invalidation, within the caller's. `tracer`: None: that of the
    application's provider. What a cache answered has no span: it would cost more than the answer.
    """

    def __init__(self, tracer: Tracer | None = None) -> None:
        self._tracer = tracer or get_tracer(SCOPE)

    def __call__(self, event: Event) -> None:
        if isinstance(event, Served) and event.tier == "database":
            self._span(
                "repocache.load",
                event.seconds,
                {
                    "db.system.name": "postgresql",
                    "repocache.owner": event.owner,
                    "repocache.node": event.node,
                    "repocache.reason": event.why,
                    "repocache.ids": event.count,
                },
            )
        elif isinstance(event, Published):
            self._span(
                "repocache.publish",
                event.seconds,
                {
                    "db.system.name": "redis",
                    "repocache.keys": event.keys,
                    "repocache.tags": event.tags,
                },
            )

    def _span(self, name: str, seconds: float, attributes: dict[str, str | int]) -> None:
        """It has just ended."""
        ended = time.time_ns()
        began = ended - int(seconds * 1e9)
        span = self._tracer.start_span(
            name, kind=SpanKind.CLIENT, attributes=attributes, start_time=began
        )
        span.end(ended)


def instrument_name(metric: Metric) -> str:
    """As OpenTelemetry has it."""
    suffix = SUFFIXES[metric.unit] if metric.kind is Kind.HISTOGRAM else ""
    stem = metric.name.removesuffix("_size") if suffix == ".size" else metric.name
    return f"{SCOPE}.{stem}{suffix}"


def _instrument(metric: Metric, meter: Meter) -> Instrument:
    name, unit = instrument_name(metric), UNITS.get(metric.unit, f"{{{counted(metric)}}}")
    if metric.kind is Kind.COUNTER:
        return meter.create_counter(name, unit, metric.help)
    if metric.kind is Kind.HISTOGRAM:
        bounds = list(metric.buckets)
        return meter.create_histogram(
            name, unit, metric.help, explicit_bucket_boundaries_advisory=bounds
        )
    return meter.create_gauge(name, unit, metric.help)


IRREGULAR = {
    "values_refused": "value",
    "values_big": "value",
    "invalidations_sent": "key",
    "invalidations_applied": "key",
    "commits_unknown": "commit",
    "owner_info": "owner",
    "keys_distinct": "key",
    "batch_keys": "key",
    "channel_up": "channel",
    "link_resting": "link",
    "node_up": "node",
    "bookmarks_refused": "bookmark",
    "shadowed": "difference",
    "verified": "value",
    "primary_waiting": "read",
}


def counted(metric: Metric) -> str:
    """What it counts, one of them."""
    last = metric.name.rpartition("_")[2]
    if metric.name in IRREGULAR:
        return IRREGULAR[metric.name]
    if last.endswith("ies"):
        return last.removesuffix("ies") + "y"
    return last.removesuffix("es") if last.endswith("sses") else last.removesuffix("s")


def _attributes(metric: Metric, labels: tuple[str, ...]) -> dict[str, str]:
    pairs = zip(metric.labels, labels, strict=True)
    return {f"{SCOPE}.{name}": value for name, value in pairs}
