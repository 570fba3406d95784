"""What happened, as frozen values handed to one observer. Metrics, logs and the live view are observers.

Owns the event kinds and the observers that need no library. An observer runs on the event loop and must not block; an
exception in it is its own affair and reaches nobody (it is logged).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from repocache.remedies import BY_KIND, of_node


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened. The subclasses say what."""

    @property
    def remedy(self) -> str:
        """What an operator can do; empty if nothing has to be done, or if the event says it itself."""
        return BY_KIND.get(type(self).__name__, "")


@dataclass(frozen=True, slots=True)
class Served(Event):
    """A read was answered. `tier`: "l1", "l2" or "database"; `node`: the node's name for the database, else empty;
    `why`: the reason for the tier or node; `count`: keys answered together."""

    owner: str
    tier: str
    node: str
    why: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class Filled(Event):
    """A value was offered to L2. `landed`: False if the lease had been voided, which is the fence at work."""

    key: str
    landed: bool


@dataclass(frozen=True, slots=True)
class Routed(Event):
    """A statement went to a node. `why` is one of the reasons of `routing.routing`."""

    node: str
    why: str


@dataclass(frozen=True, slots=True)
class NodeOut(Event):
    """A node left the rotation. `why`: "lost", "refused", "lagging", "not streaming", "other
    history", "pooled" (a pooler has come before it), "busy" (it takes no more connections, and how
    far it is can not be asked)."""

    node: str
    why: str

    @property
    def remedy(self) -> str:
        """By the reason."""
        return of_node(self.why)


@dataclass(frozen=True, slots=True)
class NodeBack(Event):
    """A node is in the rotation again after a fresh sample."""

    node: str


@dataclass(frozen=True, slots=True)
class Sampled(Event):
    """A node's position was polled. `position` and `lag_bytes` in bytes, `lag` in seconds."""

    node: str
    position: int
    lag_bytes: int
    lag: float


@dataclass(frozen=True, slots=True)
class HistoryChanged(Event):
    """The primary is another server, timeline or server process than before: old positions say nothing any more."""

    old: str
    new: str


@dataclass(frozen=True, slots=True)
class ClockJumped(Event):
    """The clock of the primary is not where it was: somebody set it, or another server became
    primary whose clock differs. `seconds`: by how much; `allowed`: what lives of bookmarks allow
    for."""

    seconds: float
    allowed: float


@dataclass(frozen=True, slots=True)
class ChannelUp(Event):
    """The Redis connection is subscribed; L1 begins empty. `server`: identity of the Redis, as in its records."""

    server: str


@dataclass(frozen=True, slots=True)
class ChannelDown(Event):
    """The Redis connection is lost; L1 does not count until it is back."""

    why: str


@dataclass(frozen=True, slots=True)
class GapSeen(Event):
    """Messages of a bucket were lost or its record was made anew: the bucket's L1 was dropped."""

    bucket: int
    why: str


@dataclass(frozen=True, slots=True)
class Invalidated(Event):
    """Keys were dropped from this process's L1. `mine`: this process wrote them."""

    bucket: int
    keys: tuple[str, ...]
    mine: bool


@dataclass(frozen=True, slots=True)
class Published(Event):
    """A commit's invalidation reached Redis. `position`: its WAL position in bytes, None: unknown."""

    keys: int
    buckets: int
    position: int | None


@dataclass(frozen=True, slots=True)
class Stored(Event):
    """A write-through commit offered the values of so many keys, and so many landed; the others were invalidated."""

    offered: int
    landed: int


@dataclass(frozen=True, slots=True)
class PublishFailed(Event):
    """A commit stands, its invalidation did not reach Redis yet; it is retried, and the bookmark is uncovered."""

    keys: int
    why: str


@dataclass(frozen=True, slots=True)
class Relayed(Event):
    """The relay delivered outbox rows that nobody had published."""

    rows: int
    keys: int


@dataclass(frozen=True, slots=True)
class RelayFailed(Event):
    """The relay, or the acknowledgement of published rows, could not do its work; it tries again."""

    why: str


@dataclass(frozen=True, slots=True)
class OutboxRefused(Event):
    """An outbox row that this release does not understand, or that Redis alone of all refuses. It gives way to the
    others and is tried again in a second, then later and later; a watched table's row that cannot be read counts as a
    change of all of the table."""

    row: int
    why: str


@dataclass(frozen=True, slots=True)
class OutboxPutAside(Event):
    """Outbox rows were refused so often that no relay takes them any more: `repocache outbox` lists them, has them
    tried again and deletes them. `why`: of the first."""

    rows: tuple[int, ...]
    why: str


@dataclass(frozen=True, slots=True)
class OutboxUnowned(Event):
    """A table has an invalidation trigger, and no repository of this process has its rows: so many notices of it became
    one. Drop the trigger, if no other service wants it."""

    table: str
    rows: int


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
class BookmarkRefused(Event):
    """A bookmark from outside was not taken: the session begins without one."""

    why: str


@dataclass(frozen=True, slots=True)
class CacheFailed(Event):
    """A cache call failed and the read went on without it. `what`: the call; `why`: the error."""

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class ValueRefused(Event):
    """A value in Redis was corrupt, foreign or oversized: treated as a miss."""

    key: str
    why: str


@dataclass(frozen=True, slots=True)
class CachedEntityChanged(Event):
    """An attribute of an entity that came from a cache was changed (`Misuse.TELL`): no row is. `id`: as `repr` shows
    it; `attribute`: empty for the entity as a whole."""

    owner: str
    id: str
    attribute: str


@dataclass(frozen=True, slots=True)
class Switched(Event):
    """An owner's cache answers in another mode from now on, in this process."""

    owner: str
    mode: str


@dataclass(frozen=True, slots=True)
class Shadowed(Event):
    """In shadow mode the cache had another row than the database answered. `verdict`: "late": the cached one was gone
    or replaced in time; "wrong": it was older than the primary's and stayed; "right", "moved": it was as good."""

    owner: str
    id: str
    verdict: str


@dataclass(frozen=True, slots=True)
class Verified(Event):
    """Cached values were compared with the primary. `wrong`: had not been invalidated `within` seconds."""

    judged: int
    late: int
    wrong: int
    within: float


@dataclass(frozen=True, slots=True)
class Degraded(Event):
    """Something that was asked for is not there, and what is lost without it. Emitted at start,
    or when it is found out."""

    what: str
    lost: str


@dataclass(frozen=True, slots=True)
class Unguarded(Event):
    """Something works and is open to others: bookmarks, or the way to a server. `risk`: what they
    could do, and what closes it. Emitted at start."""

    what: str
    risk: str


@dataclass(frozen=True, slots=True)
class HookFailed(Event):
    """An after-commit hook raised; the commit stands."""

    hook: str
    why: str


@dataclass(frozen=True, slots=True)
class TaskFailed(Event):
    """A task of the database raised. `task`: what it ran."""

    task: str
    why: str


Observer = Callable[[Event], None]


def ignore(event: Event) -> None:
    """The null observer."""


_WARNINGS: frozenset[type[Event]] = frozenset(
    {
        NodeOut,
        HistoryChanged,
        ClockJumped,
        ChannelDown,
        PublishFailed,
        RelayFailed,
        OutboxRefused,
        OutboxPutAside,
        OutboxUnowned,
        CommitUnknown,
        UndeclaredWrite,
        CacheFailed,
        ValueRefused,
        CachedEntityChanged,
        Degraded,
        Unguarded,
        HookFailed,
        TaskFailed,
    }
)


_MOST_FAILING = 256
_LEFT = ChannelDown("the link is closed")
"""The database was left: no trouble."""


class LoggingObserver:
    """Writes events to a logger: troubles as warnings, with their remedy, the rest as debug lines. That a cache failed
    in the same way as before is a debug line too, until Redis is back.

    `logger`: default `logging.getLogger("repocache")`.
    """

    def __init__(self, logger: logging.Logger | None = None) -> None:
        self._logger = logger or logging.getLogger("repocache")
        self._failing: set[int] = set()

    def __call__(self, event: Event) -> None:
        level = logging.WARNING if type(event) in _WARNINGS and self._is_news(event) else logging.DEBUG
        if self._logger.isEnabledFor(level):
            remedy = event.remedy
            self._logger.log(level, "%r; %s" if remedy else "%r%s", event, remedy)
        if isinstance(event, ChannelUp):
            self._failing.clear()

    def _is_news(self, event: Event) -> bool:
        if not isinstance(event, CacheFailed):
            return event != _LEFT
        # The hash alone: what a server says of its failure may be long.
        if (known := hash(event)) in self._failing or len(self._failing) >= _MOST_FAILING:
            return False
        self._failing.add(known)
        return True


class Observers:
    """Hands each event to several observers; one that raises is logged and does not disturb the others."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)
        self._logger = logging.getLogger("repocache")

    def __call__(self, event: Event) -> None:
        for observer in self._observers:
            try:
                observer(event)
            except Exception:
                with suppress(Exception):  # the log may be what fails, and there is nobody left to tell
                    self._logger.exception("an observer failed on %r", event)


def guarded(observe: Observer) -> Observer:
    """The same observer, as nobody is disturbed by it: the one guard of all who emit. The null observer needs none."""
    return observe if observe is ignore or isinstance(observe, Observers) else Observers([observe])
