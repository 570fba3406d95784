"""Grafana's dashboard: a real Prometheus runs each query of it, on figures of a real service."""

from __future__ import annotations

import asyncio
import json
import math
import random
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from starlette.responses import PlainTextResponse

from repocache import CachedQueries, CacheMode
from repocache.http import HttpCache, Public, warm
from repocache.observers import CATALOGUE, Kind
from repocache.observers.monitoring import grafana_dashboard
from repocache.observers.prometheus import PrometheusMetrics
from repocache.testing import Endpoints
from tests.observers.running_prometheus import Prometheus, needs_prometheus, scraping
from tests.observers.watched import PageViews, Watched, watched
from tests.purging.conftest import playing_edge
from tests.shop import User, Users, in_rotation

BOARD: dict[str, Any] = json.loads(grafana_dashboard())
PANELS = [each for each in BOARD["panels"] if each["type"] != "row"]
QUERIES = [
    pytest.param(target["expr"], id=f"{panel['title']}, {target['legendFormat']}")
    for panel in PANELS
    for target in panel["targets"]
]


class Found(Users):
    """With answers of its selects."""

    queries = CachedQueries(ttl=60, local_ttl=5)


async def visits(here: Watched, other: Watched, chance: random.Random) -> None:
    """A little of everything that a healthy service does."""
    users, views = here.db[Found], here.db[PageViews]
    id = chance.randrange(1, 60)
    await users.get(id)
    await users.get_many(range(id, id + 5))
    await users.find(User.age < 11)
    async with here.db.causal_session():
        async with here.db.unit_of_work() as work:
            (await work[Found].require(id)).name = f"n{chance.random()}"
            await work.commit()
        await users.get(id)
    await other.rename(id % 60 + 1, "Ada")
    await views.add(id, hits=1)
    here.db.switch(Found, chance.choice([CacheMode.ON, CacheMode.SHARED]))
    await users.get(chance.randrange(1, 60))
    await here.db.measure()


async def goes_on(here: Watched, other: Watched) -> None:
    """Until it is cancelled."""
    chance, round_ = random.Random(7), 0
    app: Any = HttpCache(PlainTextResponse("page"), here.db, {"/": Public(max_age=0)})
    while True:
        await visits(here, other, chance)
        await warm(app, ["/"])
        round_ += 1
        if round_ % 20 == 0:
            await here.db.verify(samples=10, within=1.0)
        await asyncio.sleep(0.05)


def asked(expression: str) -> str:
    """As Grafana would ask."""
    for name, value in (
        ("$__rate_interval", "10s"), ("$__range", "1m"), ("$job", ".*"),
    ):  # fmt: skip
        expression = expression.replace(name, value)
    return expression


async def says_something(prometheus: Prometheus, expression: str) -> bool:
    """Whether it has a series, and a number."""
    found = await prometheus.query(asked(expression))
    return any(math.isfinite(float(each["value"][1])) for each in found)


async def silent(prometheus: Prometheus, expressions: dict[str, str]) -> list[str]:
    """Those that say nothing, after a while."""
    left = dict(expressions)
    with suppress(TimeoutError):
        async with asyncio.timeout(45):
            while left:
                for name, expression in list(left.items()):
                    if await says_something(prometheus, expression):
                        del left[name]
                await asyncio.sleep(0.5)
    return sorted(left)


@needs_prometheus
async def test_a_real_prometheus_answers_each_query(
    repocache_endpoints: Endpoints, tmp_path: Path
) -> None:
    registry = CollectorRegistry()
    metrics = PrometheusMetrics(registry)
    queries = {str(each.id): str(each.values[0]) for each in QUERIES}
    async with (
        playing_edge() as edge,
        watched(repocache_endpoints, (Found, PageViews), beside=metrics, edges=edge.edges) as here,
        watched(repocache_endpoints) as other,
        scraping(registry, tmp_path) as prometheus,
    ):
        await in_rotation(here)
        traffic = asyncio.create_task(goes_on(here, other))
        try:
            left = await silent(prometheus, queries)
            assert not traffic.done(), traffic.exception()
            assert left == []
            rules = await prometheus.rules()
            assert [each for each in rules if each["health"] == "err"] == []
            recorded = {
                each["name"]: each["name"]
                for each in rules
                if each["type"] == "recording" and not each["name"].endswith("1d")
            }
            assert await silent(prometheus, recorded) == []
            firing = await prometheus.query('ALERTS{alertstate="firing"}')
            assert [each["metric"]["alertname"] for each in firing] == []
        finally:
            traffic.cancel()
            await asyncio.gather(traffic, return_exceptions=True)


def exposed() -> Iterator[str]:
    """Names as queries have them."""
    for each in CATALOGUE:
        if each.kind is Kind.HISTOGRAM:
            yield from (f"repocache_{each.full_name}{end}" for end in ("_bucket", "_sum", "_count"))
        else:
            yield f"repocache_{each.full_name}{'_total' if each.kind is Kind.COUNTER else ''}"


def test_it_asks_for_metrics_that_there_are() -> None:
    named = set(re.findall(r"\brepocache_\w+", grafana_dashboard()))
    assert named - set(exposed()) == set()


def test_every_metric_is_on_it() -> None:
    text_ = grafana_dashboard()
    missing = [each.name for each in CATALOGUE if f"repocache_{each.full_name}" not in text_]
    assert sorted(missing) == LEFT_OUT


LEFT_OUT = ["node_reads"]
"""Of the moment of a measuring alone."""


def test_panels_do_not_lie_upon_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
    assert len({each["id"] for each in BOARD["panels"]}) == len(BOARD["panels"])


def test_another_namespace() -> None:
    text_ = grafana_dashboard(namespace="orders_cache")
    assert "orders_cache_reads_total" in text_
    assert "repocache_" not in text_
