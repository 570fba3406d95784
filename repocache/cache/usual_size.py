"""How large an owner's values usually are, and which is far beyond that. Pure: the clock is passed
in."""

from __future__ import annotations

SMOOTHED = 16
"""A value counts for one of so many in the mean of late."""
KNOWN = 32
"""Values before anything is called usual."""
FAR = 16
"""Times the usual size that are far beyond it."""
SMALL = 16 * 1024
"""Bytes up to which no value is worth a word."""
PAUSE = 60.0
"""Seconds between two of which anything is said."""


class UsualSize:
    """Of one owner, in one process. `bytes`: the mean of late; `count`: of values so far. Both are
    open to who stores values, who counts those that are `SMALL` without a call."""

    __slots__ = ("_quiet_until", "bytes", "count")

    def __init__(self) -> None:
        self.bytes = 0.0
        self.count = 0
        self._quiet_until = 0.0

    def is_big(self, size: int, now: float) -> bool:
        """Whether a value of so many bytes is worth a word. One that is counts for the most that is
        not: a few do not become what is usual. `now`: monotonic seconds."""
        most = max(FAR * self.bytes, SMALL)
        far = self.count >= KNOWN and size > most
        self.count += 1
        self.bytes += ((most if far else size) - self.bytes) / SMOOTHED
        if not far or now < self._quiet_until:
            return False
        self._quiet_until = now + PAUSE
        return True
