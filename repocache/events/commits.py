"""Events of commits: what became of their invalidation."""

from __future__ import annotations

from dataclasses import dataclass

from repocache.events.event import Event


@dataclass(frozen=True, slots=True)
class Published(Event):
    """A commit's invalidation reached Redis. `position`: its WAL position in bytes, None:
    unknown."""

    keys: int
    buckets: int
    position: int | None


@dataclass(frozen=True, slots=True)
class Stored(Event):
    """A write-through commit offered the values of so many keys, and so many landed; the others
    were invalidated."""

    offered: int
    landed: int


@dataclass(frozen=True, slots=True)
class PublishFailed(Event):
    """A commit stands, its invalidation did not reach Redis yet; it is retried, and the bookmark is
    uncovered."""

    keys: int
    why: str


@dataclass(frozen=True, slots=True)
class CommitUnknown(Event):
    """COMMIT was sent and its outcome is not known; its buckets get new records, twice."""

    xid: str
    why: str


@dataclass(frozen=True, slots=True)
class UndeclaredWrite(Event):
    """Textual SQL that may write, or a call of a function that may, was run in a transaction that
    did not say what it touches (`work.changes`). `statement`: its shape, with `?` for what strings
    and numbers it has."""

    statement: str


@dataclass(frozen=True, slots=True)
class HookFailed(Event):
    """An after-commit hook raised; the commit stands."""

    hook: str
    why: str
