"""The tasks that the database object owns: nothing runs that nobody waits for, and what is to run
for ever does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Self

from repocache.errors import NotStarted
from repocache.events import Observer, TaskFailed
from repocache.redaction.foreign import in_brief

AT_ONCE = 500
"""Items of a long list that one turn of the event loop takes at the most: others have theirs in
between. A list that is shorter costs nobody a turn."""


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


PAUSE = 0.25
"""Seconds between the death of a task that is kept, and its next life."""


class Kept:
    """A task that runs until it is stopped: one that ends, whatever it died of, is begun again.

    `run` makes its coroutine. `died` hears at once what it ran, and why it died: whoever waits for
    what the task does has to be told.
    """

    def __init__(
        self, run: Callable[[], Coroutine[Any, Any, None]], died: Callable[[str, str], None]
    ) -> None:
        self._run = run
        self._died = died
        self._task: asyncio.Task[None] | None = None
        self._again: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """In the running loop."""
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._task.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Returns when it has ended."""
        if ending := self.cancel():
            await asyncio.wait(ending)

    def cancel(self) -> set[asyncio.Task[None]]:
        """It will end: the task that is about to, if there is one."""
        task, self._task = self._task, None
        if self._again is not None:
            self._again.cancel()
        if task is None or task.done():
            return set()
        task.cancel()
        return {task}

    def _ended(self, task: asyncio.Task[None]) -> None:
        why = _why(task)
        if task is not self._task:
            return
        # A timer and no task: a loop that is being closed cancels all tasks, and is left in peace.
        self._again = task.get_loop().call_later(PAUSE, self.start)
        self._died(name_of(task), why)


class Tasks:
    """Runs coroutines beside their callers. Leaving the block waits, as long as the grace lasts,
    for those that must end (a commit's publication), and cancels the rest.

    A task that raises is an event (`TaskFailed`): what a caller needs to know reaches it another
    way.
    """

    def __init__(self, grace: Grace, observe: Observer) -> None:
        self._grace = grace
        self._observe = observe
        self._must_end: set[asyncio.Task[None]] = set()
        self._others: set[asyncio.Task[None]] = set()
        self._kept: list[Kept] = []
        self._open = False

    async def __aenter__(self) -> Self:
        self._open = True
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            if self._must_end:
                await asyncio.wait(self._must_end, timeout=self._grace.left())
            self._open = False
            # One that is cancelled before its first step never runs: it could not tell those who
            # wait for it.
            await asyncio.sleep(0)
        finally:
            self._open = False
            left = self._must_end | self._others
            for task in left:
                task.cancel()
            for kept in self._kept:
                left |= kept.cancel()
            self._kept.clear()
            if left:
                await asyncio.wait(left)

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Raises NotStarted outside the block."""
        return self._run(coroutine, self._others)

    def spawn_to_end(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """One that leaving the block waits for. Raises NotStarted outside the block."""
        return self._run(coroutine, self._must_end)

    def keep(self, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run what never ends, until the block is left. Each death is an event, and it begins
        again.
        Raises NotStarted outside the block."""
        if not self._open:
            raise NotStarted
        kept = Kept(run, lambda task, why: self._observe(TaskFailed(task, why)))
        self._kept.append(kept)
        kept.start()

    def _run(
        self, coroutine: Coroutine[Any, Any, None], among: set[asyncio.Task[None]]
    ) -> asyncio.Task[None]:
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
            self._observe(TaskFailed(name_of(task), _why(task)))


def _why(task: asyncio.Task[None]) -> str:
    """Of what it died."""
    if task.cancelled():
        return "cancelled"
    error = task.exception()
    return "it ended" if error is None else in_brief(error)


def name_of(task: asyncio.Task[None]) -> str:
    """What it runs."""
    coroutine = task.get_coro()
    return getattr(coroutine, "__qualname__", repr(coroutine))
