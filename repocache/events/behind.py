"""Events of what is written behind: its flushes, and what becomes of what is refused."""

from __future__ import annotations

from repocache.events.event import Event


class WrittenBehind(Event, frozen=True):
    """A flush wrote so many rows of an owner, of so many changes. `seconds`: that the oldest had
    waited, the lag. `left`: changes of the stream that wait still."""

    owner: str
    rows: int
    changes: int
    seconds: float
    left: int


class FlushFailed(Event, frozen=True):
    """A flush could not be done; it is tried again, and nothing is lost or written twice."""

    owner: str
    why: str


class DeadLettered(Event, frozen=True):
    """The database refused so many changes, which are among the dead letters now. `why`: of the
    first."""

    owner: str
    letters: int
    why: str


class BacklogLeft(Event, frozen=True):
    """The database is left, and so many changes wait in Redis, None: not known how many. Another
    process flushes them, or the next one that starts."""

    owner: str
    changes: int | None
    why: str
