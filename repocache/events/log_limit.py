"""How much a log is told of one trouble. Pure: the clock is passed in."""

from __future__ import annotations

SECONDS = 60.0
"""For which what was written is not written again."""
MOST = 64
"""Lines of one kind in this time, whatever they say."""


class LogLimit:
    """Of one log: the same is written once a minute, and of one kind a few lines."""

    def __init__(self) -> None:
        self._written: dict[str, set[int]] = {}
        self._until: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def admits(self, kind: str, text: int, now: float) -> int | None:
        """None: not now. Else how many of this kind were left out since the last one. `text`: a
        hash of what it says; `now`: monotonic seconds."""
        if now >= self._until.get(kind, 0.0):
            self._until[kind] = now + SECONDS
            self._written[kind] = set()
        written = self._written[kind]
        if text in written or len(written) >= MOST:
            self._left_out[kind] = self._left_out.get(kind, 0) + 1
            return None
        written.add(text)
        return self._left_out.pop(kind, 0)

    def forget(self, kind: str) -> None:
        """What comes of this kind is another trouble."""
        self._until.pop(kind, None)
