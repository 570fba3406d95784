"""Reads that one session makes one after another, where one call would bring them all together."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType

MANY = 10
"""Reads of one owner, each of which waited for a server, and none of which was asked for while
another was under way."""
PACKAGES = ("repocache", "sqlalchemy", "asyncio", "contextlib")
"""Whose code is not the caller's."""


class SerialCount:
    """Of one session."""

    __slots__ = ("_alone", "_under_way")

    def __init__(self) -> None:
        self._alone: dict[str, int] = {}
        self._under_way: dict[str, int] = {}

    def begin(self, owner: str) -> bool:
        """Whether it is the one that makes them many. `end` ends it, whatever becomes of it."""
        others = self._under_way.get(owner, 0)
        self._under_way[owner] = others + 1
        if others:
            return False
        alone = self._alone[owner] = self._alone.get(owner, 0) + 1
        return alone == MANY

    def end(self, owner: str) -> None:
        self._under_way[owner] -= 1


def caller() -> str:
    """Where the application's code called, as "orders.py:42 in total"; empty: not known."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  # as `inspect` does
    while frame is not None:
        package = frame.f_globals.get("__name__", "").partition(".")[0]
        if package not in PACKAGES:
            code = frame.f_code
            return f"{Path(code.co_filename).name}:{frame.f_lineno} in {code.co_qualname}"
        frame = frame.f_back
    return ""
