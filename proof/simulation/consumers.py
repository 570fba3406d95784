"""Services that keep something derived of their own: consumers of a process's invalidations.

Each keeps the newest version of every key of one owner, reads anew what it is told of, and is never
told more.
"""

from __future__ import annotations

import asyncio

from proof.simulation.driver import DriverError
from proof.simulation.server import Key
from proof.simulation.service import Service
from repocache.errors import RepocacheError
from repocache.invalidation.feed import Changed, ChangedAll

PAUSE = 0.1
"""Seconds before a read that failed is tried again."""


class Consumer:
    """Of one owner, at one process. `derived`: id -> the version that it believes in, None: there
    is no such row."""

    def __init__(self, service: Service, owner: str, keys: tuple[Key, ...]) -> None:
        self.service = service
        self.owner = owner
        self.derived: dict[int, int | None] = {}
        self._ids = [id for of, id in keys if of == owner]

    async def run(self) -> None:
        """Until the process leaves its database."""
        async with self.service.invalidations(self.owner) as feed:
            async for change in feed:
                await self._take(change)

    async def _take(self, change: Changed[int] | ChangedAll) -> None:
        """Behind the change's bookmark, as often as it takes."""
        ids = [*change.ids] if isinstance(change, Changed) else self._ids
        while self.service.running:
            try:
                async with self.service.routing.causal_session(change.bookmark):
                    self.derived.update(await self.service.read(self.owner, ids))
            except (RepocacheError, OSError, DriverError):
                await asyncio.sleep(PAUSE)
            else:
                return
