"""Events of commits: what became of their invalidation."""

from __future__ import annotations

from repocache.events.event import Event


class Published(Event, frozen=True):
    """A commit's invalidation reached Redis. `position`: its WAL position in bytes, None: unknown.
    `tags`: those of its `keys` that are tags of cached selects. `seconds`: that Redis took, all
    records together; every subscriber's connection had the messages by then."""

    keys: int
    buckets: int
    position: int | None
    tags: int = 0
    seconds: float = 0.0


class Stored(Event, frozen=True):
    """A write-through commit offered the values of so many keys, and so many landed; the others
    were invalidated."""

    offered: int
    landed: int


class PublishFailed(Event, frozen=True):
    """A commit stands, its invalidation did not reach Redis yet; it is retried, and the bookmark is
    uncovered."""

    keys: int
    why: str


class CommitUnknown(Event, frozen=True):
    """COMMIT was sent and its outcome is not known; its buckets get new records, twice."""

    xid: str
    why: str


class UndeclaredWrite(Event, frozen=True):
    """Textual SQL that may write, or a call of a function that may, was run in a transaction that
    did not say what it touches (`work.changes`). `statement`: its shape, with `?` for what strings
    and numbers it has."""

    statement: str


class HookFailed(Event, frozen=True):
    """An after-commit hook raised; the commit stands."""

    hook: str
    why: str
