"""A poll that callers share: it runs every so often, and at once for those who ask.

Owns who gets the outcome of which poll. What is polled, and what a failure means, is the caller's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class SharedPoll(Generic[T]):
    """Runs `poll` every `every` seconds and whenever it is asked, never twice at a time.

    Whoever asks gets the outcome of a poll that *began after* it asked; all that ask while one is in flight
    share the next (protocol, "settle": a poll that was already in flight settles a floor too low). `poll`
    must not raise: None is the outcome of a poll that failed."""

    def __init__(self, poll: Callable[[], Awaitable[T | None]], every: float) -> None:
        self._poll = poll
        self._every = every
        self._wake = asyncio.Event()
        self._asking: list[asyncio.Future[T | None]] = []
        self._closed = False

    def nudge(self) -> None:
        """Poll soon, for nobody in particular."""
        self._wake.set()

    def ask(self) -> asyncio.Future[T | None]:
        """The outcome of a poll that begins after this call; None if it fails or polling has ended."""
        asked: asyncio.Future[T | None] = asyncio.get_running_loop().create_future()
        if self._closed:
            asked.set_result(None)
        else:
            self._asking.append(asked)
            self._wake.set()
        return asked

    async def run(self) -> None:
        """Poll until cancelled; then everybody who still asks gets None."""
        loop = asyncio.get_running_loop()
        asking: list[asyncio.Future[T | None]] = []
        try:
            while True:
                timer = loop.call_later(self._every, self._wake.set)
                try:
                    await self._wake.wait()
                finally:
                    timer.cancel()
                self._wake.clear()
                # Taken before the poll begins: whoever asks from here on is answered by the next one.
                asking, self._asking = self._asking, []
                _answer(asking, await self._poll())
        finally:
            self._closed = True
            _answer(asking, None)
            _answer(self._asking, None)


def _answer(asking: list[asyncio.Future[T | None]], outcome: T | None) -> None:
    for asked in asking:
        if not asked.done():
            asked.set_result(outcome)
