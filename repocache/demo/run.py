"""The demo from the first server to the closing table."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from repocache.demo.airports import load_airports, read_airports
from repocache.demo.conductor import Conductor, Stage
from repocache.demo.contestant import OWNER
from repocache.demo.faults import SERVER_FAULTS, Fault
from repocache.demo.history import examine
from repocache.demo.report import Report
from repocache.demo.service import ServiceDied
from repocache.demo.show import Show
from repocache.demo.summary import Summary, broken_promises, summarize
from repocache.demo.timeline import Timeline, timeline
from repocache.demo.traffic import Mix
from repocache.testing import Endpoints, Layout, Servers, embedded_servers, given_servers
from repocache.testing.given import are_given
from repocache.testing.topology import fresh_endpoints

TEXTBOOK, OURS = "textbook", "repocache"
LAYOUT = Layout(replicas=2, postgres={"max_connections": "200"})


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """`seconds`: of traffic, for both contestants together."""

    seconds: float = 20.0
    seed: int = 1
    mix: Mix = field(default_factory=Mix)


def run_demo(plan: DemoPlan, show: Show) -> Report:
    """Start servers, or use those that `REPOCACHE_TEST_*_URL` name; let both contestants run,
    judge. Whatever was started is ended on every way out.

    Raises ModuleNotFoundError without the demo's packages, ServerError if a server does not start,
    and ServiceDied if a service process ends by itself.
    """
    rows = read_airports()
    with show, servers_for(show) as (servers, endpoints, faults):
        keys = tuple(str(row[0]) for row in rows)
        stage = Stage(servers, endpoints, faults, keys, plan.mix, plan.seed, plan.seconds / 2)
        show.say(f"loading {len(rows):,} airports")
        asyncio.run(load_airports(endpoints.primary, rows))
        outcomes = [run_contestant(name, stage, show) for name in (TEXTBOOK, OURS)]
    summaries = [each.summary for each in outcomes]
    return Report(
        seconds=plan.seconds,
        seed=plan.seed,
        airports=len(rows),
        services=plan.mix.services,
        callers=plan.mix.callers,
        faults=outcomes[-1].faults,
        contestants=summaries,
        broken=broken_promises(summaries[-1]),
        given=are_given(os.environ),
        timelines=[each.timeline for each in outcomes],
    )


@contextmanager
def servers_for(show: Show) -> Iterator[tuple[Servers, Endpoints, tuple[Fault, ...]]]:
    """Servers, a database on them, and what may be done to them: nothing if they are somebody
    else's."""
    if are_given(os.environ):
        show.say("using the servers that REPOCACHE_TEST_*_URL name: they get no faults")
        servers = given_servers(os.environ)
        with fresh_endpoints(servers) as endpoints:
            yield servers, endpoints, ()
    else:
        show.say("starting PostgreSQL with two replicas, and Valkey")
        with embedded_servers(LAYOUT) as servers:
            yield servers, servers.endpoints(), SERVER_FAULTS


class Course(NamedTuple):
    """What became of one contestant; the faults in words."""

    summary: Summary
    timeline: Timeline
    faults: list[str]


def run_contestant(name: str, stage: Stage, show: Show) -> Course:
    """One contestant from an empty Redis and level replicas."""
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
    history, seconds, faults = outcome.history, outcome.seconds, outcome.faults
    findings = examine(history, OWNER)
    return Course(
        summarize(name, history, findings, seconds),
        timeline(name, history, findings, seconds, faults),
        faults,
    )


def leaves(error: BaseException | None) -> Iterator[BaseException]:
    """The errors in a group, however nested."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from leaves(each)
    elif error is not None:
        yield error


def settle(servers: Servers) -> None:
    """The same beginning for all."""
    servers.redis.clear()
    servers.catch_up()
