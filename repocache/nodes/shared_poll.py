"""A poll that callers share: it runs every so often, and at once for those who ask.

Owns who gets the outcome of which poll. What is polled, and what a failure means, is the caller's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, Self, TypeVar

from repocache.background.tasks import Kept
from repocache.events import Observer, TaskFailed

T = TypeVar("T")


class SharedPoll(Generic[T]):
    """Runs `poll` every `every` seconds and whenever it is asked, never twice at a time. An async
    context manager, of the loop that it is entered in.

    Whoever asks gets the outcome of a poll that *began after* it asked; all that ask while one is
    in flight share the next (protocol, "settle": a poll that was already in flight settles a floor
    too low).
    None is the outcome of a poll that failed. One that raises or is cancelled is an event too, and
    the polls go on.
    """

    def __init__(
        self, poll: Callable[[], Awaitable[T | None]], every: float, observe: Observer
    ) -> None:
        self._poll = poll
        self._every = every
        self._observe = observe
        self._asking: list[asyncio.Future[T | None]] = []
        self._answering: list[asyncio.Future[T | None]] = []
        self._wake: asyncio.Event | None = None

    def nudge(self) -> None:
        """Poll soon, for nobody in particular."""
        if self._wake is not None:
            self._wake.set()

    def ask(self) -> asyncio.Future[T | None]:
        """The outcome of a poll that begins after this call; None if it fails, or if nothing is
        polled (any more)."""
        asked: asyncio.Future[T | None] = asyncio.get_running_loop().create_future()
        if self._wake is None:
            asked.set_result(None)
        else:
            self._asking.append(asked)
            self._wake.set()
        return asked

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def start(self) -> None:
        """In the running loop."""
        self._wake = wake = asyncio.Event()
        self._kept = Kept(lambda: self._run(wake), self._died)
        self._kept.start()

    async def stop(self) -> None:
        """Returns when nothing is polled any more, and nobody waits. May be called twice."""
        self._wake = None
        await self._kept.stop()
        self._nobody_answers()

    async def _run(self, wake: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        while True:
            timer = loop.call_later(self._every, wake.set)
            try:
                await wake.wait()
            finally:
                timer.cancel()
            wake.clear()
            # Taken before the poll begins: whoever asks from here on is answered by the next one.
            self._answering, self._asking = self._asking, []
            _answer(self._answering, await self._poll())

    def _died(self, _: str, why: str) -> None:
        self._nobody_answers()
        self._observe(TaskFailed(getattr(self._poll, "__qualname__", repr(self._poll)), why))

    def _nobody_answers(self) -> None:
        _answer(self._answering, None)
        _answer(self._asking, None)
        self._asking = []


def _answer(asking: list[asyncio.Future[T | None]], outcome: T | None) -> None:
    for asked in asking:
        if not asked.done():
            asked.set_result(outcome)
