"""The observers that need no library. An observer runs on the event loop and must not block; an
exception in it is its own affair and reaches nobody (it is logged)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from inspect import iscoroutinefunction

import msgspec

from repocache.errors import ConfigurationError
from repocache.events.behind import BacklogLeft, DeadLettered, FlushFailed
from repocache.events.channel import ChannelDown, ChannelUp
from repocache.events.commits import CommitUnknown, HookFailed, PublishFailed, UndeclaredWrite
from repocache.events.edges import EdgeBacklogFolded, EdgeBacklogLeft, EdgePurgeFailed
from repocache.events.event import Event
from repocache.events.log_limit import LogLimit
from repocache.events.measures import MeasureFailed
from repocache.events.nodes import ClockJumped, HistoryChanged, NodeOut
from repocache.events.outbox import OutboxPutAside, OutboxRefused, OutboxUnowned, RelayFailed
from repocache.events.process import Degraded, TaskFailed, Unguarded
from repocache.events.reads import (
    CachedEntityChanged,
    CacheFailed,
    SerialReads,
    ValueBig,
    ValueRefused,
)

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
        MeasureFailed,
        SerialReads,
        ValueBig,
        EdgePurgeFailed,
        EdgeBacklogFolded,
        EdgeBacklogLeft,
    }
)


_MOST_FAILING = 256
_LEFT = ChannelDown("the link is closed")
"""The database was left: no trouble."""


class LoggingObserver:
    """Writes events to a logger: troubles as warnings, with their remedy, the rest as debug lines.

    An outage does not fill the log: the same line is written once a minute, of one kind a few, and
    the next one says how many were left out, all of which are debug lines; that a cache failed in
    the same way as before is written once until Redis is back. Structured: a record has the event's
    name as `event`, and its fields as `fields`. No event has a value of a row, or a secret.

    `logger`: default `logging.getLogger("repocache")`. `clock`: monotonic seconds.
    """

    def __init__(
        self, logger: logging.Logger | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._logger = logger or logging.getLogger("repocache")
        self._clock = clock
        self._failing: set[int] = set()
        self._limit = LogLimit()

    def __call__(self, event: Event) -> None:
        kind = type(event)
        level, left_out = logging.DEBUG, 0
        if kind in _WARNINGS and self._is_news(event):
            admitted = self._limit.admits(kind.__name__, hash(event), self._clock())
            if admitted is not None:
                level, left_out = logging.WARNING, admitted
        if self._logger.isEnabledFor(level):
            self._write(level, event, left_out)
        if isinstance(event, ChannelUp):
            self._failing.clear()
            self._limit.forget(CacheFailed.__name__)

    def _write(self, level: int, event: Event, left_out: int) -> None:
        text, remedy = repr(event), event.remedy
        if remedy:
            text += f"; {remedy}"
        if left_out:
            text += f" ({left_out} more of its kind were left out before it)"
        fields = msgspec.structs.asdict(event)
        self._logger.log(level, "%s", text, extra={"event": type(event).__name__, "fields": fields})

    def _is_news(self, event: Event) -> bool:
        if not isinstance(event, CacheFailed):
            return event != _LEFT
        # The hash alone: what a server says of its failure may be long.
        if (known := hash(event)) in self._failing or len(self._failing) >= _MOST_FAILING:
            return False
        self._failing.add(known)
        return True


def check_observer(given: str, observer: object) -> None:
    """Raises ConfigurationError for what is no function of one event. `given`: what it was given
    to."""
    if isinstance(observer, type):
        raise ConfigurationError(
            f"{given}: {observer.__name__} is a class: give one of it, {observer.__name__}()"
        )
    if not callable(observer):
        raise ConfigurationError(
            f"{given}: {type(observer).__name__}: give a function of one event"
        )
    if iscoroutinefunction(observer) or iscoroutinefunction(type(observer).__call__):
        raise ConfigurationError(f"{given}: no async one: nobody would await it")


class Observers:
    """Hands each event to several observers; one that raises is logged and does not disturb the
    others."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        """Raises ConfigurationError for what observes nothing."""
        for each in observers:
            check_observer("Observers([...])", each)
        self.observers = tuple(observers)
        self._logger = logging.getLogger("repocache")

    def __call__(self, event: Event) -> None:
        for observer in self.observers:
            try:
                observer(event)
            except Exception:
                # The log may be what fails, and there is nobody left to tell.
                with suppress(Exception):
                    self._logger.exception("an observer failed on %r", event)


def may_hear(observe: Observer, observer: Observer) -> bool:
    """Whether events that are handed to the one may reach the other. What the application has
    written itself may hand them on to anybody."""
    if observe is observer:
        return True
    if isinstance(observe, Observers):
        return any(may_hear(each, observer) for each in observe.observers)
    return observe is not ignore and not type(observe).__module__.startswith("repocache.")


def guarded(observe: Observer) -> Observer:
    """The same observer, as nobody is disturbed by it: the one guard of all who emit. The null
    observer needs none."""
    return observe if observe is ignore or isinstance(observe, Observers) else Observers([observe])
