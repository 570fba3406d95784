"""The event loop that something lives in: its connections, tasks and futures are that loop's
alone."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from repocache.errors import NotStarted, OtherLoop, UsageError


class Home:
    """One loop, from `enter` to `leave`; another one after that."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def abandoned(self) -> bool:
        """Its loop was closed, and nobody had left it."""
        return self._loop is not None and self._loop.is_closed()

    def enter(self) -> None:
        """The running loop is home from now on. Raises OtherLoop, and UsageError if it is
        already."""
        loop = asyncio.get_running_loop()
        if self._loop is loop:
            raise UsageError("already started: enter it once, and share it")
        if self._loop is not None:
            raise OtherLoop
        self._loop = loop

    def leave(self) -> None:
        """There is none."""
        self._loop = None

    def check(self) -> None:
        """Raises NotStarted if there is none, and OtherLoop in another than this. In a thread where
        no loop runs nothing is awaited, so nothing can go wrong yet."""
        if self._loop is None:
            raise NotStarted
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            return
        if running is not self._loop:
            raise OtherLoop

    def require_running(self) -> None:
        """For what begins tasks here. Raises NotStarted, and OtherLoop where this loop does not
        run."""
        self.check()
        with suppress(RuntimeError):
            asyncio.get_running_loop()
            return
        raise OtherLoop
