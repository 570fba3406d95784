"""Metrics of edges: purges, failures, what waits in the process and in the table."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from rich.console import Console
from starlette.responses import PlainTextResponse

from repocache import events
from repocache.cli.watch import HeardWrites, look_once, picture
from repocache.http import HttpCache, Public
from repocache.observers import LiveFigures
from repocache.observers import catalogue as metrics
from repocache.observers.prometheus import PrometheusMetrics
from repocache.testing import Endpoints
from tests.edges.playing import SERVICE, saying
from tests.observers.watched import watched
from tests.purging.conftest import playing_edge
from tests.shop import Users, in_rotation, until

EDGE = f"fastly {SERVICE}"
NEVER_YET = (
    metrics.EDGE_TAGS, metrics.EDGE_REQUESTS, metrics.EDGE_FAILURES, metrics.EDGE_FOLDED,
    metrics.EDGE_LEFT,
)  # fmt: skip


async def test_a_commit_is_seen_at_the_edge(repocache_endpoints: Endpoints) -> None:
    async with (
        playing_edge() as edge,
        watched(repocache_endpoints, edges=edge.edges) as shop,
    ):
        await in_rotation(shop)
        await shop.rename(1, "x")
        await shop.db.measure()
        assert shop(metrics.PURGES_ROWS, "waiting") == 1
        assert shop(metrics.PURGES_ROWS, "aside") == 0
        assert 0 < shop(metrics.PURGES_AGE) < 60
        await until(lambda: edge.times("user:1") == 2, "purged soon, and again")
        await until(lambda: shop(metrics.EDGE_PURGE, EDGE) >= 2, "both are told")
        assert shop(metrics.EDGE_TAGS, EDGE) >= 4, "the key, and what has too many keys; twice"
        assert shop(metrics.EDGE_REQUESTS, EDGE) == len(edge.playing.purged)
        assert shop(metrics.EDGE_FAILURES, EDGE) == 0

        async def nothing_waits() -> bool:
            await shop.db.measure()
            return shop(metrics.PURGES_ROWS, "waiting") == 0

        await until(nothing_waits, "its row is gone")
        assert shop(metrics.PURGES_AGE) == 0
        assert shop(metrics.EDGE_WAITING, EDGE) == 0


async def test_the_terminal_shows_what_edges_have_still_to_purge(
    repocache_endpoints: Endpoints,
) -> None:
    async with playing_edge() as edge, watched(repocache_endpoints, edges=edge.edges) as shop:
        await in_rotation(shop)
        await shop.rename(1, "x")
        seen = await look_once(shop.db, HeardWrites(), 1.0)
        assert seen.document["purges"]["waiting"] == 1
        console = Console(width=100)
        with console.capture() as captured:
            console.print(picture(seen))
        assert re.search(r"purges +│ 1 waiting, 0 put aside", captured.get())
    async with watched(repocache_endpoints) as shop:
        seen = await look_once(shop.db, HeardWrites(), 1.0)
        assert seen.document["purges"] is None


async def test_what_an_edge_does_not_take_waits_and_counts(repocache_endpoints: Endpoints) -> None:
    async with playing_edge() as edge:
        edge.playing.always = saying(401)
        async with watched(repocache_endpoints, edges=edge.edges) as shop:
            await in_rotation(shop)
            await shop.rename(1, "x")
            await until(lambda: shop(metrics.EDGE_FAILURES, EDGE) >= 1, "it is tried")
            [failed, *_] = shop.seen.of(events.EdgePurgeFailed)
            assert failed.refused
            await shop.db.measure()
            assert shop(metrics.EDGE_WAITING, EDGE) >= 2
        assert shop(metrics.EDGE_LEFT, EDGE) >= 2, "it was not there on leaving either"


async def test_an_edge_that_is_busy_has_not_refused(repocache_endpoints: Endpoints) -> None:
    async with playing_edge() as edge:
        edge.playing.always = saying(503)
        async with watched(repocache_endpoints, edges=edge.edges) as shop:
            await shop.rename(1, "x")
            await until(lambda: shop(metrics.EDGE_FAILURES, EDGE) >= 1, "it is tried")
            assert not any(each.refused for each in shop.seen.of(events.EdgePurgeFailed))
            edge.playing.always = None
            await until(lambda: edge.times("user:1") >= 1, "it is told")


async def test_without_edges_nothing_is_told_of_them(repocache_endpoints: Endpoints) -> None:
    async with watched(repocache_endpoints) as shop:
        await shop.db.measure()
        told = [
            each for each in shop.seen
            if isinstance(each, events.EdgeMeasured | events.PurgesMeasured)
        ]  # fmt: skip
        assert told == []
        assert shop.seen.of(events.OutboxMeasured)


async def test_a_table_that_is_gone_cannot_be_measured(repocache_endpoints: Endpoints) -> None:
    async with (
        playing_edge() as edge,
        watched(repocache_endpoints, edges=edge.edges) as shop,
    ):
        async with shop.db.engine.begin() as connection:
            await connection.exec_driver_sql("DROP TABLE repocache_purges")
        await shop.db.measure()
        assert [each.what for each in shop.seen.of(events.MeasureFailed)] == ["purges"]
        assert shop.seen.of(events.OutboxMeasured), "the outbox can"


def test_counters_are_there_before_they_count() -> None:
    registry = CollectorRegistry()
    PrometheusMetrics(registry)(events.EdgeMeasured(EDGE, 0))
    lines = generate_latest(registry).decode().splitlines()
    for metric in NEVER_YET:
        assert f'repocache_{metric.full_name}_total{{edge="{EDGE}"}} 0.0' in lines


@pytest.mark.parametrize(
    "event, metric, value",
    [
        (events.EdgeBacklogFolded(EDGE, 300), metrics.EDGE_FOLDED, 300),
        (events.EdgeBacklogLeft(EDGE, 7), metrics.EDGE_LEFT, 7),
        (events.EdgePurged(EDGE, 5, 0.2, 3, final=False), metrics.EDGE_REQUESTS, 3),
        (events.EdgePurgeFailed(EDGE, 5, "status 503", 9, False), metrics.EDGE_FAILURES, 1),
    ],
    ids=["folded", "left", "requests", "failed"],
)
def test_what_is_counted(event: events.Event, metric: metrics.Metric, value: float) -> None:
    figures = LiveFigures()
    figures(event)
    assert figures.value(metric, EDGE) == value


def test_purges_are_counted_by_edge() -> None:
    """Each has series of its own."""
    figures = LiveFigures()
    for name in ("a", "b"):
        figures(events.EdgePurged(name, 5, 0.2, 1, final=False))
    assert figures.values(metrics.EDGE_TAGS) == {("a",): 5, ("b",): 5}


async def test_answers_are_counted_by_how_they_came(repocache_endpoints: Endpoints) -> None:
    async with watched(repocache_endpoints) as shop:
        await in_rotation(shop)

        async def page(scope: Any, receive: Any, send: Any) -> None:
            user = await shop.db[Users].require(1)
            await PlainTextResponse(user.name)(scope, receive, send)

        app: Any = HttpCache(page, shop.db, {"/": Public(max_age=0)})
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:

            async def public() -> bool:
                return "public" in (await client.get("/")).headers["cache-control"]

            await until(public, "it may be kept")
        assert shop(metrics.RESPONSES, "rendered", "as declared") == 1
