"""One set-up examined: its facts gathered, and every check asked.

Owns the order, and that a server which does not answer is a finding.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence

from sqlalchemy import Table

from repocache.doctor.edge_checks import EDGE_CHECKS, deaf_edges
from repocache.doctor.edge_facts import EdgeFacts, read_edges
from repocache.doctor.finding import Finding, Severity
from repocache.doctor.postgres_facts import NodeFacts, read_node
from repocache.doctor.primary_checks import PRIMARY_CHECKS
from repocache.doctor.redis_checks import REDIS_CHECKS
from repocache.doctor.redis_facts import Clock, read_redis
from repocache.doctor.replica_checks import REPLICA_CHECKS
from repocache.doctor.settings_checks import SETTINGS_CHECKS, open_ways
from repocache.doctor.setup import Connections, SetupFacts
from repocache.doctor.table_facts import read_tables
from repocache.events import Unguarded
from repocache.invalidation.outbox import OutboxMode
from repocache.nodes.primary import NAME
from repocache.runtime.description import describe
from repocache.runtime.plan import DatabasePlan

ORDER = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.NOTE: 2}


async def gather(
    plan: DatabasePlan,
    unguarded: Sequence[Unguarded],
    *,
    processes: int = 1,
    clock: Clock = time.time,
) -> SetupFacts:
    """`unguarded`: what the configuration leaves open. `processes`: that are to run. `clock`: of
    this process, Unix time in seconds. The database need not be started, and is not. Raises nothing
    of a server's."""
    settings, topology = plan.settings, plan.topology
    is_postgres = topology.write_engine.dialect.name == "postgresql"
    owners = describe(plan)

    async def node(name: str) -> NodeFacts:
        if not is_postgres:
            return NodeFacts(name=name)
        return await read_node(name, topology.engine_beside(name), clock=clock)

    names = [each.name for each in topology.replicas]
    redis = None
    if plan.address is not None:
        redis = await read_redis(
            plan.address,
            settings,
            settings.link.connect_timeout,
            behind=bool(plan.behind),
            clock=clock,
        )
    primary = await node(NAME)
    # The primary first: a replica that has replayed less than it had written by then is behind.
    replicas = await asyncio.gather(*map(node, names))
    tables = None
    if is_postgres and not primary.unreachable:
        in_schemas = plan.registry.schemas.names
        concerning = [
            each
            for each in plan.registry.owned.concerning
            if isinstance(each, Table) and (each.schema is not None or each.name not in in_schemas)
        ]
        tables = await read_tables(concerning, topology.engine_beside(NAME), settings)
    edges: Sequence[EdgeFacts] = ()
    if plan.edges is not None:
        edges = await read_edges(plan.edges, settings.app)
    return SetupFacts(
        settings=settings,
        owners=owners,
        unguarded=unguarded,
        connections=connections_of(plan),
        processes=processes,
        redis=redis,
        primary=primary,
        replicas=replicas,
        tables=tables,
        edges=edges,
        is_postgres=is_postgres,
    )


def connections_of(plan: DatabasePlan) -> Connections:
    """That one process may open: pools, the poll, and the outbox's two."""
    settings = plan.settings.topology
    pool = plan.topology.write_engine.pool
    size = getattr(pool, "size", lambda: settings.pool_size)()
    reads = max(settings.pool_size, settings.primary_reads)
    may_have_one = plan.address is not None and plan.settings.outbox is not OutboxMode.OFF
    outbox = settings.pool_size if may_have_one else 0
    return Connections(primary=size + reads + 1 + outbox, replica=settings.pool_size + 1)


def findings_of(setup: SetupFacts) -> tuple[Finding, ...]:
    """The worst first."""
    return tuple(sorted(_found(setup), key=lambda each: ORDER[each.severity]))


def _found(setup: SetupFacts) -> Iterator[Finding]:
    for check in (*PRIMARY_CHECKS, *REDIS_CHECKS, *EDGE_CHECKS, *SETTINGS_CHECKS):
        found = check(setup)
        if found is not None:
            yield found
    for replica in setup.replicas:
        for check_replica in REPLICA_CHECKS:
            found = check_replica(setup, replica)
            if found is not None:
                yield found
    yield from deaf_edges(setup)
    yield from open_ways(setup)
