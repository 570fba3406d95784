"""Events of the outbox and its relays."""

from __future__ import annotations

from repocache.events.event import Event


class Relayed(Event, frozen=True):
    """The relay delivered outbox rows that nobody had published."""

    rows: int
    keys: int


class RelayFailed(Event, frozen=True):
    """The relay, or the acknowledgement of published rows, could not do its work; it tries
    again."""

    why: str


class OutboxRefused(Event, frozen=True):
    """An outbox row that this release does not understand, or that Redis alone of all refuses. It
    gives way to the others and is tried again in a second, then later and later; a watched table's
    row that cannot be read counts as a change of all of the table."""

    row: int
    why: str


class OutboxPutAside(Event, frozen=True):
    """Outbox rows were refused so often that no relay takes them any more: `repocache outbox` lists
    them, has them tried again and deletes them. `why`: of the first."""

    rows: tuple[int, ...]
    why: str


class OutboxUnowned(Event, frozen=True):
    """A table has an invalidation trigger, and no repository of this process has its rows: so many
    notices of it became one. Drop the trigger, if no other service wants it."""

    table: str
    rows: int
