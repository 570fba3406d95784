"""A poll that callers share: it runs every so often, and at once for those who ask.

Owns who gets the outcome of which poll. What is polled, and what a failure means, is the caller's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class SharedPoll(Generic[T]):
    """Runs `poll` every `every` seconds and whenever it is asked, never twice at a time. An async context manager.

    Whoever asks gets the outcome of a poll that *began after* it asked; all that ask while one is in flight share the
    next (protocol, "settle": a poll that was already in flight settles a floor too low).
    `poll` must not raise: None is the outcome of a poll that failed.
    """

    def __init__(self, poll: Callable[[], Awaitable[T | None]], every: float) -> None:
        self._poll = poll
        self._every = every
        self._wake = asyncio.Event()
        self._asking: list[asyncio.Future[T | None]] = []
        self._answering: list[asyncio.Future[T | None]] = []
        self._task: asyncio.Task[None] | None = None

    def nudge(self) -> None:
        """Poll soon, for nobody in particular."""
        self._wake.set()

    def ask(self) -> asyncio.Future[T | None]:
        """The outcome of a poll that begins after this call; None if it fails, or if nothing is polled (any more)."""
        asked: asyncio.Future[T | None] = asyncio.get_running_loop().create_future()
        if self._task is None:
            asked.set_result(None)
        else:
            self._asking.append(asked)
            self._wake.set()
        return asked

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
        _answer(self._answering, None)
        _answer(self._asking, None)
        if isinstance(outcome, Exception):
            raise outcome

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            timer = loop.call_later(self._every, self._wake.set)
            try:
                await self._wake.wait()
            finally:
                timer.cancel()
            self._wake.clear()
            # Taken before the poll begins: whoever asks from here on is answered by the next one.
            self._answering, self._asking = self._asking, []
            _answer(self._answering, await self._poll())


def _answer(asking: list[asyncio.Future[T | None]], outcome: T | None) -> None:
    for asked in asking:
        if not asked.done():
            asked.set_result(outcome)
