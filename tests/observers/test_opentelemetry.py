"""Metrics and traces as OpenTelemetry has them."""

from __future__ import annotations

import re

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from repocache.observers import CATALOGUE, Kind
from repocache.observers.opentelemetry import OpenTelemetryMetrics, OpenTelemetryTraces, counted
from repocache.testing import Endpoints
from tests.observers.watched import watched
from tests.shop import Users, until

NAME = re.compile(r"repocache\.[a-z][a-z0-9_]*(\.(duration|size))?")
"""Lower case, words with `_`, namespaces with `.`: the general naming of semantic conventions."""
UNIT = re.compile(r"s|By|\{[a-z]+\}")
"""Of UCUM; counts as annotations."""


async def test_what_is_read_is_measured(repocache_endpoints: Endpoints) -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    metrics = OpenTelemetryMetrics(provider.get_meter("test"))
    async with watched(repocache_endpoints) as here:
        await here.db[Users].get(7)
        await until(lambda: here.db[Users]._peek(7) is not None, "it is in L1")
        await here.db[Users].get(7)
        await here.rename(7, "Ada")
        await here.db.measure()
        for event in here.seen:
            metrics(event)
    data = reader.get_metrics_data()
    assert data is not None
    found = {
        metric.name: (metric.unit, metric.data)
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    provider.shutdown()
    for name, (unit, _) in found.items():
        assert NAME.fullmatch(name), name
        assert UNIT.fullmatch(unit or ""), (name, unit)
    points = {
        (point.attributes or {}).get("repocache.tier"): point.value  # type: ignore[union-attr]
        for point in found["repocache.reads"][1].data_points
    }
    assert points["database"] == 1
    assert points["l1"] >= 1
    assert found["repocache.load.duration"][0] == "s"
    assert found["repocache.value.size"][0] == "By"
    assert found["repocache.l1_memory"][0] == "By"


async def test_statements_and_publications_are_spans_of_the_caller_s(
    repocache_endpoints: Endpoints,
) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    async with watched(repocache_endpoints, beside=OpenTelemetryTraces(tracer)) as here:
        with tracer.start_as_current_span("request") as request:
            await here.db[Users].get(7)
        with tracer.start_as_current_span("write") as write:
            await here.rename(7, "Ada")
    spans = exporter.get_finished_spans()
    loads = [span for span in spans if span.name == "repocache.load"]
    [published] = [span for span in spans if span.name == "repocache.publish"]
    assert [parent_of(each) for each in loads] == [request.get_span_context().span_id]
    assert parent_of(published) == write.get_span_context().span_id
    attributes = dict(loads[0].attributes or {})
    assert attributes["repocache.owner"] == "user"
    assert attributes["db.system.name"] == "postgresql"
    assert loads[0].start_time is not None
    assert loads[0].end_time is not None
    assert loads[0].end_time > loads[0].start_time


def parent_of(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


@pytest.mark.parametrize("metric", CATALOGUE, ids=lambda metric: metric.name)
def test_counts_say_what_they_count(metric: object) -> None:
    assert re.fullmatch(r"[a-z]+", counted(metric))  # type: ignore[arg-type]


def test_kinds_are_those_of_the_catalogue() -> None:
    assert {each.kind for each in CATALOGUE} == set(Kind)
