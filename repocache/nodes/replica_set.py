"""The replicas of a topology while it runs: who is there, who joins, who leaves.

Owns the tasks of their polls, and the end of those that left. Which of them a read is given is
`selection`'s affair.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from typing import Any

from repocache.background.tasks import Tasks
from repocache.events import Degraded, Observer
from repocache.nodes.replica import ReplicaNode

LOOK = 0.01
"""Seconds between two looks whether the last read of a replica that left is over."""
HIDDEN_TIMELINE = (
    "the role may not see pg_stat_wal_receiver.received_tli (GRANT pg_read_all_stats shows it): "
    "after a failover the replica serves again only after its next restartpoint, and one that "
    "follows a second promoted server while the primary lives on is found out only then"
)


class ReplicaSet:
    """`nodes`: those that reads may be given. Readers hold this very list; it changes between two
    turns of the event loop. `grace`: seconds that a replica which left has for its reads.
    """

    def __init__(self, nodes: Sequence[ReplicaNode], grace: float, observe: Observer) -> None:
        self.nodes = list(nodes)
        self.running = False
        self._closing: list[ReplicaNode] = []
        self._leaving: set[ReplicaNode] = set()
        self._grace = grace
        self._observe = observe

    def start(self, tasks: Tasks, *, positions: bool) -> None:
        """In the running loop. `tasks`: left after `end`. `positions`: whether the primary has
        any."""
        self._tasks, self._positions = tasks, positions
        self.running = True
        for node in self.nodes:
            node.join(positions=positions)

    async def end(self) -> None:
        """No more polls; `close` is next."""
        self.running = False
        self._closing = [*self.nodes, *self._leaving]
        self._leaving.clear()
        for node in self._closing:
            await node.poll.stop()

    def change(self, nodes: Sequence[ReplicaNode]) -> None:
        """From now on these. One that is new is given reads after its first sample; one that left
        is given none, and its connections end with its reads, at the latest after the grace."""
        before, self.nodes[:] = list(self.nodes), nodes
        if not self.running:
            return
        joined = [node for node in nodes if node not in before]
        for node in joined:
            node.join(positions=self._positions)
        for node in before:
            if node not in nodes:
                node.leave()
                self._leaving.add(node)
                self._tasks.spawn_to_end(self._gone(node))
        if joined:
            self._tasks.spawn(self.settle(joined))

    async def settle(self, nodes: Sequence[ReplicaNode]) -> None:
        """Returns when they have been looked at: what can be known of them is.

        The second look tells a replica that was a little behind at the first from one that lags.
        """
        for _ in range(2):
            await asyncio.gather(*(node.poll.ask() for node in nodes))
        for node in nodes:
            if node.sample is not None and not node.sees_timeline:
                self._observe(Degraded(f"the timeline of {node.name}", HIDDEN_TIMELINE))

    def closing(self, grace: float) -> list[Coroutine[Any, Any, None]]:
        """The ends of all connections, for those who end them at once."""
        return [node.close(grace) for node in self._closing]

    async def _gone(self, node: ReplicaNode) -> None:
        until = time.monotonic() + self._grace
        await node.poll.stop()
        while node.in_flight and time.monotonic() < until:  # noqa: ASYNC110  # reads tell nobody
            await asyncio.sleep(LOOK)
        await node.close(until - time.monotonic() if not node.in_flight else 0.0)
        self._leaving.discard(node)
