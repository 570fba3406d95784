"""How many negative entries a process stores in Redis: whoever asks for ids that are none can make
as many as he likes."""

from __future__ import annotations

from collections.abc import Callable

MOST = 10_000
"""Of one owner, stored within one `negative_ttl`: in Redis lie at most twice as many for each
process."""


class Absences:
    """`seconds`: for which each is kept. `clock`: seconds, monotonic. Beyond `most` they are not
    stored: such ids are asked of the database, in batches."""

    def __init__(self, seconds: float, clock: Callable[[], float], most: int = MOST) -> None:
        self._seconds = seconds
        self._clock = clock
        self._most = most
        self._ends = 0.0
        self._stored = 0

    def admits(self) -> bool:
        """Whether one more is stored now."""
        now = self._clock()
        if now >= self._ends:
            self._ends, self._stored = now + self._seconds, 0
        self._stored += 1
        return self._stored <= self._most
