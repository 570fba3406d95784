"""Every rule of the protocol, how it is switched off in the simulation, and where a violation is
then found.

The switches are those of `proof/protocol`, but where those rewrite a Lua script: the simulated
Redis has `MemoryRecords` in the scripts' place, so here the same piece of it is replaced.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from types import MappingProxyType
from typing import Any, cast
from unittest.mock import patch

from proof.protocol import (
    outbox_switches,
    refresh_switches,
    renewal_switches,
    tag_switches,
    wider_switches,
)
from proof.protocol.switches import SWITCHES
from proof.simulation import outbox, redis
from proof.simulation.renewal_rules import RENEWALS_ELSEWHERE
from proof.simulation.tag_rules import TAG_RULES, TAGS_ELSEWHERE, TAGS_FOUND
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
from repocache.routing import routing

__all__ = [  # they add switches
    "outbox_switches",
    "refresh_switches",
    "renewal_switches",
    "tag_switches",
    "wider_switches",
]

_SIMULATED: dict[str, Callable[[], AbstractContextManager[None]]] = {**TAG_RULES}


def rule_off(name: str) -> AbstractContextManager[None]:
    """Live without the rule inside the block. Raises KeyError for a name that is no rule's."""
    return _SIMULATED[name]() if name in _SIMULATED else SWITCHES[name]()


def _switch(name: str) -> Callable[[Callable[[], Iterator[None]]], Callable[[], Iterator[None]]]:
    def register(off: Callable[[], Iterator[None]]) -> Callable[[], Iterator[None]]:
        assert name in SWITCHES
        _SIMULATED[name] = contextmanager(off)
        return off

    return register


def _now(answer: Awaitable[Any]) -> Any:
    return cast("asyncio.Future[Any]", answer).result()


def _answered(value: Any) -> Awaitable[Any]:
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    future.set_result(value)
    return future


@_switch("lease")
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


@_switch("nonce")
def _nonce() -> Iterator[None]:
    """All leases are alike."""
    with _leases_called(lambda: "same"):
        yield


@_switch("nonce per lease")
def _nonce_per_lease() -> Iterator[None]:
    """A process holds leases under its own id, the first 16 characters of its nonces."""
    asking = ""

    def ask(server: redis.Redis, keys: list[str], argv: list[bytes]) -> bytes:
        nonlocal asking
        asking = argv[9][:16].decode()
        return redis.answer_open(server, keys, argv)

    with patch.dict(redis.SCRIPTS, {OPEN.sha.encode(): ask}), _leases_called(lambda: asking):
        yield


@_switch("generation")
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


@_switch("incarnation")
def _incarnation() -> Iterator[None]:
    """A record made anew is called as the one before."""
    with _records_made(lambda record: setattr(record, "incarnation", "same")):
        yield


@_switch("unknown")
def _unknown() -> Iterator[None]:
    """A record made anew has a floor at once: any replica has replayed it."""
    with _records_made(lambda record: setattr(record, "floor", 0)):
        yield


@_switch("order")
def _order() -> Iterator[None]:
    """A put lands whenever it comes."""
    with _changes(lambda _, change: change._replace(writing=change.writing._replace(order=2**62))):
        yield


@_switch("late put")
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


@_switch("write lease")
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


@_switch("others' write leases")
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


@_switch("own write lease")
def _own_write_lease() -> Iterator[None]:
    """A strict put lands whoever holds the key, and replaces what was there."""

    def may_land(self: MemoryRecords, record: Any, own: Any, bucket: int, put: Put, _: str) -> bool:
        seen = (put.incarnation, put.generation) == (record.incarnation, own.generation(put.owner))
        if seen:
            self._writes.pop((bucket, put.text), None)
        return seen

    with patch.object(MemoryRecords, "_may_land", may_land):
        yield


@_switch("read leases")
def _read_leases() -> Iterator[None]:
    """A write lease leaves what lies under its key."""
    original = MemoryRecords.intend

    def intend(self: MemoryRecords, intent: Intent, terms: CallerHistory) -> Awaitable[IntentReply]:
        with patch.object(MemoryRecords, "_drop", lambda *_: None):
            return original(self, intent, terms)

    with patch.object(MemoryRecords, "intend", intend):
        yield


@_switch("last fill")
def _last_fill() -> Iterator[None]:
    """What a lagging replica fills is as old as what was there at the commit."""
    with patch.object(routing, "last_fill", lambda ttl, *_: ttl):
        yield


@_switch("whose row")
def _whose_row() -> Iterator[None]:
    """A row is known by its id alone."""
    with patch.object(outbox, "is_whose", lambda cluster, id, _: id in cluster.primary.notes):
        yield


ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        "primary only": (
            "the simulated database has no unlogged tables: which ones are is asked of the "
            "catalogue"
        ),
        "outermost": ("SQLAlchemy's sessions and outer transactions are not simulated"),
        "autocommit": ("isolation levels are SQLAlchemy's and PostgreSQL's own"),
        "as locked": ("no statement is: what changed is given to the transaction by the client"),
        "bare": ("MULTI is Redis's own behaviour"),
        "as stored": ("there is no object in memory: a put is read from the database's rows"),
        "new value": ("its services have no lookups"),
        "still has": ("its services have no lookups"),
        **TAGS_ELSEWHERE,
        **RENEWALS_ELSEWHERE,
        "unknown stays": (
            "a poll of the primary has to fail alone between the reads of one session that another "
            "poll answers: since nothing is shown that a replica cannot stamp, not met in 600 runs"
        ),
        "reader's life": (
            "positions do not lapse, and processes agree on how long values live: what is left "
            "takes a failover, or a position that is not known, and a replica that is seconds "
            "behind"
        ),
        "owner told": (
            "a push that is lost is followed by another of each bucket within half a millisecond: "
            "only a read in between, of a key that was written in between, would go by the old name"
        ),
        "sent to the primary": (
            "two commits have to be flushed together and shown apart, and their sessions to meet "
            "in one load: one run of 2,000 operations in several hundred showed it, and none of "
            "those tried since"
        ),
        "asked": (
            "one seed in several hundred showed it, and none of 400 tried since: a process that "
            "did not ask has to meet a reader who alone knows of the newer primary"
        ),
        "told": (
            "a push is there before its session's next read, but for a moment in which somebody "
            "would have to forge the very number of its record: not met in 43,000 operations"
        ),
        "tips": (
            "a message has to be lost and its number forged before the next one comes: not met in "
            "43,000 operations"
        ),
        "ahead": ("it costs misses, for which nobody is blamed here"),
        "unheard": (
            "it takes a process that alone has lost the primary for longer than replicas may lag, "
            "and a commit that nobody publishes meanwhile"
        ),
    }
)
"""Rules that cannot be broken in the simulation, and why. Their guards are the scenarios on real
servers."""

FOUND: Mapping[str, tuple[str, int]] = MappingProxyType(
    {
        "lease": ("impatience", 0),
        "nonce": ("impatience", 0),
        "nonce per lease": ("impatience", 0),
        "generation": ("sweeps", 0),
        "incarnation": ("evictions", 0),
        "unknown": ("evictions", 3),
        "server": ("usurpers", 17),
        "floor": ("restarts", 0),
        "owner's floor": ("sweeps", 0),
        "owner's record": ("sweeps", 0),
        "settle": ("evictions", 0),
        "sample": ("restarts", 124),
        "inorder": ("impatience", 0),
        "landed": ("impatience", 1),
        "waited": ("impatience", 0),
        "counters": ("deafness", 12),
        "own writes": ("silence", 0),
        "bookmark": ("restarts", 0),
        "join": ("impatience", 0),
        "position first": ("restarts", 0),
        "postcommit": ("impatience", 0),
        "published again": ("doubt", 22),
        "server process": ("amnesia", 2),
        "order": ("stores", 0),
        "late put": ("stores", 0),
        "write lease": ("prices", 0),
        "others' write leases": ("prices", 0),
        "own write lease": ("prices", 0),
        "strict primary": ("prices", 9),
        "by script": ("prices", 4),
        "sent": ("prices", 4),
        "in progress": ("lingering", 338),
        "replication id": ("returns", 69),
        "pulse": ("demotions", 7),
        "own record": ("divided", 5),
        "read leases": ("widows", 6),
        "epochs": ("torn", 0),
        "answers alone": ("torn", 0),
        "generation asked": ("forgers", 0),
        "outbox": ("orphans", 1),
        "acknowledged": ("orphans", 0),
        "whose row": ("rebirths", 15),
        "noticed": ("strangers", 0),
        "relayed": ("orphans", 0),
        "relay position": ("strangers", 4),
        "direct": ("turns", 2),
        "shown": ("ahead", 2),
        "transactions": ("reports", 0),
        "long lives": ("releases", 0),
        "primary's clock": ("drifts", 0),
        "positions stay": ("releases", 54),
        "outages": ("bereft", 19),
        "lagging": ("bereft", 5),
        "last fill": ("strands", 0),
        "newer timeline": ("parted", 1),
        "followed timeline": ("forks", 151),
        "line of a read": ("amnesia+feeds", 92),
        "feed history": ("feeds", 19),
        "sealed history": ("seals", 0),
        "not known": ("confusion", 16),
        **TAGS_FOUND,
    }
)
"""Rule -> the profile in which its absence is found, and the seed to begin with. Other seeds find
it too."""
