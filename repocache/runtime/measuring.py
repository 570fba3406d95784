"""How things stand in a running database, told to its observer now and then.

Owns when, and what is asked. What a metric is made of it is the observers' affair.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from repocache.behind.write_behind import WriteBehind
from repocache.cache.local_store import LocalStore
from repocache.errors import RepocacheError
from repocache.events import (
    BehindMeasured,
    EdgeMeasured,
    LinkMeasured,
    MeasureFailed,
    NodeMeasured,
    NodesMeasured,
    Observer,
    OutboxMeasured,
    OwnerMeasured,
    PurgesMeasured,
    RedisMeasured,
)
from repocache.invalidation.held import Held
from repocache.nodes.topology import Topology
from repocache.redaction.foreign import in_brief
from repocache.redis_link import Link, info_fields
from repocache.runtime.edges import RunningEdges
from repocache.runtime.outbox import NoOutbox, RunningOutbox
from repocache.runtime.purges import RunningPurges

ANSWERED_WITHIN = 5.0
"""Seconds for one part: what does not answer is said, and does not hold up the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measuring:
    """`patterns`: of all owners. `link`: None: there is no Redis. `edges`: None: there are none.
    `every`: seconds."""

    patterns: Mapping[str, str]
    local: LocalStore
    link: Link | None
    topology: Topology
    outbox: NoOutbox
    edges: RunningEdges | None
    behind: Mapping[str, WriteBehind[Any, Any]]
    observe: Observer
    every: float

    async def run(self) -> None:
        """For ever. Not at once: who has just begun has nothing to tell, and processes that begin
        together spread."""
        while True:
            await asyncio.sleep(self.every * random.uniform(0.9, 1.1))  # noqa: S311  # jitter
            await self.measure()

    async def measure(self) -> None:
        """Tell of everything once. What cannot be had is an event (`MeasureFailed`)."""
        self._local()
        await asyncio.gather(
            self._redis(), self._outbox(), self._purges(), *map(self._behind, self.behind)
        )

    def _local(self) -> None:
        for owner, pattern in self.patterns.items():
            shelf = self.local.shelf(owner)
            count = shelf.count
            self.observe(
                OwnerMeasured(
                    owner,
                    pattern,
                    entries=len(shelf.entries),
                    bytes=shelf.bytes,
                    hits=count.hits,
                    misses=count.misses,
                    stored=count.stored,
                    evicted=count.evicted,
                    expired=count.expired,
                    invalidated=count.invalidated,
                    joined=count.joined,
                    waited=count.waited,
                )
            )
        for node in self.topology.nodes:
            self.observe(NodeMeasured(node.name, node.out, node.in_flight))
        for edge, waiting in ({} if self.edges is None else self.edges.purger.waiting).items():
            self.observe(EdgeMeasured(edge, waiting))
        places, most = self.topology.primary_places, self.topology.settings.max_lag
        self.observe(NodesMeasured(places.taken, places.most, places.waiting, most))

    async def _redis(self) -> None:
        if self.link is None:
            return
        self.observe(LinkMeasured(self.link.alive, self.link.resting))
        if not self.link.alive:
            return
        clock = asyncio.get_running_loop().time
        try:
            async with asyncio.timeout(ANSWERED_WITHIN):
                began = clock()
                memory = info_fields(await self.link.call("INFO", "memory"))
                seconds = clock() - began
                stats = info_fields(await self.link.call("INFO", "stats"))
                keys = await self.link.call("DBSIZE")
            self.observe(
                RedisMeasured(
                    memory=number(memory, "used_memory"),
                    maxmemory=number(memory, "maxmemory"),
                    keys=keys if isinstance(keys, int) else 0,
                    evicted=number(stats, "evicted_keys"),
                    expired=number(stats, "expired_keys"),
                    seconds=seconds,
                )
            )
        except (RepocacheError, TimeoutError) as error:
            self._failed("redis", error)

    async def _outbox(self) -> None:
        if isinstance(self.outbox, RunningOutbox):
            await self._depth("outbox", self.outbox.held, OutboxMeasured)

    async def _purges(self) -> None:
        if isinstance(self.outbox.purges, RunningPurges):
            await self._depth("purges", self.outbox.purges.held, PurgesMeasured)

    async def _depth(
        self, what: str, held: Held, measured: type[OutboxMeasured | PurgesMeasured]
    ) -> None:
        try:
            async with asyncio.timeout(ANSWERED_WITHIN):
                depth = await held.depth()
            self.observe(measured(depth.waiting, depth.aside, depth.seconds))
        except (RepocacheError, TimeoutError) as error:
            self._failed(what, error)

    async def _behind(self, owner: str) -> None:
        try:
            async with asyncio.timeout(ANSWERED_WITHIN):
                backlog = await self.behind[owner].backlog()
            self.observe(BehindMeasured(owner, backlog.changes, backlog.seconds))
        except (RepocacheError, TimeoutError) as error:
            self._failed(owner, error)

    def _failed(self, what: str, error: Exception) -> None:
        self.observe(MeasureFailed(what, in_brief(error) or "no answer in time"))


def number(section: Mapping[str, str], name: str) -> int:
    """A whole number of it, 0 where it does not say."""
    text = section.get(name, "")
    return int(text) if text.isdecimal() else 0
