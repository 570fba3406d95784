"""The observers that need no library. An observer runs on the event loop and must not block; an
exception in it is its own affair and reaches nobody (it is logged)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress

from repocache.events.behind import BacklogLeft, DeadLettered, FlushFailed
from repocache.events.channel import ChannelDown, ChannelUp
from repocache.events.commits import CommitUnknown, HookFailed, PublishFailed, UndeclaredWrite
from repocache.events.event import Event
from repocache.events.nodes import ClockJumped, HistoryChanged, NodeOut
from repocache.events.outbox import OutboxPutAside, OutboxRefused, OutboxUnowned, RelayFailed
from repocache.events.process import Degraded, TaskFailed, Unguarded
from repocache.events.reads import CachedEntityChanged, CacheFailed, ValueRefused

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
        FlushFailed,
        DeadLettered,
        BacklogLeft,
    }
)


_MOST_FAILING = 256
_LEFT = ChannelDown("the link is closed")
"""The database was left: no trouble."""


class LoggingObserver:
    """Writes events to a logger: troubles as warnings, with their remedy, the rest as debug lines.
    That a cache failed in the same way as before is a debug line too, until Redis is back.

    `logger`: default `logging.getLogger("repocache")`.
    """

    def __init__(self, logger: logging.Logger | None = None) -> None:
        self._logger = logger or logging.getLogger("repocache")
        self._failing: set[int] = set()

    def __call__(self, event: Event) -> None:
        level = (
            logging.WARNING if type(event) in _WARNINGS and self._is_news(event) else logging.DEBUG
        )
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
    """Hands each event to several observers; one that raises is logged and does not disturb the
    others."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)
        self._logger = logging.getLogger("repocache")

    def __call__(self, event: Event) -> None:
        for observer in self._observers:
            try:
                observer(event)
            except Exception:
                # The log may be what fails, and there is nobody left to tell.
                with suppress(Exception):
                    self._logger.exception("an observer failed on %r", event)


def guarded(observe: Observer) -> Observer:
    """The same observer, as nobody is disturbed by it: the one guard of all who emit. The null
    observer needs none."""
    return observe if observe is ignore or isinstance(observe, Observers) else Observers([observe])
