"""The records in this process's memory: the scripts' rules once more in Python, for a process alone and for tests."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from repocache.message import WIRE_VERSION, Message
from repocache.records.names import LEASE, Namespace, Nonces, position_text
from repocache.records.port import NO_POSITIONS, Ask, Change, Lease, Opened, Receipt, Terms

T = TypeVar("T")


@dataclass(slots=True)
class _Record:
    incarnation: str
    history: str
    seq: int = 0
    floor: int | None = None
    highest: int = -1
    generations: dict[str, str] = field(default_factory=dict)
    shapes: dict[str, set[str]] = field(default_factory=dict)


class MemoryRecords:
    """Keeps at most `capacity` values; the oldest is forgotten first, which costs a miss and never more.

    A process alone gives 0: its L1 has the values, for the short time that suits a process which nobody tells anything.
    `announce` gets each message at once, in order. `clock`: seconds, monotonic.
    """

    def __init__(
        self, announce: Callable[[Message], None], nonces: Nonces, clock: Callable[[], float], capacity: int
    ) -> None:
        self._announce = announce
        self._nonces = nonces
        self._clock = clock
        self._capacity = capacity
        self._namespace = Namespace("memory")
        self._records: dict[int, _Record] = {}
        self._leases: OrderedDict[str, tuple[bytes, float]] = OrderedDict()
        self._values: OrderedDict[str, tuple[bytes, float]] = OrderedDict()

    def get(self, name: str) -> Awaitable[bytes | None]:
        return _answered(self._cell(name)[0])

    def open(self, ask: Ask, terms: Terms) -> Awaitable[Opened]:
        record = self._record(ask.bucket, terms)
        if isinstance(record, str):
            return _answered(Opened("history", history=record))
        generation = record.generations.get(ask.owner, "0")
        record.shapes.setdefault(ask.owner, set()).add(ask.fingerprint)
        state = (record.incarnation, record.seq, generation, record.floor)
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
            or (record.incarnation, record.history) != (lease.incarnation, terms.history)
            or record.generations.get(ask.owner, "0") != lease.generation
            or self._cell(name)[0] != LEASE + lease.nonce.encode()
        ):
            return _answered(False)
        del self._leases[name]
        if not value:
            return _answered(False)
        self._values[name] = (value, self._clock() + life)
        self._values.move_to_end(name)
        while len(self._values) > self._capacity:
            self._values.popitem(last=False)
        return _answered(True)

    def settle(self, bucket: int, terms: Terms, incarnation: str, position: int) -> Awaitable[bool]:
        record = self._records.get(bucket)
        if record is None or (record.incarnation, record.history) != (incarnation, terms.history):
            return _answered(False)
        if record.floor is not None:
            return _answered(False)
        record.floor = max(position, record.highest)
        return _answered(True)

    def change(self, change: Change, terms: Terms) -> Awaitable[Receipt]:
        record = self._record(change.bucket, terms)
        if isinstance(record, str):
            return _answered(Receipt(change.bucket, "", 0, record))
        if change.position is None:
            highest = record.highest if record.floor is None else record.floor
            record = self._renew(change.bucket, terms.history)
            record.highest = highest
        elif change.position != NO_POSITIONS and record.floor is None:
            record.highest = max(record.highest, change.position)
        elif change.position != NO_POSITIONS and record.floor is not None:
            record.floor = max(record.floor, change.position)
        for owner, text in change.keys:
            for shape in record.shapes.get(owner, ()):
                ask = Ask(change.bucket, owner, shape, text, 0.0)
                name = self._name(ask, record.incarnation, record.generations.get(owner, "0"))
                self._leases.pop(name, None)
                self._values.pop(name, None)
        generations = {owner: self._nonces() for owner in change.owners}
        record.generations.update(generations)
        record.seq += 1
        keys = tuple(text for _, text in change.keys)
        self._tell(change.bucket, record, keys, generations)
        return _answered(Receipt(change.bucket, record.incarnation, record.seq))

    def _record(self, bucket: int, terms: Terms) -> _Record | str:
        """The record, made anew if it is missing; or the other history that it belongs to."""
        record = self._records.get(bucket)
        if record is None:
            return self._renew(bucket, terms.history)
        if record.history == terms.history:
            return record
        return self._renew(bucket, terms.history) if terms.confirmed else record.history

    def _renew(self, bucket: int, history: str) -> _Record:
        record = self._records[bucket] = _Record(self._nonces(), history)
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
