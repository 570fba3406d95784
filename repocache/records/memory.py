"""The records in this process's memory: the scripts' rules once more in Python, for a process alone
and for tests."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from repocache.keys import owner_bucket
from repocache.records.message import WIRE_VERSION, Message
from repocache.records.names import ASIDE, BESIDE, LEASE, VALUE, Namespace, Nonces, position_text
from repocache.records.port import (
    NO_POSITIONS,
    CallerHistory,
    Change,
    Fill,
    Generation,
    Intent,
    IntentReply,
    Lease,
    LookReply,
    OpenReply,
    OpenRequest,
    Put,
    Receipt,
    Registration,
    State,
    WriteLease,
)
from repocache.records.registering import MOST_REGISTERED
from repocache.records.stored import StoredValues

T = TypeVar("T")


@dataclass(slots=True)
class _Record:
    incarnation: str
    server: str
    history: str
    tip: str
    seq: int = 0
    floor: int | None = None
    highest: int = -1
    generations: dict[str, str] = field(default_factory=dict)
    shapes: dict[str, set[str]] = field(default_factory=dict)
    registered: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def state(self) -> State:
        return State(self.incarnation, self.seq, self.floor, self.tip)

    def generation(self, owner: str) -> str:
        return self.generations.get(owner, self.incarnation)

    def take(self, position: int | None) -> None:
        """The floor rises; unknown stays unknown and remembers the highest position."""
        if position is None or position == NO_POSITIONS:
            return
        if self.floor is None:
            self.highest = max(self.highest, position)
        else:
            self.floor = max(self.floor, position)


class MemoryRecords:
    """Keeps at most `capacity` values; the oldest is forgotten first, which costs a miss and never
    more.

    A process alone gives 0: its L1 has the values, for the short time that suits a process which
    nobody tells anything. `announce` gets each message at once, in order. `clock`: seconds,
    monotonic. `server`: whose records count; those of another are as good as missing.
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
        self._server = server
        self._namespace = Namespace("memory")
        self._records: dict[int, _Record] = {}
        self._stored = StoredValues(clock, capacity)
        self._writes: dict[tuple[int, str], dict[str, tuple[str, float]]] = {}

    def get(self, name: str) -> Awaitable[bytes | None]:
        return _answered(self._stored.get(name)[0])

    def left(self, name: str) -> Awaitable[float]:
        return _answered(self._stored.get(name)[1] - self._clock())

    def open(self, ask: OpenRequest, terms: CallerHistory) -> Awaitable[OpenReply]:
        record, own = self._record(ask.bucket, terms), self._record(ask.own, terms)
        if isinstance(record, str) or isinstance(own, str):
            foreign = [each if isinstance(each, str) else "" for each in (record, own)]
            return _answered(OpenReply("history", history=foreign[0], owner_history=foreign[1]))
        generation = own.generation(ask.owner)
        record.shapes.setdefault(ask.owner, set()).add(ask.fingerprint)
        state = partial(
            OpenReply,
            incarnation=record.incarnation,
            seq=record.seq,
            generation=generation,
            floor=record.floor,
            owner=own.state,
            tip=record.tip,
        )
        held = [(ask.bucket, ask.text), (ask.own, ask.owner)]
        for nonce in ask.over:
            self._end_writes(nonce, held)
        writes = [lease for name in held for lease in self._writes.get(name, {}).items()]
        if writes:
            overdue = tuple(
                WriteLease(nonce, xid) for nonce, (xid, until) in writes if until <= self._clock()
            )
            return _answered(state("written", overdue=overdue))
        name = self._name(ask, record.incarnation, generation)
        stored, expires = self._stored.get(name)
        if (
            stored is not None
            and hashlib.sha1(stored, usedforsecurity=False).hexdigest() == ask.refused
        ):
            stored = None
        left = expires - self._clock()
        if stored is not None and not stored.startswith(LEASE):
            if not ask.keep or left > ask.keep or not stored.startswith(VALUE):
                return _answered(state("value", value=stored, left=left))
            beside = self._name(ask, record.incarnation, generation, BESIDE)
            other, until = self._stored.get(beside)
            if other is not None:
                return _answered(state("wait", wait=until - self._clock()))
            nonce = self._nonces()
            self._stored.lease(beside, LEASE + nonce.encode(), ask.life)
            return _answered(state("lease", value=stored, left=left, nonce=nonce, beside=True))
        if stored is not None and ask.life:
            return _answered(state("wait", wait=left))
        nonce = self._nonces()
        if ask.life:
            self._stored.lease(name, LEASE + nonce.encode(), ask.life)
        return _answered(state("lease", nonce=nonce))

    def open_all(
        self, asks: Sequence[OpenRequest], terms: CallerHistory
    ) -> Sequence[Awaitable[OpenReply]]:
        return [self.open(ask, terms) for ask in asks]

    def fill_all(self, fills: Sequence[Fill], terms: CallerHistory) -> Sequence[Awaitable[bool]]:
        return [self.fill(lease, terms, value, life) for lease, value, life in fills]

    def fill(
        self, lease: Lease, terms: CallerHistory, value: bytes, life: float
    ) -> Awaitable[bool]:
        ask = lease.ask
        record, own = self._records.get(ask.bucket), self._records.get(ask.own)
        name = self._name(ask, lease.incarnation, lease.generation)
        current = self._counts(record, terms) and self._counts(own, terms)
        if not current or record is None or own is None:
            return _answered(False)
        under = (record.incarnation, own.generation(ask.owner))
        beside, aside = (
            self._name(ask, lease.incarnation, lease.generation, mark) for mark in (BESIDE, ASIDE)
        )
        held = beside if lease.beside else name
        if (
            under != (lease.incarnation, lease.generation)
            or self._stored.get(held)[0] != LEASE + lease.nonce.encode()
        ):
            return _answered(False)
        if not value:
            self._stored.drop(held)
            if not life:
                self._stored.drop(name)
            return _answered(False)
        landed = self._stored.store(name, value, life)
        if lease.beside or ask.keep:
            self._stored.drop(beside)
            self._stored.drop(aside)
        return _answered(landed)

    def settle(
        self, bucket: int, terms: CallerHistory, incarnation: str, position: int
    ) -> Awaitable[bool]:
        record = self._records.get(bucket)
        if record is None or not self._counts(record, terms):
            return _answered(False)
        if record.incarnation != incarnation or record.floor is not None:
            return _answered(False)
        record.floor = max(position, record.highest)
        return _answered(True)

    def change(self, change: Change, terms: CallerHistory) -> Awaitable[Receipt]:
        found = self._with_owners(change.bucket, {owner for owner, _ in change.keys}, terms)
        if isinstance(found, str):
            return _answered(Receipt(change.bucket, "", 0, found))
        record, owners = found
        order, puts, nonce = change.writing
        inorder = {
            owner: None not in (record.floor, own.floor)
            and order >= max(record.floor or 0, own.floor or 0)
            for owner, own in owners.items()
        }
        if change.position is None:
            highest = record.highest if record.floor is None else record.floor
            record = self._renew(change.bucket, terms.history)
            record.highest = highest
        record.take(change.position)
        asides = dict(change.asides)
        for owner, text in change.keys:
            aside = asides.get(owner, 0.0)
            self._drop(record, owners[owner], change.bucket, (owner, text), aside)
        landed = [
            put
            for put in puts
            if inorder[put.owner]
            and self._may_land(record, owners[put.owner], change.bucket, put, nonce)
        ]
        for put in landed:
            record.shapes.setdefault(put.owner, set()).add(put.fingerprint)
            ask = OpenRequest(change.bucket, 0, put.owner, put.fingerprint, put.text, 0.0)
            self._stored.store(
                self._name(ask, record.incarnation, put.generation), put.value, put.life
            )
            self._stored.drop(self._name(ask, record.incarnation, put.generation, ASIDE))
        names = (*(text for _, text in change.keys), *change.owners)
        self._end_writes(nonce, [(change.bucket, name) for name in names])
        generations = {owner: self._nonces() for owner in change.owners}
        record.generations.update(generations)
        before, record.seq, record.tip = record.tip, record.seq + 1, self._nonces.tip()
        self._tell(change, record, before, generations, owners)
        done = Receipt(
            change.bucket, record.incarnation, record.seq, landed=len(landed), tip=record.tip
        )
        return _answered(done)

    def intend(self, intent: Intent, terms: CallerHistory) -> Awaitable[IntentReply]:
        named = {*intent.seen, *(owner for owner, _ in intent.keys)}
        found = self._with_owners(intent.bucket, named, terms)
        if isinstance(found, str):
            return _answered(IntentReply("", 0, {}, found))
        record, owners = found
        lease = (intent.xid, self._clock() + intent.life)
        for owner, text in intent.keys:
            self._drop(record, owners[owner], intent.bucket, (owner, text), 0.0)
            self._writes.setdefault((intent.bucket, text), {})[intent.nonce] = lease
        for owner in intent.owners:
            record.generations[owner] = self._nonces()
            self._writes.setdefault((intent.bucket, owner), {})[intent.nonce] = lease
        generations = {
            owner: Generation(own.generation(owner), own.incarnation, own.seq, own.tip)
            for owner, own in owners.items()
            if owner in intent.seen
        }
        return _answered(IntentReply(record.incarnation, record.seq, generations, tip=record.tip))

    def release(self, intent: Intent) -> Awaitable[None]:
        names = (*(text for _, text in intent.keys), *intent.owners)
        self._end_writes(intent.nonce, [(intent.bucket, name) for name in names])
        return _answered(None)

    def look(self, bucket: int, owner: str, terms: CallerHistory) -> Awaitable[LookReply | None]:
        record = self._records.get(bucket)
        if record is None or not self._counts(record, terms):
            return _answered(None)
        return _answered(
            LookReply(record.incarnation, record.floor, record.registered.get(owner, ()))
        )

    def register(
        self, owner: str, shapes: Sequence[str], terms: CallerHistory
    ) -> Awaitable[Registration]:
        record = self._record(owner_bucket(owner), terms)
        if isinstance(record, str):
            return _answered(Registration("", (), history=record))
        listed = record.registered.get(owner, ())
        after = tuple(dict.fromkeys([*listed, *shapes]))
        if after == listed:
            return _answered(Registration(record.incarnation, listed))
        if len(after) > MOST_REGISTERED:
            after = tuple(dict.fromkeys(shapes))
        highest = record.highest if record.floor is None else record.floor
        record = self._renew(owner_bucket(owner), terms.history)
        record.highest, record.registered[owner] = highest, after
        return _answered(Registration(record.incarnation, after))

    def _may_land(self, record: _Record, own: _Record, bucket: int, put: Put, nonce: str) -> bool:
        writes = self._writes.get((bucket, put.text), {})
        held = len(writes) + len(self._writes.get((owner_bucket(put.owner), put.owner), {}))
        mine = int(nonce in writes)
        return (
            (put.incarnation, put.generation) == (record.incarnation, own.generation(put.owner))
            and mine == put.strict
            and held == put.strict
        )

    def _end_writes(self, nonce: str, names: Iterable[tuple[int, str]]) -> None:
        for name in names:
            writes = self._writes.get(name, {})
            if writes.pop(nonce, None) is not None and not writes:
                del self._writes[name]

    def _drop(
        self, record: _Record, own: _Record, bucket: int, key: tuple[str, str], aside: float
    ) -> None:
        owner, text = key
        under = record.incarnation, own.generation(owner)
        for shape in record.shapes.get(owner, ()):
            ask = OpenRequest(bucket, 0, owner, shape, text, 0.0)
            name = self._name(ask, *under)
            value, expires = self._stored.get(name)
            if aside and value is not None and value.startswith(VALUE):
                life = min(aside, expires - self._clock())
                self._stored.store(self._name(ask, *under, ASIDE), value, life)
            self._stored.drop(name)
            self._stored.drop(self._name(ask, *under, BESIDE))

    def _record(self, bucket: int, terms: CallerHistory) -> _Record | str:
        """The record, made anew if it is missing; or the other history that it belongs to."""
        record = self._records.get(bucket)
        if record is None or record.server != self._server:
            return self._renew(bucket, terms.history)
        if record.history == terms.history:
            return record
        return self._renew(bucket, terms.history) if terms.confirmed else record.history

    def _with_owners(
        self, bucket: int, names: Iterable[str], terms: CallerHistory
    ) -> tuple[_Record, dict[str, _Record]] | str:
        """A bucket's record and those of owners; or the other history that one of them belongs
        to."""
        record = self._record(bucket, terms)
        found = {name: self._record(owner_bucket(name), terms) for name in sorted(names)}
        owners = {name: own for name, own in found.items() if not isinstance(own, str)}
        if isinstance(record, str):
            return record
        return next((own for own in found.values() if isinstance(own, str)), (record, owners))

    def _counts(self, record: _Record | None, terms: CallerHistory) -> bool:
        """Whether it is there, of this server, and of the caller's history."""
        return record is not None and (record.server, record.history) == (
            self._server,
            terms.history,
        )

    def _renew(self, bucket: int, history: str) -> _Record:
        incarnation = self._nonces()
        record = self._records[bucket] = _Record(incarnation, self._server, history, incarnation)
        self._tell(Change(bucket, (), (), NO_POSITIONS), record, "", {}, {})
        return record

    def _tell(
        self,
        change: Change,
        record: _Record,
        before: str,
        generations: dict[str, str],
        owners: Mapping[str, _Record],
    ) -> None:
        floor = None if record.floor is None else position_text(record.floor)
        self._announce(
            Message(
                version=WIRE_VERSION,
                bucket=change.bucket,
                incarnation=record.incarnation,
                seq=record.seq,
                history=record.history,
                origin=self._nonces.process,
                keys=tuple(text for _, text in change.keys),
                generations=generations,
                floor=floor,
                owners={
                    owner: (own.incarnation, own.seq, own.tip) for owner, own in owners.items()
                },
                tip=record.tip,
                before=before,
            )
        )

    def _name(self, ask: OpenRequest, incarnation: str, generation: str, mark: str = "") -> str:
        under = incarnation, generation, ask.fingerprint + mark
        return self._namespace.prefix(ask.bucket, *under) + ask.text


def _answered(value: T) -> Awaitable[T]:
    future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    future.set_result(value)
    return future
