"""The switches of the rules of edges; see `switches` and `models/edge.py`, whose rules they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from unittest.mock import patch

from proof.protocol.switches import _switch
from repocache.http.asgi import Scope, Send
from repocache.http.caching.middleware import HttpCache
from repocache.invalidation.batch import Batch
from repocache.invalidation.recent import RecentChanges
from repocache.runtime.edges import Later, RunningEdges
from repocache.runtime.plan import DatabasePlan
from repocache.runtime.purges import RunningPurges


@_switch("look again")
def _look_again() -> Iterator[None]:
    """A page is sent as it was made."""
    with patch.object(RecentChanges, "changed", lambda *_: False):
        yield


@_switch("again")
def _again() -> Iterator[None]:
    """The first purge is the last."""

    async def second(self: RunningEdges, due: Sequence[Later]) -> None:
        self.purges.acknowledge(tuple(row for each in due for row in each.rows))

    with patch.object(RunningEdges, "_second", second):
        yield


@_switch("heard")
def _heard() -> Iterator[None]:
    """The second purge waits for what is on its way, and for nobody to hear."""

    def after(self: DatabasePlan) -> float:
        return 0.0 if self.edges is None else self.edges.transit

    with patch.object(DatabasePlan, "purge_after", property(after)):
        yield


@_switch("arrived")
def _arrived() -> Iterator[None]:
    """The second purge waits until all have heard, and for nothing that is on its way."""

    def after(self: DatabasePlan) -> float:
        return 0.0 if self.edges is None else self.settings.link.limits.silence

    with patch.object(DatabasePlan, "purge_after", property(after)):
        yield


@_switch("edges' outbox")
def _outbox() -> Iterator[None]:
    """What is to be purged is in the memory of the process alone."""
    original = RunningPurges.__init__

    def init(self: RunningPurges, *arguments: Any, **named: Any) -> None:
        original(self, *arguments, **named)
        self.rows = None

    with patch.object(RunningPurges, "__init__", init):
        yield


@_switch("kept")
def _kept() -> Iterator[None]:
    """A row goes with the first purge."""
    original = RunningEdges._first

    async def first(self: RunningEdges, batch: Batch) -> None:
        await original(self, batch)
        self.purges.acknowledge(tuple(row for each in self.queue.later for row in each.rows))

    with patch.object(RunningEdges, "_first", first):
        yield


@_switch("past")
def _past() -> Iterator[None]:
    """Who has written is not told so."""

    def telling(_: HttpCache, __: Scope, send: Send) -> Send:
        return send

    with patch.object(HttpCache, "_telling", telling):
        yield
