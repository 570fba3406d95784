"""The records in this process's memory: the scripts' rules once more in Python, for a process alone and for tests."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from repocache.message import WIRE_VERSION, Message
from repocache.records.names import LEASE, Namespace, Nonces, position_text
from repocache.records.port import (
    NO_POSITIONS,
    Ask,
    Change,
    Intent,
    Lease,
    Noted,
    Opened,
    Put,
    Receipt,
    Terms,
    WriteLease,
)

T = TypeVar("T")


@dataclass(slots=True)
class _Record:
    incarnation: str
    server: str
    history: str
    seq: int = 0
    floor: int | None = None
    highest: int = -1
    generations: dict[str, str] = field(default_factory=dict)
    shapes: dict[str, set[str]] = field(default_factory=dict)

    def generation(self, owner: str) -> str:
        return self.generations.get(owner, "0")

    def take(self, position: int | None) -> None:
        """The floor rises; unknown stays unknown and remembers the highest position."""
        if position is None or position == NO_POSITIONS:
            return
        if self.floor is None:
            self.highest = max(self.highest, position)
        else:
            self.floor = max(self.floor, position)


class MemoryRecords:
    """Keeps at most `capacity` values; the oldest is forgotten first, which costs a miss and never more.

    A process alone gives 0: its L1 has the values, for the short time that suits a process which nobody tells anything.
    `announce` gets each message at once, in order. `clock`: seconds, monotonic. `server`: whose records count; those of
    another are as good as missing.
    """

    def __init__(
        self,
        announce: Callable[[Message], None],
        nonces: Nonces,
        clock: Callable[[], float],
        capacity: int,
        server: str = "",
    ) -> None:
        self._announce = announce
        self._nonces = nonces
        self._clock = clock
        self._capacity = capacity
        self._server = server
        self._namespace = Namespace("memory")
        self._records: dict[int, _Record] = {}
        self._leases: OrderedDict[str, tuple[bytes, float]] = OrderedDict()
        self._values: OrderedDict[str, tuple[bytes, float]] = OrderedDict()
        self._writes: dict[tuple[int, str], dict[str, tuple[str, float]]] = {}

    def get(self, name: str) -> Awaitable[bytes | None]:
        return _answered(self._cell(name)[0])

    def open(self, ask: Ask, terms: Terms) -> Awaitable[Opened]:
        record = self._record(ask.bucket, terms)
        if isinstance(record, str):
            return _answered(Opened("history", history=record))
        generation = record.generation(ask.owner)
        record.shapes.setdefault(ask.owner, set()).add(ask.fingerprint)
        state = (record.incarnation, record.seq, generation, record.floor)
        held = [(ask.bucket, ask.text), (ask.bucket, ask.owner)]
        for nonce in ask.over:
            self._end_writes(nonce, held)
        writes = [lease for name in held for lease in self._writes.get(name, {}).items()]
        if writes:
            overdue = tuple(WriteLease(nonce, xid) for nonce, (xid, until) in writes if until <= self._clock())
            return _answered(Opened("written", *state, overdue=overdue))
        name = self._name(ask, record.incarnation, generation)
        cell, expires = self._cell(name)
        if cell is not None and hashlib.sha1(cell, usedforsecurity=False).hexdigest() == ask.refused:
            cell = None
        if cell is not None and not cell.startswith(LEASE):
            return _answered(Opened("value", *state, value=cell))
        if cell is not None:
            return _answered(Opened("wait", *state, wait=expires - self._clock()))
        nonce = self._nonces()
        self._leases[name] = (LEASE + nonce.encode(), self._clock() + ask.life)
        self._leases.move_to_end(name)
        self._sweep()
        return _answered(Opened("lease", *state, nonce=nonce))

    def fill(self, lease: Lease, terms: Terms, value: bytes, life: float) -> Awaitable[bool]:
        ask = lease.ask
        record = self._records.get(ask.bucket)
        name = self._name(ask, lease.incarnation, lease.generation)
        if (
            record is None
            or (record.server, record.incarnation) != (self._server, lease.incarnation)
            or record.history != terms.history
            or record.generation(ask.owner) != lease.generation
            or self._cell(name)[0] != LEASE + lease.nonce.encode()
        ):
            return _answered(False)
        del self._leases[name]
        if not value:
            return _answered(False)
        self._store(name, value, life)
        return _answered(True)

    def settle(self, bucket: int, terms: Terms, incarnation: str, position: int) -> Awaitable[bool]:
        record = self._records.get(bucket)
        if record is None or record.server != self._server:
            return _answered(False)
        if (record.incarnation, record.history) != (incarnation, terms.history):
            return _answered(False)
        if record.floor is not None:
            return _answered(False)
        record.floor = max(position, record.highest)
        return _answered(True)

    def change(self, change: Change, terms: Terms) -> Awaitable[Receipt]:
        record = self._record(change.bucket, terms)
        if isinstance(record, str):
            return _answered(Receipt(change.bucket, "", 0, record))
        order, puts, nonce = change.writing
        inorder = order != NO_POSITIONS and record.floor is not None and order >= record.floor
        if change.position is None:
            highest = record.highest if record.floor is None else record.floor
            record = self._renew(change.bucket, terms.history)
            record.highest = highest
        record.take(change.position)
        for owner, text in change.keys:
            self._drop(record, change.bucket, owner, text)
        landed = [put for put in puts if inorder and self._may_land(record, change.bucket, put, nonce)]
        for put in landed:
            record.shapes.setdefault(put.owner, set()).add(put.fingerprint)
            ask = Ask(change.bucket, put.owner, put.fingerprint, put.text, 0.0)
            self._store(self._name(ask, record.incarnation, put.generation), put.value, put.life)
        names = (*(text for _, text in change.keys), *change.owners)
        self._end_writes(nonce, [(change.bucket, name) for name in names])
        generations = {owner: self._nonces() for owner in change.owners}
        record.generations.update(generations)
        record.seq += 1
        keys = tuple(text for _, text in change.keys)
        self._tell(change.bucket, record, keys, generations)
        return _answered(Receipt(change.bucket, record.incarnation, record.seq, landed=len(landed)))

    def intend(self, intent: Intent, terms: Terms) -> Awaitable[Noted]:
        record = self._record(intent.bucket, terms)
        if isinstance(record, str):
            return _answered(Noted("", 0, {}, record))
        lease = (intent.xid, self._clock() + intent.life)
        for owner, text in intent.keys:
            self._drop(record, intent.bucket, owner, text)
            self._writes.setdefault((intent.bucket, text), {})[intent.nonce] = lease
        for owner in intent.owners:
            record.generations[owner] = self._nonces()
            self._writes.setdefault((intent.bucket, owner), {})[intent.nonce] = lease
        generations = {owner: record.generation(owner) for owner in intent.seen}
        return _answered(Noted(record.incarnation, record.seq, generations))

    def give_back(self, intent: Intent) -> Awaitable[None]:
        names = (*(text for _, text in intent.keys), *intent.owners)
        self._end_writes(intent.nonce, [(intent.bucket, name) for name in names])
        return _answered(None)

    def _may_land(self, record: _Record, bucket: int, put: Put, nonce: str) -> bool:
        writes = self._writes.get((bucket, put.text), {})
        held = len(writes) + len(self._writes.get((bucket, put.owner), {}))
        mine = int(nonce in writes)
        return (
            (put.incarnation, put.generation) == (record.incarnation, record.generation(put.owner))
            and mine == put.strict
            and held == put.strict
        )

    def _end_writes(self, nonce: str, names: Iterable[tuple[int, str]]) -> None:
        for name in names:
            writes = self._writes.get(name, {})
            if writes.pop(nonce, None) is not None and not writes:
                del self._writes[name]

    def _drop(self, record: _Record, bucket: int, owner: str, text: str) -> None:
        for shape in record.shapes.get(owner, ()):
            name = self._name(Ask(bucket, owner, shape, text, 0.0), record.incarnation, record.generation(owner))
            self._leases.pop(name, None)
            self._values.pop(name, None)

    def _store(self, name: str, value: bytes, life: float) -> None:
        self._leases.pop(name, None)
        self._values[name] = (value, self._clock() + life)
        self._values.move_to_end(name)
        while len(self._values) > self._capacity:
            self._values.popitem(last=False)

    def _record(self, bucket: int, terms: Terms) -> _Record | str:
        """The record, made anew if it is missing; or the other history that it belongs to."""
        record = self._records.get(bucket)
        if record is None or record.server != self._server:
            return self._renew(bucket, terms.history)
        if record.history == terms.history:
            return record
        return self._renew(bucket, terms.history) if terms.confirmed else record.history

    def _renew(self, bucket: int, history: str) -> _Record:
        record = self._records[bucket] = _Record(self._nonces(), self._server, history)
        self._tell(bucket, record, (), {})
        return record

    def _tell(self, bucket: int, record: _Record, keys: tuple[str, ...], generations: dict[str, str]) -> None:
        floor = None if record.floor is None else position_text(record.floor)
        self._announce(
            Message(
                version=WIRE_VERSION,
                bucket=bucket,
                incarnation=record.incarnation,
                seq=record.seq,
                history=record.history,
                origin=self._nonces.process,
                keys=keys,
                generations=generations,
                floor=floor,
            )
        )

    def _name(self, ask: Ask, incarnation: str, generation: str) -> str:
        return self._namespace.prefix(ask.bucket, incarnation, generation, ask.fingerprint) + ask.text

    def _cell(self, name: str) -> tuple[bytes | None, float]:
        cell, expires = self._leases.get(name) or self._values.get(name) or (None, 0.0)
        return (cell, expires) if expires > self._clock() else (None, 0.0)

    def _sweep(self) -> None:
        """Leases whose holder never came back; all have the same life, so the oldest stand in front."""
        now = self._clock()
        while self._leases and next(iter(self._leases.values()))[1] <= now:
            self._leases.popitem(last=False)


def _answered(value: T) -> Awaitable[T]:
    future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    future.set_result(value)
    return future
