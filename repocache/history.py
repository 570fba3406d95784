"""Histories as texts: which line of WAL a position belongs to, and which of two lines is the newer.

A text is `cluster.timeline.process` (`PrimaryIdentity.history` makes it); empty where positions are
not to be had. Bookmarks, records and messages carry it, so any text has to be borne.
"""

from __future__ import annotations

LAST = 2**63 - 1
"""The greatest number that PostgreSQL's bigint and Redis's counters hold: no position (bytes) and
no `seq` is beyond it. What comes from outside is held to it where it is read; a bookmark's text
could not carry much more."""
LONGEST_TIMELINE = 10
"""Digits of a timeline: it has 32 bits."""


def cluster_of(history: str) -> str:
    """The cluster's identifier in a history's text."""
    return history.partition(".")[0]


def timeline_of(history: str) -> int:
    """The timeline in a history's text, 0 if there is none."""
    text = history.partition(".")[2].partition(".")[0]
    digits = text.isascii() and text.isdigit() and len(text) <= LONGEST_TIMELINE
    return int(text) if digits else 0


def is_newer(history: str, than: str) -> bool:
    """Whether a history is a later timeline of the same cluster: timelines only grow, and whoever
    writes the older one has been replaced. Of one timeline nothing tells which came first.
    """
    return (
        history != ""
        and cluster_of(history) == cluster_of(than)
        and timeline_of(history) > timeline_of(than)
    )
