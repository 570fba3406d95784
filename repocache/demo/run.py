"""The demo from the first server to the closing table."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field

from repocache.demo.airports import load_airports, read_airports
from repocache.demo.conductor import Conductor, Stage
from repocache.demo.report import Report
from repocache.demo.service import ServiceDied
from repocache.demo.show import Show
from repocache.demo.summary import Summary, broken_promises, summarize
from repocache.demo.traffic import Mix
from repocache.testing import Layout, Servers, embedded_servers

TEXTBOOK, OURS = "textbook", "repocache"
LAYOUT = Layout(replicas=2, postgres={"max_connections": "200"})


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """`seconds`: of traffic, for both contestants together."""

    seconds: float = 20.0
    seed: int = 1
    mix: Mix = field(default_factory=Mix)


def run_demo(plan: DemoPlan, show: Show) -> Report:
    """Start servers, let both contestants run, judge. Whatever was started is ended on every way
    out.

    Raises ModuleNotFoundError without the demo's packages, ServerError if a server does not start,
    and ServiceDied if a service process ends by itself.
    """
    rows = read_airports()
    with show:
        show.say("starting PostgreSQL with two replicas, and Valkey")
        with embedded_servers(LAYOUT) as servers:
            stage = Stage(
                servers, tuple(str(row[0]) for row in rows), plan.mix, plan.seed, plan.seconds / 2
            )
            show.say(f"loading {len(rows):,} airports")
            asyncio.run(load_airports(servers.primary.url(), rows))
            outcomes = [run_contestant(name, stage, show) for name in (TEXTBOOK, OURS)]
    summaries = [summary for summary, _ in outcomes]
    _, faults = outcomes[-1]
    return Report(
        seconds=plan.seconds,
        seed=plan.seed,
        airports=len(rows),
        services=plan.mix.services,
        callers=plan.mix.callers,
        faults=faults,
        contestants=summaries,
        broken=broken_promises(summaries[-1]),
    )


def run_contestant(name: str, stage: Stage, show: Show) -> tuple[Summary, list[str]]:
    """One contestant from an empty Redis and level replicas; its summary, and the faults in
    words."""
    settle(stage.servers)
    show.say(f"{name}: {stage.mix.services} service processes with {stage.mix.callers} users each")
    try:
        outcome = asyncio.run(Conductor(name, stage, show).run())
    except BaseExceptionGroup as group:
        died = list(leaves(group.subgroup(ServiceDied)))
        if not died:
            raise
        raise ServiceDied("; ".join(map(str, died))) from group
    for fault in outcome.faults:
        show.say(f"  {fault}")
    return summarize(name, outcome.history, outcome.seconds), outcome.faults


def leaves(error: BaseException | None) -> Iterator[BaseException]:
    """The errors in a group, however nested."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from leaves(each)
    elif error is not None:
        yield error


def settle(servers: Servers) -> None:
    """The same beginning for all."""
    servers.redis.command("FLUSHALL")
    servers.catch_up()
