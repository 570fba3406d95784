"""Deletes the outbox rows of published commits: many at once, and off the commits' path."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from sqlalchemy.exc import SQLAlchemyError

from repocache.events import Observer, RelayFailed
from repocache.invalidation.outbox import Outbox

MOST = 100_000
"""Rows that wait here; beyond it they are left to the relays, who publish them once more, which does no harm."""
AT_ONCE = 5_000
GATHER = 0.1
"""Seconds in which commits come together for one statement."""


class Acknowledged:
    """`run` in a task; `flush` when no more commits come."""

    def __init__(self, outbox: Outbox, observe: Observer) -> None:
        self._outbox = outbox
        self._observe = observe
        self._ids: list[int] = []
        self._some = asyncio.Event()

    def add(self, ids: Iterable[int]) -> None:
        """These were delivered."""
        if len(self._ids) < MOST:
            self._ids.extend(ids)
            self._some.set()

    async def run(self) -> None:
        """For ever: until the task is cancelled."""
        while True:
            await self._some.wait()
            await asyncio.sleep(GATHER)
            self._some.clear()
            if not await self.flush():
                await asyncio.sleep(1.0)
                self._some.set()

    async def flush(self) -> bool:
        """Delete what has been added so far; whether that succeeded."""
        while self._ids:
            ids = self._ids[:AT_ONCE]
            try:
                await self._outbox.acknowledge(ids)
            except (SQLAlchemyError, OSError, TimeoutError) as error:
                self._observe(RelayFailed(f"{len(self._ids)} rows are not acknowledged: {error}"))
                return False
            del self._ids[: len(ids)]
        return True
