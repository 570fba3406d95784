"""Metrics as Prometheus has them: checked by its own tool, shared by several processes."""

from __future__ import annotations

import asyncio
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from repocache import ConfigurationError, Settings
from repocache.events import (
    BehindMeasured,
    Event,
    LinkMeasured,
    NodesMeasured,
    OwnerMeasured,
    Served,
)
from repocache.observers import CATALOGUE, LiveFigures
from repocache.observers.prometheus import PrometheusMetrics
from repocache.testing import Endpoints
from tests.observers.watched import watched
from tests.shop import QUICK, Users, until

PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")


def samples(text: str) -> Iterator[tuple[str, dict[str, str], float]]:
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            yield sample.name, sample.labels, sample.value


def value(text: str, name: str, **labels: str) -> float:
    return sum(
        found
        for each, given, found in samples(text)
        if each == name and labels.items() <= given.items()
    )


def everything() -> str:
    """Each metric, once."""
    registry = CollectorRegistry()
    metrics = PrometheusMetrics(registry)
    for metric in CATALOGUE:
        metrics._series(metric, tuple(f"some {label}" for label in metric.labels))
    return generate_latest(registry).decode()


def test_all_are_exposed() -> None:
    text = everything()
    for metric in CATALOGUE:
        assert f"# HELP repocache_{metric.full_name}" in text


@needs_promtool
def test_promtool_finds_nothing_to_say() -> None:
    assert PROMTOOL is not None
    checked = subprocess.run(
        [PROMTOOL, "check", "metrics"],
        input=everything(), text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


async def test_they_say_what_the_figures_say(repocache_endpoints: Endpoints) -> None:
    registry = CollectorRegistry()
    metrics = PrometheusMetrics(registry)
    figures = LiveFigures()
    async with watched(repocache_endpoints) as here:
        await here.db[Users].get(7)
        await until(lambda: here.db[Users]._peek(7) is not None, "it is in L1")
        await here.db[Users].get(7)
        await here.db.measure()
        for event in here.seen:
            metrics(event)
            figures(event)
    text = generate_latest(registry).decode()
    for metric in CATALOGUE:
        suffix = "_total" if metric.kind.value == "counter" else ""
        for labels, told in figures.values(metric).items():
            named = dict(zip(metric.labels, labels, strict=True))
            assert value(text, f"repocache_{metric.full_name}{suffix}", **named) == told
        for labels, histogram in figures.histograms(metric).items():
            named = dict(zip(metric.labels, labels, strict=True))
            assert value(text, f"repocache_{metric.full_name}_count", **named) == histogram.count
    assert value(text, "repocache_reads_total", owner="user", tier="l1") >= 1


def test_a_second_one_in_a_registry_is_refused_with_the_remedy() -> None:
    registry = CollectorRegistry()
    PrometheusMetrics(registry)
    with pytest.raises(ConfigurationError, match="another namespace or registry"):
        PrometheusMetrics(registry)
    PrometheusMetrics(registry, namespace="orders_cache")


def test_what_was_never_told_is_not_down() -> None:
    registry = CollectorRegistry()
    metrics = PrometheusMetrics(registry)
    assert "repocache_channel_up" not in generate_latest(registry).decode()
    metrics(LinkMeasured(alive=False, resting=False))
    assert "repocache_channel_up 0.0" in generate_latest(registry).decode()


def test_what_has_not_happened_yet_is_there() -> None:
    registry = CollectorRegistry()
    metrics = PrometheusMetrics(registry)
    metrics(OwnerMeasured("user", "cache-aside", *[0] * 10))
    metrics(NodesMeasured(0, 20, 0, 5.0))
    metrics(BehindMeasured("view", 0, 0.0))
    text = generate_latest(registry).decode()
    for line in (
        'repocache_shadowed_total{owner="user",verdict="wrong"} 0.0',
        'repocache_fills_total{outcome="fenced",owner="user"} 0.0',
        'repocache_verified_total{verdict="wrong"} 0.0',
        'repocache_dead_letters_total{owner="view"} 0.0',
        'repocache_flush_failures_total{owner="view"} 0.0',
    ):
        assert line in text


def test_no_key_nor_id_is_a_label() -> None:
    registry = CollectorRegistry()
    metrics = PrometheusMetrics(registry)
    told: list[Event] = [Served("user", "l2", "", "a value", key="user:secret@x", size=3)]
    for event in told:
        metrics(event)
    assert "secret" not in generate_latest(registry).decode()


WORKER = """
import sys
from repocache.events import NodeMeasured, NodesMeasured, OwnerMeasured, Sampled, Served
from repocache.observers.prometheus import PrometheusMetrics

metrics = PrometheusMetrics()
for _ in range(int(sys.argv[1])):
    metrics(Served("user", "l2", "", "a value", key="user:1", size=10))
metrics(OwnerMeasured("user", "cache-aside", 5, 700, 100, 0, 0, 0, 0, 0, 0, 0))
metrics(Sampled("r1", 0, 0, float(sys.argv[1])))
for nodes in (("r1", "r2"), ("r1",)):  # r2 is taken out
    for node in nodes:
        metrics(NodeMeasured(node, "lost", 0))
    metrics(NodesMeasured(0, 1, 0, 5.0))
print("ready", flush=True)
sys.stdin.readline()
"""


async def test_processes_of_one_server_share_a_scrape(tmp_path: Path) -> None:
    """As gunicorn's workers and uvicorn's do, with PROMETHEUS_MULTIPROC_DIR."""
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    workers = []
    try:
        for reads in ("2", "3"):
            worker = await asyncio.create_subprocess_exec(
                sys.executable, "-c", WORKER, reads,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=environment,
            )  # fmt: skip
            workers.append(worker)
            assert worker.stdout is not None
            async with asyncio.timeout(30):
                assert await worker.stdout.readline() == b"ready\n"
        scrape = (
            "from prometheus_client import CollectorRegistry, generate_latest, multiprocess\n"
            "registry = CollectorRegistry()\n"
            "multiprocess.MultiProcessCollector(registry)\n"
            "print(generate_latest(registry).decode())"
        )
        scraped = await asyncio.create_subprocess_exec(
            sys.executable, "-c", scrape, stdout=asyncio.subprocess.PIPE, env=environment
        )
        text = (await scraped.communicate())[0].decode()
    finally:
        for worker in workers:
            worker.kill()
            await worker.wait()
    assert value(text, "repocache_reads_total", owner="user", tier="l2") == 5
    assert value(text, "repocache_reads_total", owner="user", tier="l1") == 200
    assert value(text, "repocache_l1_entries", owner="user") == 10, "each has its own"
    assert value(text, "repocache_replica_lag_seconds", node="r1") == 3, "both tell of the same"
    assert value(text, "repocache_owner_info", owner="user") == 1
    assert value(text, "repocache_node_up", node="r1") == 0
    assert math.isnan(value(text, "repocache_node_up", node="r2"))
    assert value(text, "repocache_redis_read_bytes_total", owner="user") == 50


def test_the_settings_take_it() -> None:
    metrics = PrometheusMetrics(CollectorRegistry())
    assert Settings(topology=QUICK, observe=metrics).observe is metrics
