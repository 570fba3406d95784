"""Batches of loads that run in tasks of the database, at most some at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from repocache.cache.inflight import InflightLoad
from repocache.cache.settler import Spawn
from repocache.errors import DatabaseUnavailable, NotStarted

Work = Callable[[], Awaitable[None]]
"""Begun by the task that runs it: one that never runs leaves no coroutine behind."""


class Lane:
    """Work of one kind, at most `MOST` pieces at a time; what comes meanwhile waits for its turn.

    `fail`: hears of what a piece of work raises, for its loads."""

    MOST = 2

    def __init__(
        self, spawn: Spawn, fail: Callable[[Sequence[InflightLoad], Exception], None]
    ) -> None:
        self._spawn = spawn
        self._fail = fail
        self._running = 0
        #: Whether more work may begin.
        self.free = True

    def run(self, loads: Sequence[InflightLoad], work: Work, ended: Callable[[], None]) -> None:
        """Begin the work for these loads. Whatever it raises is theirs. `ended` comes last."""
        try:
            self._spawn(self._run(loads, work, ended))
        except NotStarted as error:
            self._fail(loads, error)
        else:
            self._running += 1
            self.free = self._running < self.MOST

    async def _run(
        self, loads: Sequence[InflightLoad], work: Work, ended: Callable[[], None]
    ) -> None:
        try:
            await work()
        except asyncio.CancelledError:
            self._fail(loads, DatabaseUnavailable("the database was closed during the load"))
            raise
        except Exception as error:  # noqa: BLE001  # it is the callers'
            self._fail(loads, error)
        finally:
            self._running -= 1
            self.free = True
            ended()
