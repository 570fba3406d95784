"""Every point of a well-run cache."""

from __future__ import annotations

from dataclasses import replace

from repocache import Observers
from repocache.doctor.checklist import PointVerdict, checklist_of
from repocache.doctor.examination import findings_of
from repocache.events import Event, LoggingObserver, ignore
from tests.doctor.conftest import Ground

PASS, FAIL, UNKNOWN = PointVerdict.PASS, PointVerdict.FAIL, PointVerdict.UNKNOWN


def count(event: Event) -> None:
    """Somebody's metrics."""


async def points(ground: Ground) -> dict[str, PointVerdict]:
    setup = await ground.setup()
    return {each.what: each.verdict for each in checklist_of(setup, findings_of(setup))}


async def test_a_healthy_one(ground: Ground) -> None:
    ground.settings = replace(ground.settings, observe=count)
    found = await points(ground)
    assert FAIL not in found.values(), found
    assert {what for what, verdict in found.items() if verdict is UNKNOWN} == {
        "HTTP headers on what can be cached",
        "no HTTP caching of what cannot be",
        "edge pages are tagged",
        "CDN and edges drop what a commit changes",
        "rates are exported, with alerts",
    }


async def test_what_is_missing(ground: Ground) -> None:
    ground.settings = replace(ground.settings, observe=Observers([LoggingObserver(), ignore]))
    ground.sql("DROP TABLE repocache_outbox CASCADE")
    found = await points(ground)
    assert found["rates are exported, with alerts"] is FAIL
    assert found["no invalidation is lost with a process"] is FAIL
    assert found["each write path invalidates or updates"] is UNKNOWN


async def test_redis_is_away(ground: Ground) -> None:
    ground.at(redis="redis://127.0.0.1:1/0")
    found = await points(ground)
    assert found["L1 is told of changes, or short-lived"] is FAIL
    assert found["the set-up is sound"] is FAIL
    assert found["reads fall back to the primary"] is PASS
