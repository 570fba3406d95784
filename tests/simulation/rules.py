"""Every rule of the protocol, how it is switched off in the simulation, and where a violation is then found.

The switches are those of `tests/protocol`, but where those rewrite a Lua script: the simulated Redis has
`MemoryRecords` in the scripts' place, so here the same piece of it is replaced.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from types import MappingProxyType
from typing import Any, cast
from unittest.mock import patch

from repocache.records import Ask, Lease, MemoryRecords, Opened, Terms
from repocache.records.names import LEASE
from repocache.records.scripts import OPEN
from tests.protocol.switches import SWITCHES
from tests.simulation import redis

_SIMULATED: dict[str, Callable[[], AbstractContextManager[None]]] = {}


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

    def fill(self: MemoryRecords, lease: Lease, terms: Terms, value: bytes, life: float) -> Awaitable[bool]:
        name = self._name(lease.ask, lease.incarnation, lease.generation)
        self._values.pop(name, None)
        self._leases[name] = (LEASE + lease.nonce.encode(), math.inf)
        return original(self, lease, terms, value, life)

    with patch.object(MemoryRecords, "fill", fill):
        yield


@contextmanager
def _leases_called(name_of: Callable[[], str]) -> Iterator[None]:
    original = MemoryRecords.open

    def ask(self: MemoryRecords, ask: Ask, terms: Terms) -> Awaitable[Opened]:
        opened: Opened = _now(original(self, ask, terms))
        if opened.kind == "lease":
            opened = opened._replace(nonce=name_of())
            name = self._name(ask, opened.incarnation, opened.generation)
            self._leases[name] = (LEASE + opened.nonce.encode(), self._leases[name][1])
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

    def ask(server: redis.Redis, record: str, argv: list[bytes]) -> bytes:
        nonlocal asking
        asking = argv[8][:16].decode()
        return redis.answer_open(server, record, argv)

    with patch.dict(redis.SCRIPTS, {OPEN.sha.encode(): ask}), _leases_called(lambda: asking):
        yield


@_switch("generation")
def _generation() -> Iterator[None]:
    """A fill lands under the generation of its lease, also after a bulk change."""
    original = MemoryRecords.fill

    def fill(self: MemoryRecords, lease: Lease, terms: Terms, value: bytes, life: float) -> Awaitable[bool]:
        record = self._records.get(lease.ask.bucket)
        if record is None:
            return original(self, lease, terms, value, life)
        with patch.dict(record.generations, {lease.ask.owner: lease.generation}):
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
        self._tell(bucket, record, (), {})
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


ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        "primary only": "the simulated database has no unlogged tables: which ones are is asked of the catalogue",
        "outermost": "SQLAlchemy's sessions and outer transactions are not simulated",
        "autocommit": "isolation levels are SQLAlchemy's and PostgreSQL's own",
        "as locked": "no statement is: what changed is given to the transaction by the client",
        "bare": "MULTI is Redis's own behaviour",
        "epochs": "all simulated processes reach one primary",
        "foreign records": "all simulated processes reach one primary",
    }
)
"""Rules that cannot be broken in the simulation, and why. Their guards are the scenarios on real servers."""

FOUND: Mapping[str, tuple[str, int]] = MappingProxyType(
    {
        "lease": ("impatience", 0),
        "nonce": ("impatience", 0),
        "nonce per lease": ("impatience", 1),
        "generation": ("sweeps", 3),
        "incarnation": ("evictions", 0),
        "unknown": ("evictions", 3),
        "server": ("usurpers", 3),
        "floor": ("restarts", 0),
        "settle": ("evictions", 23),
        "sample": ("restarts", 9),
        "inorder": ("impatience", 0),
        "landed": ("impatience", 0),
        "waited": ("impatience", 0),
        "counters": ("deafness", 12),
        "own writes": ("silence", 0),
        "bookmark": ("restarts", 2),
        "join": ("impatience", 3),
        "position first": ("restarts", 2),
        "postcommit": ("impatience", 0),
        "published again": ("doubt", 0),
        "server process": ("amnesia", 5),
    }
)
"""Rule -> the profile in which its absence is found, and the seed to begin with. Other seeds find it too."""
