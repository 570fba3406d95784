"""Events of the outbox and its relays."""

from __future__ import annotations

from dataclasses import dataclass

from repocache.events.event import Event


@dataclass(frozen=True, slots=True)
class Relayed(Event):
    """The relay delivered outbox rows that nobody had published."""

    rows: int
    keys: int


@dataclass(frozen=True, slots=True)
class RelayFailed(Event):
    """The relay, or the acknowledgement of published rows, could not do its work; it tries
    again."""

    why: str


@dataclass(frozen=True, slots=True)
class OutboxRefused(Event):
    """An outbox row that this release does not understand, or that Redis alone of all refuses. It
    gives way to the others and is tried again in a second, then later and later; a watched table's
    row that cannot be read counts as a change of all of the table."""

    row: int
    why: str


@dataclass(frozen=True, slots=True)
class OutboxPutAside(Event):
    """Outbox rows were refused so often that no relay takes them any more: `repocache outbox` lists
    them, has them tried again and deletes them. `why`: of the first."""

    rows: tuple[int, ...]
    why: str


@dataclass(frozen=True, slots=True)
class OutboxUnowned(Event):
    """A table has an invalidation trigger, and no repository of this process has its rows: so many
    notices of it became one. Drop the trigger, if no other service wants it."""

    table: str
    rows: int
