"""Shelves that lack something which Redis could not be told: they have to go, and are born anew."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from repocache.errors import CacheUnavailable
from repocache.events import CacheFailed, Observer
from repocache.redis_link import Link, ReplyError

PAUSE = 1.0
"""Seconds until the next attempt, if Redis is there and refuses."""


class Unsaid:
    """What waits for Redis, by drawer: bounded, whatever is away for how long.

    1. A session commits, and Redis cannot be told its bookmark; 2. Redis is back, and holds the
    subject's bookmark of before under a drawer that is old enough to be believed; 3. the subject's
    next request would be shown the past. So the drawer goes: DEL is done also by a Redis that is
    full. Between 2 and 3 another process may be the quicker one: see `Subjects.up`.
    """

    def __init__(self, link: Link, name: Callable[[int], str], observe: Observer) -> None:
        """`name`: of a drawer in Redis."""
        self._link = link
        self._name = name
        self._observe = observe
        self._waiting: set[int] = set()
        self._wake = asyncio.Event()

    def __contains__(self, drawer: int) -> bool:
        return drawer in self._waiting

    def add(self, drawer: int) -> None:
        """It goes as soon as Redis takes it away."""
        self._waiting.add(drawer)
        self._wake.set()

    def wake(self) -> None:
        """Redis is back: try now."""
        self._wake.set()

    async def run(self) -> None:
        """For ever: until the task is cancelled. Begun again, it goes on with what waits."""
        self._wake.set()
        while True:
            await self._wake.wait()
            self._wake.clear()
            for drawer in tuple(self._waiting):
                try:
                    await self._link.call("DEL", self._name(drawer))
                except (CacheUnavailable, ReplyError) as error:
                    self._observe(CacheFailed("subject", str(error)))
                    asyncio.get_running_loop().call_later(PAUSE, self._wake.set)
                    break
                self._waiting.discard(drawer)
