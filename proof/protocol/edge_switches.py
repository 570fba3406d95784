"""The switches of the rules of edges; see `switches`, `models/edge.py` and `models/edge_tags.py`,
whose rules they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from proof.protocol.switches import _switch
from repocache.http.asgi import Scope, Send
from repocache.http.caching.middleware import HttpCache
from repocache.invalidation.batch import Batch
from repocache.invalidation.familiar import Acquaintance, FamiliarTags, ToPurge
from repocache.invalidation.recent import RecentChanges
from repocache.records import LookReply
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


@_switch("strange tags")
def _strange() -> Iterator[None]:
    """Whatever the record lists is all that there is."""
    with patch.object(FamiliarTags, "_is_familiar", lambda *_: True):
        yield


@_switch("another record's tags")
def _another() -> Iterator[None]:
    """A record that was familiar is, however often it is lost."""
    original = FamiliarTags._is_familiar

    def is_familiar(self: FamiliarTags, owner: str, look: LookReply | None) -> bool:
        known = self._known.get(owner)
        if known is not None and look is not None:
            look = look._replace(incarnation=known.incarnation)
        return original(self, owner, look)

    with patch.object(FamiliarTags, "_is_familiar", is_familiar):
        yield


@_switch("a lost record's tags")
def _missing() -> Iterator[None]:
    """A record that is not there lists nothing."""
    original = FamiliarTags._look

    async def look(self: FamiliarTags, owner: str, history: str) -> LookReply | None:
        found, known = await original(self, owner, history), self._known.get(owner)
        if found is None and known is not None:
            return LookReply(known.incarnation, None)
        return found

    with patch.object(FamiliarTags, "_look", look):
        yield


@_switch("proven tags")
def _proven() -> Iterator[None]:
    """A record is familiar from the second time on that it is seen."""
    original = FamiliarTags._is_familiar

    def is_familiar(self: FamiliarTags, owner: str, look: LookReply | None) -> bool:
        found = original(self, owner, look)
        known = self._known.get(owner)
        if known is not None:
            self._known[owner] = replace(known, proven=True)
        return found

    with patch.object(FamiliarTags, "_is_familiar", is_familiar):
        yield


@_switch("ripe tags")
def _ripe() -> Iterator[None]:
    """Any purge of the whole table proves it."""
    original = FamiliarTags.__init__

    def init(self: FamiliarTags, *arguments: Any) -> None:
        original(self, *arguments)
        self._settled = 0.0

    with patch.object(FamiliarTags, "__init__", init):
        yield


@_switch("tags ripe before")
def _before() -> Iterator[None]:
    """Any does that is answered late enough."""
    narrow, answer = FamiliarTags.narrowed, FamiliarTags.purged

    async def narrowed(self: FamiliarTags, batch: Batch, history: str) -> ToPurge:
        found = await narrow(self, batch, history)
        proofs = {
            owner: replace(known, proven=True)
            for owner, known in self._known.items()
            if owner in found.batch.owners
        }
        return found._replace(proofs=proofs)

    def purged(self: FamiliarTags, done: ToPurge) -> None:
        late = self._clock() - self._settled
        proofs = {owner: proof for owner, proof in done.proofs.items() if proof.at <= late}
        answer(self, done._replace(proofs=proofs))

    with (
        patch.object(FamiliarTags, "narrowed", narrowed),
        patch.object(FamiliarTags, "purged", purged),
    ):
        yield


@_switch("the same record's tags")
def _same() -> Iterator[None]:
    """Whatever record is there once the purge is answered is proven by it."""

    def purged(self: FamiliarTags, done: ToPurge) -> None:
        for owner, proof in done.proofs.items():
            known: Acquaintance = self._known.get(owner, proof)
            self._known[owner] = replace(known, proven=True)

    with patch.object(FamiliarTags, "purged", purged):
        yield
