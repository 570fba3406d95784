"""The tasks that the database object owns: nothing runs that nobody waits for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, Self

from repocache.errors import NotStarted
from repocache.events import Observer, TaskFailed


class Grace:
    """The time that leaving may take, shared by all who wait then: it begins with the first who
    asks."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until: float | None = None

    def renew(self) -> None:
        """Nobody leaves yet."""
        self._until = None

    def left(self) -> float:
        """Seconds, 0 once it is over."""
        now = time.monotonic()
        if self._until is None:
            self._until = now + self._seconds
        return max(0.0, self._until - now)


async def all_ended(*work: Coroutine[Any, Any, None]) -> None:
    """Run them at once, each to its end whatever becomes of the others; then raise the first
    error."""
    for outcome in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


class Tasks:
    """Runs coroutines beside their callers. Leaving the block waits, as long as the grace lasts,
    for those that must end (a commit's publication), and cancels the rest.

    A task that raises is an event (`TaskFailed`): what a caller needs to know reaches it another way.
    """

    def __init__(self, grace: Grace, observe: Observer) -> None:
        self._grace = grace
        self._observe = observe
        self._must_end: set[asyncio.Task[None]] = set()
        self._others: set[asyncio.Task[None]] = set()
        self._open = False

    async def __aenter__(self) -> Self:
        self._open = True
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            if self._must_end:
                await asyncio.wait(self._must_end, timeout=self._grace.left())
            self._open = False
            # One that is cancelled before its first step never runs: it could not tell those who wait for it.
            await asyncio.sleep(0)
        finally:
            self._open = False
            left = self._must_end | self._others
            for task in left:
                task.cancel()
            if left:
                await asyncio.wait(left)

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Raises NotStarted outside the block."""
        return self._run(coroutine, self._others)

    def spawn_to_end(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """One that leaving the block waits for. Raises NotStarted outside the block."""
        return self._run(coroutine, self._must_end)

    def _run(self, coroutine: Coroutine[Any, Any, None], among: set[asyncio.Task[None]]) -> asyncio.Task[None]:
        if not self._open:
            coroutine.close()
            raise NotStarted
        task = asyncio.get_running_loop().create_task(coroutine)
        among.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._must_end.discard(task)
        self._others.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._observe(TaskFailed(task.get_coro().__qualname__, repr(task.exception())))  # type: ignore[union-attr]
