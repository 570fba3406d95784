"""How the rules of tags are switched off in the simulation, where that is done otherwise than on
real servers: in place of a script's piece the same piece of `MemoryRecords`, and in place of the
tracker's what `selecting` has of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import MappingProxyType
from typing import Any
from unittest.mock import patch

from proof.simulation import selecting
from repocache.records import (
    NO_POSITIONS,
    CallerHistory,
    Change,
    MemoryRecords,
    Receipt,
    Registration,
)
from repocache.tags import NAMED


@contextmanager
def _old() -> Iterator[None]:
    """An update tells the values that a row has from now on."""

    def told(before: Any, after: Any) -> list[Any]:
        return [row for row in (after or before,) if row is not None]

    with patch.object(selecting, "told_rows", told):
        yield


@contextmanager
def _anew() -> Iterator[None]:
    """A new shape is put into the record as it is."""
    original = MemoryRecords.register

    def register(
        self: MemoryRecords, owner: str, shapes: Sequence[str], terms: CallerHistory
    ) -> Awaitable[Registration]:
        with patch.object(MemoryRecords, "_renew", _as_it_is):
            return original(self, owner, shapes, terms)

    renew = MemoryRecords._renew

    def _as_it_is(self: MemoryRecords, bucket: int, history: str) -> Any:
        record = self._records.get(bucket)
        counts = record is not None and self._counts(record, CallerHistory(history))
        return record if counts else renew(self, bucket, history)

    with patch.object(MemoryRecords, "register", register):
        yield


@contextmanager
def _settled(where: Callable[[Any, str, int], tuple[str, int]]) -> Iterator[None]:
    original = MemoryRecords.settle

    def settle(
        self: MemoryRecords, bucket: int, terms: CallerHistory, incarnation: str, position: int
    ) -> Awaitable[bool]:
        record = self._records.get(bucket)
        if record is not None:
            incarnation, position = where(record, incarnation, position)
        return original(self, bucket, terms, incarnation, position)

    with patch.object(MemoryRecords, "settle", settle):
        yield


def _settle() -> AbstractContextManager[None]:
    """A floor is settled in whatever record there is."""
    return _settled(lambda record, _, position: (record.incarnation, position))


def _highest() -> AbstractContextManager[None]:
    """An unknown floor is settled where the poll says, whatever was published meanwhile."""

    def forget(record: Any, incarnation: str, position: int) -> tuple[str, int]:
        if record.floor is None:
            record.highest = -1
        return incarnation, position

    return _settled(forget)


@contextmanager
def _raise() -> Iterator[None]:
    """What moves a tag, or all of an owner's, leaves the record's floor."""
    original = MemoryRecords.change
    prefixes = NAMED.prefix

    def change(self: MemoryRecords, change: Change, terms: CallerHistory) -> Awaitable[Receipt]:
        owners = [*change.owners, *(owner for owner, _ in change.keys)]
        moves = any(owner.startswith(prefixes) for owner in owners)
        if moves and change.position is not None:
            change = change._replace(position=NO_POSITIONS)
        return original(self, change, terms)

    with patch.object(MemoryRecords, "change", change):
        yield


TAG_RULES: Mapping[str, Callable[[], AbstractContextManager[None]]] = MappingProxyType(
    {
        "tags of old values": _old,
        "tags' record anew": _anew,
        "tags' settle": _settle,
        "tags' highest": _highest,
        "tags raise": _raise,
    }
)
"""By the names of the switches."""

TAGS_FOUND: Mapping[str, tuple[str, int]] = MappingProxyType(
    {
        "tags' shapes after": ("registers", 0),
        "tags of a lost record": ("lists", 16),
        "tags of unknown shapes": ("lists", 0),
        "tags of old values": ("lists", 0),
        "tags' record anew": ("lists", 29),
        "tags' floors": ("lists", 0),
        "tags raise": ("lists", 0),
        "tokens first": ("outdated", 0),
        "tokens before": ("lists", 3),
        "fresh tokens": ("lists", 0),
    }
)
"""As `rules.FOUND`."""
_POLL = (
    "a commit has to be published between a poll of the primary and the script that settles by it, "
    "and nobody may settle otherwise meanwhile: not met in runs of 20 to 60 seeds of a world that "
    "is made for it, several of which were cut off before the end"
)
TAGS_ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        "tags' settle": _POLL,
        "tags' highest": _POLL,
        "tags' shape is there": (
            "a record has to be lost between a registration and the lease of a token, and be made "
            "again without the shape, before a commit: not met in runs of 20 to 60 seeds of a "
            "world that is made for it, several of which were cut off before the end"
        ),
    }
)
"""As `rules.ELSEWHERE`."""
