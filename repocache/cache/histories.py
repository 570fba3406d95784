"""Records of another line of WAL: when this process may make them anew, and when it works without
the cache."""

from __future__ import annotations

from repocache.history import is_newer

MOST = 8_192
"""Replacements that are remembered: several histories in each of the 1,024 buckets. Whoever writes
more of them than primaries live has the keys of Redis, and gets the rest of this history without a
cache."""


class Histories:
    """Which foreign history was replaced where.

    Two processes that see two primaries would make each other's records anew for ever. So a process
    replaces a history in a bucket once, after a fresh poll of the primary; if it meets the same one
    there again, somebody lives in it, and this process works without the cache there (protocol,
    State in Redis; "two processes lived in two epochs for ever"). A newer timeline is never
    replaced: whoever lives in an older one has a primary that was.
    """

    def __init__(self) -> None:
        self._mine = ""
        self._replaced: set[tuple[int, str]] = set()

    def may_replace(self, bucket: int, met: str, mine: str) -> bool:
        """Pure but for its memory. `mine`: the history of a poll that began after `met` was met."""
        if mine != self._mine:
            self._mine = mine
            self._replaced.clear()
        if met == mine:
            return True
        known = (bucket, met) in self._replaced
        if known or is_newer(met, mine) or len(self._replaced) >= MOST:
            return False
        self._replaced.add((bucket, met))
        return True
