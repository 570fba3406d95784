"""The caches in front of a service while a database runs: purged soon after each commit, and once
more when no page of before it can be on its way any more (`models/edge.py`).

Owns when, and what is left to the relays. What a purge is is `edges`', which tags it names
`invalidation.familiar`'s.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from repocache.background.tasks import Grace, Tasks
from repocache.edges.names import TagNames, purged
from repocache.errors import EdgeFailed
from repocache.events import Observer
from repocache.invalidation.batch import Batch, merged
from repocache.invalidation.bus import MOST_KEYS
from repocache.invalidation.familiar import FamiliarTags
from repocache.invalidation.outbox import Mark
from repocache.nodes.topology import NodeStatus
from repocache.runtime.purges import NoPurges

EVERYTHING = Batch({}, anew=frozenset((0,)))
"""All pages of the application."""
REPLAYED = 5.0
"""Seconds that a second purge waits at the most for replicas in the rotation, beyond its time."""
MOST_LATER = 20_000
"""Commits that wait for their second purge; beyond it they become one."""
EVERY = 0.1
"""Seconds between two looks at which second purges are due."""
PAUSE = 1.0
"""Seconds until a second purge is tried again that no relay would try."""


class AnyPurger(Protocol):
    """What purges. `waiting`: how many tags wait for each edge, by its name."""

    @property
    def waiting(self) -> Mapping[str, int]: ...

    def soon(self, tags: Iterable[str]) -> None:
        """As soon as each edge takes them. Never waits."""
        ...

    async def purge(self, tags: Iterable[str]) -> None:
        """At all edges, now. Raises EdgeFailed."""
        ...


class Later(NamedTuple):
    """`at`: when the second purge is due, monotonic seconds. `rows`: that have a relay purge it if
    this process does not."""

    at: float
    batch: Batch
    rows: tuple[Mark, ...]


@dataclass(slots=True)
class PurgeQueue:
    """What commits have told, and waits. `after`: seconds until the second purge; 0: nothing is
    taken, for there are no edges. `ignored`: owners, by their prefixes, whose keys no page
    carries."""

    after: float = 0.0
    ignored: frozenset[str] = frozenset()
    soon: list[Batch] = field(default_factory=list)
    later: deque[Later] = field(default_factory=deque)
    some: asyncio.Event = field(default_factory=asyncio.Event)

    def committed(self, batch: Batch, rows: Sequence[Mark] = ()) -> None:
        """L1 and Redis have been told. Never waits."""
        if not self.after:
            return
        batch = carried(batch, self.ignored)
        if not batch:
            return
        at = time.monotonic() + self.after
        self.soon.append(batch)
        self.later.append(Later(at, batch, tuple(rows)))
        if len(self.later) > MOST_LATER:
            rows = tuple(row for each in self.later for row in each.rows)
            batch = merged((each.batch for each in self.later), MOST_KEYS)
            self.later.clear()
            self.later.append(Later(at, batch, rows))
        self.some.set()

    def take_soon(self) -> Batch:
        """All that has not been purged a first time."""
        told, self.soon[:] = list(self.soon), []
        return merged(told, MOST_KEYS)

    def take_due(self, now: float) -> list[Later]:
        """Those whose second purge is due."""
        due = []
        while self.later and self.later[0].at <= now:
            due.append(self.later.popleft())
        return due

    def take_alone(self) -> Batch:
        """What no relay would purge a second time."""
        alone = [each.batch for each in self.later if not each.rows]
        self.later.clear()
        return merged(alone, MOST_KEYS)


def carried(batch: Batch, ignored: frozenset[str]) -> Batch:
    """Without the keys of these owners."""
    if ignored.isdisjoint(batch.keys) and ignored.isdisjoint(batch.owners):
        return batch
    keys = {owner: texts for owner, texts in batch.keys.items() if owner not in ignored}
    return Batch(keys, batch.owners - ignored, batch.anew)


def have_replayed(nodes: Iterable[NodeStatus], since: float) -> bool:
    """Whether all replicas in the rotation have all that the primary had then, on the monotonic
    clock."""
    samples = [each.sample for each in nodes if not each.out and each.sample is not None]
    return all(each.fresh_at >= since for each in samples if each.history)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningEdges:
    """`familiar`: which tags a commit purges. `purges`: where what is to be purged outlives this
    process. `history`: the line of WAL that this lives in. `nodes`: as they stand."""

    queue: PurgeQueue
    purger: AnyPurger
    familiar: FamiliarTags
    purges: NoPurges
    history: Callable[[], str]
    nodes: Callable[[], Iterable[NodeStatus]]

    async def purge_soon(self) -> None:
        """First purges, for ever: until the task is cancelled."""
        queue = self.queue
        while True:
            await queue.some.wait()
            queue.some.clear()
            batch = queue.take_soon()
            try:
                await self._first(batch)
            except BaseException:
                # Whoever leaves purges it, or the next life of this task.
                queue.soon.insert(0, batch)
                queue.some.set()
                raise

    async def purge_later(self) -> None:
        """Second purges, likewise."""
        while True:
            await asyncio.sleep(EVERY)
            due = self.queue.take_due(time.monotonic())
            if due:
                await self._second(due)

    async def _first(self, batch: Batch) -> None:
        if batch:
            found = await self.familiar.narrowed(batch, self.history())
            self.purger.soon(purged(found.batch))

    async def _second(self, due: Sequence[Later]) -> None:
        """What fails is tried again here if no relay would: by the next life of the task, or by
        whoever leaves, if it was cancelled."""
        try:
            await self.deliver(merged((each.batch for each in due), MOST_KEYS))
        except BaseException as error:
            alone = [each.batch for each in due if not each.rows]
            if alone:
                at = time.monotonic() + PAUSE
                self.queue.later.appendleft(Later(at, merged(alone, MOST_KEYS), ()))
            if isinstance(error, EdgeFailed):
                return
            raise
        rows = tuple(row for each in due for row in each.rows)
        if rows:
            self.purges.acknowledge(rows)

    async def deliver(self, batch: Batch) -> None:
        """Purge it at all edges, once the replicas have replayed what was committed before this
        call: a page that is made of a lagging one must not stay. Raises EdgeFailed."""
        since = time.monotonic()
        until = since + REPLAYED
        # Samples come without an event.
        while not have_replayed(self.nodes(), since) and time.monotonic() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        found = await self.familiar.narrowed(batch, self.history())
        await self.purger.purge(purged(found.batch))
        self.familiar.purged(found)

    async def leave(self) -> None:
        """What no relay will purge is purged now, if for the last time too early."""
        await self._first(self.queue.take_soon() | self.queue.take_alone())


class DeclaredEdges(Protocol):
    """See `repocache.edges.declared.Edges`."""

    transit: float
    most_tags: int
    edges: tuple[Any, ...]

    def names(self, app: str) -> TagNames: ...

    def purger(
        self, names: TagNames, observe: Observer
    ) -> AbstractAsyncContextManager[AnyPurger]: ...


@asynccontextmanager
async def open_edges(
    made: Callable[[AnyPurger], RunningEdges],
    purger: AbstractAsyncContextManager[AnyPurger],
    observe: Observer,
) -> AsyncIterator[RunningEdges]:
    """Runs what is made of the purger, and the relay of what others have left. On leaving the
    purger has its last tries."""
    async with purger as entered:
        running = made(entered)
        try:
            async with Tasks(Grace(0.0), observe) as tasks:
                tasks.keep(running.purge_soon)
                tasks.keep(running.purge_later)
                running.purges.relay_beside(tasks.keep, running.deliver)
                yield running
        finally:
            await running.leave()
