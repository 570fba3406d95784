"""Which line is the newest that this process knows of, and who has told so."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from repocache.engines.server import SERVER, Process, Server, System
from repocache.engines.topology_settings import TopologySettings
from repocache.events import ignore
from repocache.nodes.lineage import Lineage
from repocache.nodes.reading import NodeReader
from repocache.nodes.replica import ReplicaNode
from repocache.nodes.topology import Topology
from repocache.nodes.wal import PrimaryIdentity, PrimaryView, ReplicaReading, Trail
from repocache.routing.causal_session import CausalSession
from repocache.routing.routing import Routing, Stickiness
from repocache.routing.seen import _SEEN, SeenTransactions

SYSTEM = System("7", 5)
OLD, NEW = PrimaryIdentity(SYSTEM, 1, 10, 0), PrimaryIdentity(SYSTEM, 2, 20, 0)


def believing(identity: PrimaryIdentity) -> Lineage:
    lineage = Lineage()
    lineage.believe(identity)
    return lineage


@pytest.mark.parametrize(
    "told, newer",
    [
        (["7.2."], "7.2."),
        (["7.3.", "7.2."], "7.3."),
        (["7.2.", "7.3."], "7.3."),
        (["7.1."], ""),
        (["8.9."], ""),
        ([""], ""),
    ],
)
def test_the_newest_line_of_this_cluster_is_remembered(told: list[str], newer: str) -> None:
    lineage = believing(OLD)
    for each in told:
        lineage.told(each)
    assert lineage.newer == newer


def test_it_is_until_the_primary_writes_it() -> None:
    lineage = believing(OLD)
    lineage.told("7.2.")
    lineage.believe(NEW)
    assert lineage.newer == ""


def test_a_line_that_is_newer_still_stays() -> None:
    lineage = believing(OLD)
    lineage.told("7.3.")
    lineage.believe(NEW)
    assert lineage.newer == "7.3."


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
    assert (lineage.newer, met) == ("7.2.", ["7.2."])


@pytest.mark.parametrize("said", ["", "7.2."])
async def test_what_a_silent_node_showed_is_of_the_newest_line_that_was_told(said: str) -> None:
    """1. A node shows a newer line; 2. it has said so before, and says nothing now; 3. by name the
    old primary still answers, and must not answer the session's next read."""
    lineage = believing(OLD)
    lineage.told(said)
    looked = list[str]()

    async def position() -> None:
        looked.append("by name")

    primary: Any = SimpleNamespace(
        lineage=lineage,
        history=OLD.history,
        out="",
        suspect=lambda: looked.append("suspected"),
        position=position,
    )
    reader = NodeReader(primary, [], TopologySettings(), ignore)
    stamp = await reader._doubted("")
    assert (stamp.history, stamp.position) == (said or OLD.history, None)
    assert looked == ["suspected", "by name"]


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


async def test_a_snapshot_that_was_cancelled_is_of_the_newest_line_that_was_told() -> None:
    lineage = believing(OLD)
    lineage.told("7.2.")

    @asynccontextmanager
    async def snapshot(_need: object, _shown: object) -> AsyncIterator[None]:
        yield
        raise TimeoutError("before the node has said how far it was")

    topology: Any = SimpleNamespace(
        lineage=lineage,
        history=OLD.history,
        now=time.time,
        settings=TopologySettings(),
        counts_until=lambda expires, _life: expires,
        bookmarks_live=lambda _seconds: None,
        snapshot=snapshot,
    )
    routing = Routing(topology, Stickiness(60.0, 120.0, monotonic=True), ignore)
    async with routing.causal_session() as session:
        with pytest.raises(TimeoutError):
            async with routing.snapshot():
                pass
        assert (session.bookmark.history, session.bookmark.position) == ("7.2.", None)
