"""How the rules of records, leases and puts are switched off in the simulation: in place of a
script's piece the same piece of `MemoryRecords`."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from types import MappingProxyType
from typing import Any, cast
from unittest.mock import patch

from proof.simulation import redis
from repocache.keys import owner_bucket
from repocache.records import (
    NO_POSITIONS,
    CallerHistory,
    Change,
    Intent,
    IntentReply,
    Lease,
    MemoryRecords,
    OpenReply,
    OpenRequest,
    Put,
    Receipt,
)
from repocache.records.names import LEASE
from repocache.records.scripts import OPEN


def _now(answer: Awaitable[Any]) -> Any:
    return cast("asyncio.Future[Any]", answer).result()


def _answered(value: Any) -> Awaitable[Any]:
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    future.set_result(value)
    return future


@contextmanager
def _lease() -> Iterator[None]:
    """Any fill lands."""
    original = MemoryRecords.fill

    def fill(
        self: MemoryRecords, lease: Lease, terms: CallerHistory, value: bytes, life: float
    ) -> Awaitable[bool]:
        name = self._name(lease.ask, lease.incarnation, lease.generation)
        self._stored.lease(name, LEASE + lease.nonce.encode(), math.inf)
        return original(self, lease, terms, value, life)

    with patch.object(MemoryRecords, "fill", fill):
        yield


@contextmanager
def _leases_called(name_of: Callable[[], str]) -> Iterator[None]:
    original = MemoryRecords.open

    def ask(self: MemoryRecords, ask: OpenRequest, terms: CallerHistory) -> Awaitable[OpenReply]:
        opened: OpenReply = _now(original(self, ask, terms))
        if opened.kind == "lease":
            opened = opened._replace(nonce=name_of())
            name = self._name(ask, opened.incarnation, opened.generation)
            self._stored.leases[name] = (
                LEASE + opened.nonce.encode(),
                self._stored.leases[name][1],
            )
        return _answered(opened)

    with patch.object(MemoryRecords, "open", ask):
        yield


@contextmanager
def _nonce() -> Iterator[None]:
    """All leases are alike."""
    with _leases_called(lambda: "same"):
        yield


@contextmanager
def _nonce_per_lease() -> Iterator[None]:
    """A process holds leases under its own id, the first 16 characters of its nonces."""
    asking = ""

    def ask(server: redis.Redis, keys: list[str], argv: list[bytes]) -> bytes:
        nonlocal asking
        asking = argv[9][:16].decode()
        return redis.answer_open(server, keys, argv)

    with patch.dict(redis.SCRIPTS, {OPEN.sha.encode(): ask}), _leases_called(lambda: asking):
        yield


@contextmanager
def _generation() -> Iterator[None]:
    """A fill lands under the generation of its lease, also after a bulk change."""
    original = MemoryRecords.fill

    def fill(
        self: MemoryRecords, lease: Lease, terms: CallerHistory, value: bytes, life: float
    ) -> Awaitable[bool]:
        own = self._records.get(owner_bucket(lease.ask.owner))
        if own is None:
            return original(self, lease, terms, value, life)
        with patch.dict(own.generations, {lease.ask.owner: lease.generation}):
            return original(self, lease, terms, value, life)

    with patch.object(MemoryRecords, "fill", fill):
        yield


@contextmanager
def _records_made(change: Callable[[Any], None]) -> Iterator[None]:
    original = MemoryRecords._renew

    def renew(self: MemoryRecords, bucket: int, history: str) -> Any:
        announce, self._announce = self._announce, lambda _: None
        record = original(self, bucket, history)
        change(record)
        self._announce = announce
        self._tell(Change(bucket, (), (), NO_POSITIONS), record, "", {}, {})
        return record

    with patch.object(MemoryRecords, "_renew", renew):
        yield


@contextmanager
def _incarnation() -> Iterator[None]:
    """A record made anew is called as the one before."""
    with _records_made(lambda record: setattr(record, "incarnation", "same")):
        yield


@contextmanager
def _unknown() -> Iterator[None]:
    """A record made anew has a floor at once: any replica has replayed it."""
    with _records_made(lambda record: setattr(record, "floor", 0)):
        yield


@contextmanager
def _order() -> Iterator[None]:
    """A put lands whenever it comes."""
    with _changes(lambda _, change: change._replace(writing=change.writing._replace(order=2**62))):
        yield


@contextmanager
def _late_put() -> Iterator[None]:
    """A bulk change moves a generation and no floor, and a put takes the generation that it
    finds."""

    def late(self: MemoryRecords, change: Change) -> Change:
        owns = {
            put.owner: self._records.get(owner_bucket(put.owner)) for put in change.writing.puts
        }
        puts = tuple(
            put._replace(generation=own.generation(put.owner))
            if (own := owns[put.owner]) is not None
            else put
            for put in change.writing.puts
        )
        position = change.position if change.keys or change.position is None else NO_POSITIONS
        return change._replace(position=position, writing=change.writing._replace(puts=puts))

    with _changes(late):
        yield


@contextmanager
def _changes(given: Callable[[MemoryRecords, Change], Change]) -> Iterator[None]:
    original = MemoryRecords.change

    def change(self: MemoryRecords, change: Change, terms: CallerHistory) -> Awaitable[Receipt]:
        return original(self, given(self, change), terms)

    with patch.object(MemoryRecords, "change", change):
        yield


@contextmanager
def _write_lease() -> Iterator[None]:
    """Readers do not look for write leases."""
    original = MemoryRecords.open

    def ask(self: MemoryRecords, ask: OpenRequest, terms: CallerHistory) -> Awaitable[OpenReply]:
        writes, self._writes = self._writes, {}
        try:
            return original(self, ask, terms)
        finally:
            self._writes = writes

    with patch.object(MemoryRecords, "open", ask):
        yield


@contextmanager
def _others_write_leases() -> Iterator[None]:
    """An invalidation takes all that a key has."""

    def alone(self: MemoryRecords, change: Change) -> Change:
        for _, text in change.keys:
            writes = self._writes.get((change.bucket, text), {})
            for nonce in [nonce for nonce in writes if nonce != change.writing.nonce]:
                self._end_writes(nonce, [(change.bucket, text)])
        return change

    with _changes(alone):
        yield


@contextmanager
def _own_write_lease() -> Iterator[None]:
    """A strict put lands whoever holds the key, and replaces what was there."""

    def may_land(self: MemoryRecords, record: Any, own: Any, bucket: int, put: Put, _: str) -> bool:
        seen = (put.incarnation, put.generation) == (record.incarnation, own.generation(put.owner))
        if seen:
            self._writes.pop((bucket, put.text), None)
        return seen

    with patch.object(MemoryRecords, "_may_land", may_land):
        yield


@contextmanager
def _read_leases() -> Iterator[None]:
    """A write lease leaves what lies under its key."""
    original = MemoryRecords.intend

    def intend(self: MemoryRecords, intent: Intent, terms: CallerHistory) -> Awaitable[IntentReply]:
        with patch.object(MemoryRecords, "_drop", lambda *_: None):
            return original(self, intent, terms)

    with patch.object(MemoryRecords, "intend", intend):
        yield


RECORD_RULES: Mapping[str, Callable[[], AbstractContextManager[None]]] = MappingProxyType(
    {
        "lease": _lease,
        "nonce": _nonce,
        "nonce per lease": _nonce_per_lease,
        "generation": _generation,
        "incarnation": _incarnation,
        "unknown": _unknown,
        "order": _order,
        "late put": _late_put,
        "write lease": _write_lease,
        "others' write leases": _others_write_leases,
        "own write lease": _own_write_lease,
        "read leases": _read_leases,
    }
)
"""By the names of the switches."""
