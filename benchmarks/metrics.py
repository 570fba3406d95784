"""What metrics cost: the same reads and commits with no observer, with each kind, and with all of
them.

    python3 dev.py benchmark metrics

Without means `repocache.events.ignore`. The hits are of one process; the misses and commits of one
caller, whose time is mostly the servers'.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

from prometheus_client import CollectorRegistry

from benchmarks._harness import (
    Bar,
    Call,
    Effort,
    Load,
    Open,
    in_a_row,
    interleave,
    run,
    under,
)
from benchmarks._hits import warm
from benchmarks._shop import SharedUsers, Users, database, fill, servers
from benchmarks.hits_local import into_l1
from repocache.events import Observer, Observers, ignore
from repocache.observers import HotKeys, LiveFigures
from repocache.observers.opentelemetry import OpenTelemetryMetrics, OpenTelemetryTraces
from repocache.observers.prometheus import PrometheusMetrics
from repocache.testing import Endpoints

KEYS = 2_000
NONE = "no observer"
PROMETHEUS = "Prometheus"


def everything() -> Observer:
    return Observers([prometheus(), OpenTelemetryMetrics(), OpenTelemetryTraces(), HotKeys()])


def prometheus() -> Observer:
    return PrometheusMetrics(CollectorRegistry())


OBSERVERS: dict[str, Callable[[], Observer]] = {
    NONE: lambda: ignore,
    PROMETHEUS: prometheus,
    "OpenTelemetry, no SDK": OpenTelemetryMetrics,
    "live figures": LiveFigures,
    "all of them": everything,
}
L1_BARS = (Bar(PROMETHEUS, NONE, "cpu", 1.15),)


@asynccontextmanager
async def l1(ends: Endpoints, observer: Callable[[], Observer]) -> AsyncIterator[Call]:
    async with database(ends, Users, observe=observer()) as db:
        await into_l1(db[Users], range(KEYS))
        yield db[Users].get


@asynccontextmanager
async def l2(ends: Endpoints, observer: Callable[[], Observer]) -> AsyncIterator[Call]:
    async with database(ends, SharedUsers, observe=observer()) as db:
        users = db[SharedUsers]
        await warm(users.get, KEYS, KEYS // 10)
        yield users.get


@asynccontextmanager
async def misses(ends: Endpoints, observer: Callable[[], Observer]) -> AsyncIterator[Call]:
    async with database(ends, Users, observe=observer()) as db:
        await db.clear(Users)
        yield db[Users].get


@asynccontextmanager
async def commits(ends: Endpoints, observer: Callable[[], Observer]) -> AsyncIterator[Call]:
    async with database(ends, Users, observe=observer()) as db:

        async def commit(number: int) -> None:
            async with db.unit_of_work() as work:
                (await work[Users].require(number)).age += 1
                await work.commit()

        yield commit


Opened = Callable[[Endpoints, Callable[[], Observer]], AbstractAsyncContextManager[Call]]


def observed(opened: Opened, ends: Endpoints) -> dict[str, Open]:
    """A contestant for each observer."""
    return {name: partial(opened, ends, made) for name, made in OBSERVERS.items()}


async def benchmark(effort: Effort) -> None:
    with servers() as running:
        ends = await fill(running, KEYS)
        table = await interleave(
            "L1 hit, one hot key, with each observer",
            observed(l1, ends),
            in_a_row([7] * KEYS, effort.closed / 4),
            4 * effort.rounds,
        )
        table.show(L1_BARS)
        for title, opened, load in (
            ("L2 hit, 32 callers", l2, Load(32, KEYS)),
            ("a miss, 32 callers", misses, Load(32, KEYS, once=True)),
            ("a commit, one caller", commits, Load(1, KEYS)),
        ):
            table = await interleave(
                f"{title}, with each observer",
                observed(opened, ends),
                under(load, effort.closed),
                effort.rounds,
            )
            table.show(())


if __name__ == "__main__":
    run(benchmark)
