"""Values whose size nobody knows, read so that no reply is longer than was allowed for it.

Owns how many long ones are on their way. Every other call is one whose reply is at most `PART`
bytes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Generator
from functools import partial
from typing import Any

from repocache.errors import CacheUnavailable
from repocache.redis_link.reply import Reply
from repocache.redis_link.waiting import Argument, fail

PART = 16 * 1024
"""Bytes of a reply. Of a value that is longer so much comes first, and the server asks for no more
memory at a time."""

Send = Callable[[tuple[Argument, ...]], "asyncio.Future[Reply]"]


class Whole:
    """Long values, in turns: those on their way are of `room` bytes together."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._queue: deque[tuple[asyncio.Future[Reply], str, int]] = deque()
        self._under_way = 0
        self.room = 0

    def fetch(self, name: str, most: int) -> asyncio.Future[Reply]:
        """From its first byte on, whatever was read of it before: it may be another by now. The
        future raises CacheUnavailable for one that would not fit."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        if most <= self.room:
            self._queue.append((future, name, most))
            self._next()
        else:
            fail(
                future,
                CacheUnavailable(
                    f"Redis: a value of up to {most} bytes; {self.room} may be asked for at once"
                ),
            )
        return future

    def _next(self) -> None:
        while self._queue and self._under_way + self._queue[0][2] <= self.room:
            future, name, most = self._queue.popleft()
            if future.done():
                continue  # its caller was cancelled
            try:
                reply = self._send(("GETRANGE", name, 0, most - 1))
            except CacheUnavailable as error:
                fail(future, error)
                continue
            self._under_way += most
            reply.add_done_callback(partial(self._came, future, most))

    def _came(self, future: asyncio.Future[Reply], most: int, reply: asyncio.Future[Reply]) -> None:
        """Only now there is room again: a caller that was cancelled takes nothing back."""
        self._under_way -= most
        error = reply.exception()
        if isinstance(error, Exception):
            fail(future, error)
        elif not future.done():
            future.set_result(reply.result())
        self._next()


class Fetched:
    """A value whose first part was asked for; None if there is none, since no value of ours is
    empty. Awaited once."""

    __slots__ = ("_first", "_most", "_name", "_whole")

    def __init__(self, first: asyncio.Future[Reply], whole: Whole, name: str, most: int) -> None:
        self._first = first
        self._whole = whole
        self._name = name
        self._most = most

    def __await__(self) -> Generator[Any, Any, bytes | None]:
        value = yield from self._first
        if len(value) >= PART:
            value = yield from self._whole.fetch(self._name, self._most)
        return value or None
