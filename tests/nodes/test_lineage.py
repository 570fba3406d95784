"""Which line is the newest that this process knows of, and who has told so."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from repocache.engines.server import SERVER, Process, Server, System
from repocache.nodes.lineage import Lineage
from repocache.nodes.replica import ReplicaNode
from repocache.nodes.topology import Topology
from repocache.nodes.wal import PrimaryIdentity, PrimaryView, ReplicaReading, Trail
from repocache.routing.causal_session import CausalSession
from repocache.routing.seen import _SEEN, SeenTransactions

SYSTEM = System("7", 5)
OLD, NEW = PrimaryIdentity(SYSTEM, 1, 10, 0), PrimaryIdentity(SYSTEM, 2, 20, 0)


def believing(identity: PrimaryIdentity) -> Lineage:
    lineage = Lineage()
    lineage.believe(identity)
    return lineage


async def test_a_sample_that_dies_still_tells_of_a_newer_line() -> None:
    """1. A replica was promoted; 2. it is polled; 3. a new connection to it kills the sample."""
    topology = Topology(
        "sqlite+aiosqlite:////nowhere/at/all", ["sqlite+aiosqlite:////nowhere/else"]
    )
    (node,) = topology._replicas
    lineage, met = believing(OLD), list[str]()
    view = PrimaryView(OLD, OLD.history, Trail(), 100, time.monotonic(), lost=False)
    primary: Any = SimpleNamespace(lineage=lineage, view=view, met=met.append)
    node._primary = primary

    async def promoted() -> ReplicaReading:
        node.forget()
        now = time.monotonic()
        return ReplicaReading(
            in_recovery=False,
            position=0,
            shown=None,
            system=SYSTEM,
            process=Process(5, 0),
            receiver=None,
            streaming=False,
            timeline=2,
            timeline_seen=False,
            began=now,
            ended=now,
        )

    probe: Any = SimpleNamespace(connected=True, positions=True, replica=promoted)
    node.probe = probe
    assert isinstance(node, ReplicaNode)
    assert await node._sampled() is None, "it vouches for nothing"
    assert met == ["7.2."]


def written_by(identity: PrimaryIdentity) -> Server:
    return Server(
        SYSTEM,
        Process(identity.started, 0),
        in_recovery=False,
        address="",
        timeline=identity.timeline,
    )


@pytest.mark.parametrize("server, line", [(NEW, "7.2."), (OLD, OLD.history), (None, "")])
async def test_a_transaction_whose_connection_was_lost_names_the_line_of_it(
    server: PrimaryIdentity | None, line: str
) -> None:
    """1. A transaction of a monotonic session is on the new primary; 2. its connection is lost; 3.
    this process still takes the old one for the primary, which must not answer the next read."""
    engine = create_async_engine("sqlite+aiosqlite://")
    topology: Any = SimpleNamespace(lineage=believing(OLD))
    routing: Any = None
    seen = SeenTransactions(engine, routing, topology)
    session = CausalSession(60.0, time.time, monotonic=True)
    info = {_SEEN: (session, session.look()), SERVER: server and written_by(server)}
    entry: Any = SimpleNamespace(info=info)
    seen._given_back(None, entry)
    seen.stop()
    await engine.dispose()
    assert (session.bookmark.history, session.bookmark.position) == (line, None)
