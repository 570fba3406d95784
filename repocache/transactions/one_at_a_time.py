"""What one task at a time may use: the session of a unit of work is one connection's."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from repocache.errors import UsageError

AT_ONCE = (
    "another statement of this transaction is under way, and its connection takes one at a time: "
    "await one after the other, or read with db[...], outside of it, what may run side by side"
)


class OneAtATime:
    """Refuses who comes while another is at it."""

    def __init__(self) -> None:
        self._under_way = False
        self._waiting: list[asyncio.Future[None]] = []

    def check(self) -> None:
        """Raises UsageError if a turn is under way."""
        if self._under_way:
            raise UsageError(AT_ONCE)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Raises as `check`."""
        self.check()
        self._under_way = True
        try:
            yield
        finally:
            self._under_way = False
            waiting, self._waiting = self._waiting, []
            for each in waiting:
                if not each.done():
                    each.set_result(None)

    async def rest(self) -> None:
        """Wait until no turn is under way."""
        while self._under_way:
            ended = asyncio.get_running_loop().create_future()
            self._waiting.append(ended)
            await ended
