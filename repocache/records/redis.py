"""The records in Redis: values to script arguments and replies to values. The rules are the
scripts'."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from functools import partial
from typing import Protocol, TypeAlias, TypeVar

import msgspec

from repocache.keys import owner_bucket
from repocache.records.authorship import Authorship
from repocache.records.message import Said
from repocache.records.names import NOWHERE, UNKNOWN, Namespace, Nonces, position_text
from repocache.records.port import (
    NO_POSITIONS,
    CallerHistory,
    Change,
    Fill,
    Intent,
    IntentReply,
    Lease,
    LookReply,
    OpenReply,
    OpenRequest,
    Put,
    Receipt,
    Registration,
)
from repocache.records.registering import LOOK, REGISTER
from repocache.records.replies import (
    Answer,
    OneOf,
    Opening,
    read_look,
    read_noted,
    read_receipt,
    read_registration,
)
from repocache.records.scripts import (
    FILL,
    FILL_MANY,
    INTEND,
    INVALIDATE,
    MOST,
    MOST_VALUES,
    OPEN,
    OPEN_MANY,
    RELEASE,
    SETTLE,
)
from repocache.redis_link import Argument, Link, Reply, Script

T = TypeVar("T")
Call: TypeAlias = "tuple[tuple[str, ...], tuple[Argument, ...]]"
"""Keys and values of one run of a script."""


class Peer(Protocol):
    """The Redis at the other end of the link. `server`: its identity, as its last handshake
    told."""

    server: str


class RedisRecords:
    """`authorship`: of what it publishes. `max_value`: bytes; of a value that is longer one
    more is read, and it is replaced."""

    def __init__(  # noqa: PLR0913  # keyword-only, the last
        self,
        link: Link,
        namespace: Namespace,
        nonces: Nonces,
        authorship: Authorship,
        peer: Peer,
        *,
        max_value: int,
    ) -> None:
        self._link = link
        self._namespace = namespace
        self._nonces = nonces
        self._nonce = nonces.next
        self._authorship = authorship
        self._peer = peer
        self._names = namespace.records
        self._max_value = max_value

    def get(self, name: str) -> Awaitable[bytes | None]:
        return self._link.fetch(name, self._max_value + 1)

    def left(self, name: str) -> Awaitable[float]:
        return Answer(self._link.call("PTTL", name), _seconds)

    def open(self, ask: OpenRequest, terms: CallerHistory) -> Awaitable[OpenReply]:
        return Opening(self._link.run(OPEN, *self._opening(ask, terms)), ask, self._value)

    def fill(
        self, lease: Lease, terms: CallerHistory, value: bytes, life: float
    ) -> Awaitable[bool]:
        return Answer(self._link.run(FILL, *self._filling(Fill(lease, value, life), terms)), bool)

    def open_all(
        self, asks: Sequence[OpenRequest], terms: CallerHistory
    ) -> Sequence[Awaitable[OpenReply]]:
        if len(asks) == 1:
            return [self.open(asks[0], terms)]
        calls = [self._opening(ask, terms) for ask in asks]
        openings: list[Opening] = []
        for reply, number in self._run_many(OPEN_MANY, calls, [0] * len(calls)):
            begin = len(openings)
            openings += [
                Opening(OneOf(reply, at), asks[begin + at], self._value) for at in range(number)
            ]
            reply.add_done_callback(partial(_arrived, openings[begin:]))
        return openings

    def fill_all(self, fills: Sequence[Fill], terms: CallerHistory) -> Sequence[Awaitable[bool]]:
        if len(fills) == 1:
            [(lease, value, life)] = fills
            return [self.fill(lease, terms, value, life)]
        calls = [self._filling(fill, terms) for fill in fills]
        sizes = [len(fill.value) for fill in fills]
        scripts = self._run_many(FILL_MANY, calls, sizes)
        return [Answer(OneOf(reply, at), bool) for reply, many in scripts for at in range(many)]

    def _run_many(
        self, script: Script, calls: Sequence[Call], sizes: Sequence[int]
    ) -> list[tuple[asyncio.Future[Reply], int]]:
        """In scripts of `MOST` calls and of `MOST_VALUES` bytes: the reply of each, and to how many
        calls."""
        replies: list[tuple[asyncio.Future[Reply], int]] = []
        begin = 0
        while begin < len(calls):
            end, size = begin + 1, sizes[begin]
            while end < min(len(calls), begin + MOST) and size + sizes[end] <= MOST_VALUES:
                size += sizes[end]
                end += 1
            some = calls[begin:end]
            reply = self._link.run(
                script,
                [key for keys, _ in some for key in keys],
                [each for keys, values in some for each in (len(keys), len(values), *values)],
            )
            replies.append((reply, end - begin))
            begin = end
        return replies

    def _opening(self, ask: OpenRequest, terms: CallerHistory) -> Call:
        own: tuple[str | int, ...] = (
            *(ask.owner, ask.fingerprint, ask.text, self._nonce()),
            *(_milliseconds(ask.life) if ask.life else 0, ask.refused, self._max_value),
            int(ask.keep * 1000),
            *ask.over,
        )
        return (self._names[ask.bucket], self._names[ask.own]), (*self._head(terms), *own)

    def _filling(self, fill: Fill, terms: CallerHistory) -> Call:
        lease, ask = fill.lease, fill.lease.ask
        under = (self._peer.server, terms.history, lease.incarnation, lease.generation)
        own = (ask.owner, ask.fingerprint, ask.text, lease.nonce)
        keys = self._names[ask.bucket], self._names[ask.own]
        kind = "beside" if lease.beside else "alone" if ask.keep else ""
        life = _milliseconds(fill.life) if fill.life else 0
        return keys, (*under, *own, fill.value, life, kind)

    def _value(self, ask: OpenRequest, opened: OpenReply) -> Answer[bytes | None]:
        """What lies under the name that the script looked at."""
        under = opened.incarnation, opened.generation
        return Answer(
            self.get(self._namespace.prefix(ask.bucket, *under, ask.fingerprint) + ask.text), _same
        )

    def settle(
        self, bucket: int, terms: CallerHistory, incarnation: str, position: int
    ) -> Awaitable[bool]:
        own = (self._peer.server, terms.history, incarnation, position_text(position))
        return Answer(self._link.run(SETTLE, self._records(bucket), own), bool)

    def change(self, change: Change, terms: CallerHistory) -> Awaitable[Receipt]:
        generations = {owner: self._nonce() for owner in change.owners}
        tip, keys = self._nonces.tip(), [text for _, text in change.keys]
        fields = self._fields(terms.history, tip, keys, generations)
        order, puts, nonce = change.writing
        owners = sorted({owner for owner, _ in change.keys})
        asides = dict(change.asides)
        own: tuple[bytes | str | int, ...] = (
            *(_floor(change.position), fields, _floor(order), nonce, tip),
            *(len(change.keys), len(puts)),
            *(part for owner in owners for part in (owner, int(asides.get(owner, 0) * 1000))),
            *(part for key in change.keys for part in key),
            *(part for put in puts for part in _put(put)),
            *(part for moved in generations.items() for part in moved),
        )
        return Answer(
            self._link.run(
                INVALIDATE, self._records(change.bucket, owners), (*self._head(terms), *own)
            ),
            lambda reply: read_receipt(change.bucket, tip, reply),
        )

    def intend(self, intent: Intent, terms: CallerHistory) -> Awaitable[IntentReply]:
        owners = sorted({*(owner for owner, _ in intent.keys), *intent.seen})
        own: tuple[str | int, ...] = (
            *(
                intent.nonce,
                intent.xid,
                _milliseconds(intent.life),
                len(intent.keys),
                len(intent.owners),
            ),
            *(part for owner in owners for part in (owner, 0)),
            *(part for key in intent.keys for part in key),
            *(part for owner in intent.owners for part in (owner, self._nonce())),
            *intent.seen,
        )
        return Answer(
            self._link.run(
                INTEND, self._records(intent.bucket, owners), (*self._head(terms), *own)
            ),
            lambda reply: read_noted(intent.seen, reply),
        )

    def release(self, intent: Intent) -> Awaitable[None]:
        names = (*(text for _, text in intent.keys), *intent.owners)
        reply = self._link.run(RELEASE, self._records(intent.bucket), (intent.nonce, *names))
        return Answer(reply, lambda _: None)

    def look(self, bucket: int, owner: str, terms: CallerHistory) -> Awaitable[LookReply | None]:
        own = (self._peer.server, terms.history, owner)
        return Answer(self._link.run(LOOK, self._records(bucket), own), read_look)

    def register(
        self, owner: str, shapes: Sequence[str], terms: CallerHistory
    ) -> Awaitable[Registration]:
        own = (*self._head(terms), owner, *shapes)
        keys = self._records(owner_bucket(owner))
        return Answer(self._link.run(REGISTER, keys, own), read_registration)

    def _records(self, bucket: int, owners: Sequence[str] = ()) -> tuple[str, ...]:
        """The names of a bucket's record and of those of owners."""
        return tuple(map(self._names.__getitem__, (bucket, *map(owner_bucket, owners))))

    def _head(self, terms: CallerHistory) -> tuple[str, ...]:
        """What every script that may make a record begins with."""
        confirmed, incarnation = "1" if terms.confirmed else "0", self._nonce()
        mac = self._authorship.mac(Said(terms.history, incarnation))
        return (
            self._peer.server,
            terms.history,
            confirmed,
            incarnation,
            self._namespace.channel,
            mac,
        )

    def _fields(
        self, history: str, tip: str, keys: Sequence[str], generations: Mapping[str, str]
    ) -> str:
        """What the writer says in a message, after what the record does."""
        said = {"o": self._nonces.process, "k": keys, "g": generations}
        mac = self._authorship.mac(Said(history, tip, self._nonces.process, keys, generations))
        return "," + msgspec.json.encode({**said, "a": mac} if mac else said).decode()[1:-1]


def _floor(position: int | None) -> str:
    if position is None:
        return UNKNOWN
    return NOWHERE if position == NO_POSITIONS else position_text(position)


def _put(put: Put) -> tuple[bytes | str | int, ...]:
    seen = (put.owner, put.text, put.fingerprint, put.incarnation, put.generation)
    return (*seen, put.value, _milliseconds(put.life), int(put.strict))


def _arrived(openings: Sequence[Opening], reply: asyncio.Future[Reply]) -> None:
    if not reply.cancelled() and reply.exception() is None and isinstance(reply.result(), list):
        for opening, each in zip(openings, reply.result(), strict=False):
            opening.arrived(each)


def _same(reply: T) -> T:
    return reply


def _seconds(milliseconds: int) -> float:
    return milliseconds / 1000


def _milliseconds(seconds: float) -> int:
    return max(1, int(seconds * 1000))
