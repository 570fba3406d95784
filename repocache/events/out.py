"""Why a node is out of the rotation."""

from __future__ import annotations

from enum import StrEnum


class Out(StrEnum):
    """As an event's `why` begins with; behind a colon may stand what a driver said."""

    #: It does not answer, or its connections are lost.
    LOST = "lost"
    #: It takes no more connections, and how far it is can not be asked.
    BUSY = "busy"
    #: It lets nobody in, or is no replica of this primary and database.
    REFUSED = "refused"
    #: Further behind than it may be.
    LAGGING = "lagging"
    #: Its WAL receiver does not run.
    NOT_STREAMING = "not streaming"
    #: It follows another line of WAL than the primary's.
    OTHER_HISTORY = "other history"
    #: Whether it follows the primary's line is not known yet.
    UNCONFIRMED = "unconfirmed"
    #: A server in the primary's place that is a replica.
    IN_RECOVERY = "in recovery"
    #: A server in the primary's place that has been replaced.
    OLDER_TIMELINE = "an older timeline"
    #: Another server process answered than the one that was asked.
    ELSEWHERE = "elsewhere"
    #: A pooler has come before it.
    POOLED = "pooled"

    # An event tells it as the text that it is.
    __repr__ = str.__repr__
