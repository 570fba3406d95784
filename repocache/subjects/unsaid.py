"""Drawers that lack something which Redis could not be told: they have to go, and are born anew."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from repocache.errors import CacheUnavailable
from repocache.events import CacheFailed, Observer
from repocache.redis_link import Link, ReplyError

PAUSE = 1.0
"""Seconds until the next attempt, if Redis does not say before that it is there."""


class Unsaid:
    """What waits for Redis, by drawer: bounded, whatever is away for how long.

    1. A session commits, and Redis cannot be told its bookmark; 2. Redis is back, and holds the
    subject's bookmark of before in a drawer that is old enough to be believed; 3. the subject's
    next request would be shown the past. So the drawer goes: a Redis that is full does that, too.
    Between 2 and 3 another process may be the quicker one: see `Subjects.up`.
    """

    def __init__(
        self,
        link: Link,
        name: Callable[[int], str],
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        observe: Observer,
    ) -> None:
        """`name`: of a drawer in Redis. `spawn`: runs what nobody waits for."""
        self._link = link
        self._name = name
        self._spawn = spawn
        self._observe = observe
        self._waiting: set[int] = set()
        self._back = asyncio.Event()
        self._going: asyncio.Task[None] | None = None

    def __contains__(self, drawer: int) -> bool:
        return drawer in self._waiting

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, drawer: int) -> None:
        """It goes as soon as Redis takes it away."""
        self._waiting.add(drawer)
        if self._going is None or self._going.done():
            self._going = self._spawn(self._take_away())

    def wake(self) -> None:
        """Redis is back: try now."""
        self._back.set()

    async def _take_away(self) -> None:
        """Until nothing waits."""
        while self._waiting:
            drawer = next(iter(self._waiting))
            try:
                await self._link.call("DEL", self._name(drawer))
                self._waiting.discard(drawer)
            except (CacheUnavailable, ReplyError) as error:
                self._observe(CacheFailed("subject", str(error)))
                self._back.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(PAUSE):
                        await self._back.wait()
