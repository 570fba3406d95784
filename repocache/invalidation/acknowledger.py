"""Deletes the outbox rows of published commits: many at once, and off the commits' path."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from repocache.errors import DatabaseUnavailable
from repocache.events import Observer, RelayFailed
from repocache.invalidation.outbox import Mark, Outbox

MOST = 100_000
"""Rows that wait here; beyond it they are left to the relays, who publish them once more, which
does no harm."""
AT_ONCE = 5_000
GATHER = 0.25
"""Seconds in which commits come together for one statement."""


class OutboxAcknowledger:
    """`run` in a task; `flush` when no more commits come."""

    def __init__(self, outbox: Outbox, observe: Observer) -> None:
        self._outbox = outbox
        self._observe = observe
        self._rows: list[Mark] = []
        self._some = asyncio.Event()

    def add(self, rows: Iterable[Mark]) -> None:
        """These were delivered."""
        if len(self._rows) < MOST:
            self._rows.extend(rows)
            self._some.set()

    async def run(self) -> None:
        """For ever: until the task is cancelled. Begun again, it goes on with what waits."""
        if self._rows:
            self._some.set()
        while True:
            await self._some.wait()
            await asyncio.sleep(GATHER)
            self._some.clear()
            if not await self.flush():
                await asyncio.sleep(1.0)
                self._some.set()

    async def flush(self) -> bool:
        """Delete what has been added so far; whether that succeeded."""
        while self._rows:
            rows = self._rows[:AT_ONCE]
            try:
                await self._outbox.acknowledge(rows)
            except DatabaseUnavailable as error:
                self._observe(RelayFailed(f"{len(self._rows)} rows are not acknowledged: {error}"))
                return False
            del self._rows[: len(rows)]
        return True
