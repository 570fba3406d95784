"""The switches of the rules for a wider world: visibility, clocks, windows, primaries that live on;
see `switches`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, ExitStack
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from proof.protocol.switches import _switch
from repocache import database
from repocache.bookmark import Bookmark, Refused, Seen, decode, merge
from repocache.cache import histories, loader
from repocache.cache.entry import RowRequest
from repocache.cache.inflight import InflightLoad, InflightLoads, may_join
from repocache.cache.shelf import LocalKey
from repocache.errors import DatabaseUnavailable
from repocache.invalidation import bus
from repocache.invalidation.channel import Channel
from repocache.invalidation.feed import Feed
from repocache.mapping.lookup import LookupPlan
from repocache.nodes import reading, replica, stamps, wal
from repocache.nodes.clock import Outages, PrimaryClock
from repocache.nodes.lineage import Lineage
from repocache.nodes.primary import Primary
from repocache.nodes.reading import NodeLease, NodeReader
from repocache.nodes.selection import ReadRequirement
from repocache.nodes.stamps import UNKNOWN, Stamp
from repocache.nodes.wal import (
    LagLimit,
    PrimaryPosition,
    PrimaryView,
    ReplicaReading,
    Sample,
    judge,
)
from repocache.publication import write_through
from repocache.publication.write_through import PreparedWrite, WriteThroughHook
from repocache.records import Writing
from repocache.repository.rows import Rows
from repocache.routing import causal_session, routing
from repocache.routing.causal_session import CausalSession, Look
from repocache.routing.routing import Routing, need_of
from repocache.runtime.primary_wal import PrimaryWal
from repocache.tracking import locked
from repocache.transactions.transaction import Transaction

Joins = Callable[..., bool]


def _joined(joins: Joins) -> Any:
    return patch.object(loader, "may_join", joins)


@_switch("sent to the primary")
def _sent_to_the_primary() -> Iterator[None]:
    """A position is visibility: a load past the cache is joined by whoever asks for no more than
    its position."""

    def joins(flight: InflightLoad, bookmark: Bookmark | None, *, direct: bool) -> bool:
        sent, flight.sent = flight.sent, False
        try:
            return may_join(flight, bookmark, direct=direct)
        finally:
            flight.sent = sent

    with _joined(joins):
        yield


@_switch("direct")
def _direct() -> Iterator[None]:
    """Who would use the cache joins a load that goes past it."""
    original = InflightLoads.get

    def get(self: InflightLoads, key: LocalKey, *, direct: bool = False) -> InflightLoad | None:
        return original(self, key, direct=direct) or original(self, key, direct=not direct)

    def joins(flight: InflightLoad, bookmark: Bookmark | None, *, direct: bool) -> bool:
        if bookmark is not None and not bookmark.takes_cached and not flight.direct:
            return False
        turns, flight.turns = flight.turns, False
        try:
            return may_join(flight, bookmark, direct=flight.direct)
        finally:
            flight.turns = turns

    with patch.object(InflightLoads, "get", get), _joined(joins):
        yield


@_switch("shown")
def _shown() -> Iterator[None]:
    """A replica shows what it has replayed and nothing else."""
    with patch.object(wal, "_at_most", lambda _, __, position: position):
        yield


@_switch("transactions")
def _transactions() -> Iterator[None]:
    """What a transaction shows has not been seen."""
    original = NodeReader.snapshot

    def look(self: CausalSession) -> Look:
        return self.reads()

    def snapshot(
        self: NodeReader, need: ReadRequirement, _: Callable[[Stamp], None]
    ) -> AbstractAsyncContextManager[AsyncConnection]:
        return original(self, need, lambda _: None)

    with (
        patch.object(NodeReader, "snapshot", snapshot),
        patch.object(CausalSession, "look", look),
        patch.object(CausalSession, "looked", lambda *_: None),
    ):
        yield


@_switch("line of a read")
def _line_of_a_read() -> Iterator[None]:
    """What a read of the primary showed is of the line that this process polls."""
    original = stamps.shown_by_primary

    def shown(_: str, history: str, polled: PrimaryPosition | None) -> Stamp:
        return original("", history, polled)

    with patch.object(reading, "shown_by_primary", shown):
        yield


@_switch("unknown stays")
def _unknown_stays() -> Iterator[None]:
    """A position that is known takes the place of one that is not."""

    def forgetful(old: Bookmark | None, new: Bookmark, *, beyond: bool = False) -> Bookmark:
        merged = merge(old, new, beyond=beyond)
        if old is None or old.position is not None or not new.position:
            return merged
        return msgspec.structs.replace(merged, history=new.history, position=new.position)

    with patch.object(causal_session, "merge", forgetful):
        yield


@_switch("long lives")
def _long_lives() -> Iterator[None]:
    """A bookmark that lives for longer than this process gives it is refused."""
    original = Routing.accepted

    async def accepted(self: Routing, incoming: Bookmark | str | None) -> Bookmark | None:
        bookmark = (
            decode(incoming, self._stickiness.signer)
            if isinstance(incoming, str) and incoming
            else None
        )
        taken = None if isinstance(bookmark, Refused) else bookmark
        if taken is not None and taken.expires > self._topology.now() + 2 * self._life(taken):
            return None
        return await original(self, incoming)

    with patch.object(Routing, "accepted", accepted):
        yield


@_switch("reader's life")
def _readers_life() -> Iterator[None]:
    """A bookmark lives for as long as its writer said."""
    with patch.object(Routing, "_lengthened", lambda _, bookmark: bookmark):
        yield


@_switch("primary's clock")
def _primarys_clock() -> Iterator[None]:
    """Every process lives by its own clock."""
    with patch.object(PrimaryClock, "now", lambda _: time.time()):
        yield


@_switch("positions stay")
def _positions_stay() -> Iterator[None]:
    """A bookmark whose life has ended says nothing any more."""
    original = routing.living

    def living(bookmark: Bookmark, ends: float, now: float, history: str) -> Bookmark | None:
        return original(bookmark, ends, now, history) if now < ends else None

    with patch.object(routing, "living", living):
        yield


@_switch("outages")
def _outages() -> Iterator[None]:
    """Lives end whether or not the primary is heard."""
    with patch.object(Outages, "counts_until", lambda _, expires, __: expires):
        yield


@_switch("lagging")
def _lagging() -> Iterator[None]:
    """While the primary is lost, nobody is out for lagging."""

    def lenient(
        reading: ReplicaReading,
        before: Sample | None,
        primary: PrimaryView,
        following: str,
        limit: LagLimit,
    ) -> Sample:
        sample = judge(reading, before, primary, following, limit)
        return replace(sample, out="") if primary.lost and sample.out == "lagging" else sample

    with patch.object(replica, "judge", lenient):
        yield


@_switch("last fill")
def _last_fill() -> Iterator[None]:
    """What a lagging replica fills is as old as what was there at the commit."""
    with patch.object(database, "last_fill", lambda ttl, *_: ttl):
        yield


@_switch("unheard")
def _unheard() -> Iterator[None]:
    """A replica in the rotation fills, whether or not the primary is heard."""

    def needed(self: Rows[Any], want: RowRequest) -> ReadRequirement:
        return need_of(want.floor, want.bookmark, want.history, self._route)

    with patch.object(Rows, "_needed", needed):
        yield


@_switch("asked")
def _asked() -> Iterator[None]:
    """A load looks once more whether its bookmark still lives."""
    original = Rows._needed

    def needed(self: Rows[Any], want: RowRequest) -> ReadRequirement:
        mark = want.bookmark
        if mark is not None and mark.expires <= self.nodes.topology.now():
            want = want._replace(bookmark=None)
        return original(self, want)

    with patch.object(Rows, "_needed", needed):
        yield


@_switch("newer timeline")
def _newer_timeline() -> Iterator[None]:
    """Of two histories none is known to be the newer."""
    with ExitStack() as stack:
        for module in (routing, loader, histories, bus, write_through):
            stack.enter_context(patch.object(module, "is_newer", lambda *_: False))
        stack.enter_context(patch.object(Primary, "met", lambda *_: None))
        yield


@_switch("followed timeline")
def _followed_timeline() -> Iterator[None]:
    """What is read on a replica is shown, also if it is not known whose it is and how far."""
    original = NodeReader._stamp

    async def stamp(self: NodeReader, turn: NodeLease) -> Stamp | None:
        return await original(self, turn) or UNKNOWN

    with patch.object(NodeReader, "_stamp", stamp):
        yield


@_switch("feed history")
def _feed_history() -> Iterator[None]:
    """Feeds learn of a history by the messages alone, and rebuild from whatever has the rows."""
    original = Feed._bookmark

    def tell(self: Channel) -> None:
        for receiver in self._receivers:
            if not isinstance(receiver, Feed):
                receiver.new_history()

    def bookmark(
        self: Feed[Any], history: str, position: int | None, wrote: dict[int, Seen] | None
    ) -> Bookmark:
        return original(self, history, position, {} if wrote is None else wrote)

    with patch.object(Channel, "new_history", tell), patch.object(Feed, "_bookmark", bookmark):
        yield


@_switch("not known")
def _not_known() -> Iterator[None]:
    """A question that fails is answered: the transaction has ended."""
    original = PrimaryWal.in_progress

    async def in_progress(self: PrimaryWal, xid: str) -> bool:
        try:
            return await original(self, xid)
        except DatabaseUnavailable as error:
            if "does not say" in str(error):
                return False
            raise

    with patch.object(PrimaryWal, "in_progress", in_progress):
        yield


@_switch("sealed history")
def _sealed_history() -> Iterator[None]:
    """A put lands wherever its record and order seem to suit."""
    original = WriteThroughHook.puts_by_bucket

    def ready(
        self: WriteThroughHook, transaction: Transaction, history: str
    ) -> Mapping[int, Writing]:
        if isinstance(transaction.kept, PreparedWrite):
            transaction.kept.history = history
        return original(self, transaction, history)

    with ExitStack() as stack:
        stack.enter_context(patch.object(WriteThroughHook, "puts_by_bucket", ready))
        stack.enter_context(patch.object(Lineage, "writes_with", lambda self, _: self.history))
        yield


@_switch("new value")
def _new_value() -> Iterator[None]:
    """A write tells lookups the values that rows had, and not those that they have from now on."""
    with patch.object(locked, "with_new_values", lambda old, *_: old):
        yield


@_switch("still has")
def _still_has() -> Iterator[None]:
    """Whatever row the id leads to is the answer."""
    with patch.object(LookupPlan, "holds", lambda _, row, __: row is not None):
        yield
