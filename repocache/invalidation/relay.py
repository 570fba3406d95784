"""Delivers what the outbox still holds: what a process could not publish, and what nobody of this library wrote.

Owns when to look and when to try again. What is written where is `outbox`'s, the way to Redis the bus's.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from repocache.errors import CacheUnavailable, DatabaseUnavailable
from repocache.events import Observer, OutboxRefused, Relayed, RelayFailed
from repocache.invalidation.batch import NOTHING, Batch
from repocache.invalidation.outbox import Outbox, Resolve, batch_of

EVERY = 0.8
"""Seconds between two looks when nothing wakes the relay; a little less at random, so that processes spread."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0
DEADLINE = 30.0
"""Seconds for one turn: a primary that is silent costs the connection."""


Deliver = Callable[[Batch], Awaitable[None]]
"""Publishes a batch with a position taken after it was called. Raises CacheUnavailable."""


class Relay:
    """At least once, in no order, by as many relays as there are processes (protocol, Write path: "The relay")."""

    def __init__(self, outbox: Outbox, resolve: Resolve, deliver: Deliver, observe: Observer) -> None:
        self._outbox = outbox
        self._resolve = resolve
        self._deliver = deliver
        self._observe = observe
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Look now."""
        self._wake.set()

    async def run(self) -> None:
        """For ever: until the task is cancelled."""
        pause = FIRST_PAUSE
        while True:
            try:
                async with self._outbox.connected(self.wake) as connection:
                    pause = FIRST_PAUSE
                    await self._work(connection)
            except (SQLAlchemyError, OSError, TimeoutError) as error:
                self._observe(RelayFailed(f"{type(error).__name__}: {error}"))
            await self._rest(pause * random.uniform(0.5, 1.0))  # noqa: S311  # spreads the processes
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _work(self, connection: AsyncConnection) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                async with asyncio.timeout(DEADLINE):
                    some = await self.turn(connection)
                pause = FIRST_PAUSE
            except (CacheUnavailable, DatabaseUnavailable) as error:
                self._observe(RelayFailed(str(error)))
                await self._rest(pause * random.uniform(0.5, 1.0))  # noqa: S311
                pause = min(pause * 2, LONGEST_PAUSE)
            else:
                if not some:
                    await self._rest(EVERY * random.uniform(0.7, 1.0))  # noqa: S311

    async def turn(self, connection: AsyncConnection) -> bool:
        """Deliver some rows; whether there were any.

        1. rows are read, locked; 2. the primary's position is taken, which covers their commits; 3. they are
        published; 4. they are deleted. Whoever dies on the way leaves them to the next.
        """
        async with connection.begin():
            batch, done, refused = NOTHING, list[int](), list[int]()
            for row in await self._outbox.take(connection):
                try:
                    batch |= batch_of(row.notices, self._resolve)
                    done.append(row.id)
                except ValueError as error:
                    refused.append(row.id)
                    self._observe(OutboxRefused(row.id, str(error)))
            if refused:
                await self._outbox.postpone(connection, refused)
            if batch:
                await self._deliver(batch)
            if done:
                await self._outbox.delivered(connection, done)
        if done:
            self._observe(Relayed(len(done), len(batch)))
        return bool(done or refused)

    async def _rest(self, seconds: float) -> None:
        """Until woken, for so long at the most."""
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()
