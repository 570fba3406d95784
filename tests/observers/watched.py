"""A database whose figures are kept."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from repocache import Database, Settings
from repocache.events import Observer, Observers, ignore
from repocache.observers import Kind, LiveFigures, Metric
from repocache.runtime.edges import DeclaredEdges
from repocache.testing import Endpoints
from tests.behind.counters import OFTEN, page_views
from tests.shop import QUICK, Seen, Shop, Users

PageViews = page_views(OFTEN)


@dataclasses.dataclass
class Watched(Shop):
    """`figures`: of this database alone."""

    figures: LiveFigures

    def __call__(self, metric: Metric, *labels: str) -> float:
        """Its value; of a histogram, how many there were."""
        if metric.kind is Kind.HISTOGRAM:
            return self.figures.histogram(metric, *labels).count
        return self.figures.value(metric, *labels)


@asynccontextmanager
async def watched(
    ends: Endpoints,
    repositories: Iterable[Any] = (Users,),
    settings: Settings | None = None,
    beside: Observer = ignore,
    edges: DeclaredEdges | None = None,
) -> AsyncIterator[Watched]:
    """Nothing is measured but when it is asked for."""
    figures, seen = LiveFigures(), Seen()
    given = settings or Settings(topology=QUICK)
    observe = Observers([figures, seen, beside])
    async with Database(
        ends.primary,
        replicas=ends.replicas,
        redis=ends.redis or None,
        repositories=repositories,
        settings=dataclasses.replace(given, observe=observe, measure_every=3_600),
        edges=edges,
    ) as db:
        yield Watched(db, seen, figures)
