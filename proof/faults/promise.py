"""What a history is held to, in figures: bounds, and which errors are documented
(docs/faults.md)."""

from __future__ import annotations

from dataclasses import dataclass

from repocache.redis_link.connection import Limits
from repocache.redis_link.pulse import Pulse

PROMISES = (
    "own write",
    "monotonic",
    "stale fill",
    "applied",
    "own process",
    "late",
    "strict",
    "unreadable",
    "uncommitted",
    "rolled back",
    "lost update",
    "error",
    "hang",
    "ending",
    "feed",
)
READ_ERRORS = ("DatabaseUnavailable", "PoolExhausted", "PrimaryBudgetExceeded")
"""Of ours. A statement's own errors come as SQLAlchemy's."""
WRITE_ERRORS = (
    "CommitOutcomeUnknown",
    "DatabaseUnavailable",
    "PoolExhausted",
    "StrictWriteRefused",
    "cancelled",
)
OUTSIDE = (
    "ConnectionError",
    "DBAPIError",
    "InterfaceError",
    "InternalError",
    "OperationalError",
    "TimeoutError",
    "ConnectionRefusedError",
    "ConnectionResetError",
    "ConnectionDoesNotExistError",
    "CannotConnectNowError",
)
"""SQLAlchemy's, the driver's and the operating system's, which a transaction on the primary passes
on."""
TRANSACTIONS = ("work", "work undone", "plain")
"""Reads in transactions of the caller's own: they raise what writes do, and take their time."""


FORBIDDEN = ("TaskFailed", "HookFailed", "ValueRefused", "BookmarkRefused")
"""Events that nothing in a storm excuses: no value and no bookmark is bad, and the library's own
work does not fail."""
EXCUSED = ("BookmarkRefused(expired)",)
"""A bookmark may come too late to say anything."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """`local`: seconds after which L1, and loads that were joined, show no row that an acknowledged
    commit replaced, if the process hears nothing. `settled`: a worker that is killed leaves no
    invalidation unpublished (outbox). `strict`: no read by id shows what was before a commit that
    had been answered when it began.
    `read`: seconds in which a read ends while the primary says nothing. `leave`: seconds in which a
    process has left its database."""

    local: float
    settled: bool = True
    strict: bool = False
    read: float = 8.0
    leave: float = 10.0


def bounds_of(limits: Limits, *, strict: bool = False) -> Bounds:
    """A silent connection is dropped a pulse and a reply's deadline after its last word, found
    three looks late at most; a quarter of a second is for a busy machine."""
    tick = Pulse(limits.reply_timeout, limits.pulse).tick
    return Bounds(limits.pulse + limits.reply_timeout + 3 * tick + 0.25, strict=strict)
