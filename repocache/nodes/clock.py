"""The clock that bookmarks live by: the primary's, as this process knows it, and when no time
passes on it.

Owns two small values, without I/O. Whoever polls the primary tells them; whose life has ended is
asked of `routing`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

ALLOWED = 1.0
"""Seconds by which the primary's clock may leave the course of this process's own, from one poll to
the next."""


class PrimaryClock:
    """Unix time in seconds by the primary's clock, carried on by this process's monotonic one
    between two polls.

    So no clocks of two processes are compared, nor is one of theirs that somebody sets. Before the
    first answer, and of a database that has no clock of its own, it is this machine's (`wall`).
    """

    def __init__(self, monotonic: Callable[[], float], wall: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._wall = wall
        self._offset: float | None = None

    def now(self) -> float:
        return self._wall() if self._offset is None else self._monotonic() + self._offset

    def told(self, clock: float, began: float, ended: float) -> float:
        """The primary said `clock` at some moment between `began` and `ended` (monotonic seconds):
        how many seconds that is off what was believed, beyond what the poll's own length explains.
        """
        least, most = clock - ended, clock - began
        before = self._offset
        if before is None:
            self._offset = (least + most) / 2
            return 0.0
        self._offset = min(max(before, least), most)
        return self._offset - before


class Outages:
    """When the primary was not heard: then no bookmark's life ends, for what replicas lack they do
    not get.

    1. A session commits; 2. the primary is lost before the replicas had it; 3. the bookmark's life
    ends, and replicas that were within the limit of lag when the primary was last heard are still
    in the rotation; 4. the session reads there. Times are by the primary's clock.
    """

    def __init__(self) -> None:
        self._since = math.inf
        self._until = math.inf

    def began(self, last_heard: float, life: float) -> None:
        """The primary does not answer any more. `life`: seconds, the longest of a bookmark. One
        that begins before the bookmarks of the one before could end goes on from there.
        """
        if last_heard > self._until + life or self._since == math.inf:
            self._since = last_heard
        self._until = math.inf

    def ended(self, now: float) -> None:
        """The primary answers again."""
        if self._since != math.inf:
            self._until = now

    def counts_until(self, expires: float, life: float) -> float:
        """When a bookmark's life ends that was to end at `expires` and is `life` seconds long: if
        it was not over when the primary was last heard, a whole life after that is back; infinity
        while it is away.
        """
        return expires if expires <= self._since else max(expires, self._until + life)
