"""Which line is the newest that this process knows of, and who has told so."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from repocache.engines.server import Process, System
from repocache.engines.topology_settings import TopologySettings
from repocache.events import ignore
from repocache.nodes.lineage import Lineage
from repocache.nodes.reading import NodeReader
from repocache.nodes.replica import ReplicaNode
from repocache.nodes.topology import Topology
from repocache.nodes.wal import PrimaryIdentity, PrimaryView, ReplicaReading, Trail

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
