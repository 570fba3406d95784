"""Delivers what the outbox still holds: what a process could not publish, and what nobody of this library wrote.

Owns when to look and when to try again, and that what waits stays little. What is written where is `outbox`'s, the way
to Redis the bus's.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from repocache.errors import CacheUnavailable
from repocache.events import Observer, OutboxRefused, OutboxUnowned, Relayed, RelayFailed
from repocache.invalidation.batch import Batch, merged
from repocache.invalidation.bus import MOST_KEYS
from repocache.invalidation.notice import Resolve, batch_of
from repocache.invalidation.outbox import Outbox, OutboxRow

AT_ONCE = 500
"""Rows that are delivered together, fewer for a while if Redis did not take them in time."""
EVERY = 0.8
"""Seconds between two looks when nothing wakes the relay; a little less at random, so that processes spread."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0
DEADLINE = 15.0
"""Seconds for one turn: a primary that is silent costs the connection."""
FOLD = 2_000
"""So many rows that Redis does not take become one, and so many of a table that nobody here owns."""
FOREIGN_EVERY = 60.0
"""Seconds between two looks at what nobody here owns."""

Deliver = Callable[[Batch], Awaitable[None]]
"""Publishes a batch with a position taken after it was called. Raises CacheUnavailable."""


class Relay:
    """At least once, in no order, by as many relays as there are processes (protocol, Write path: "The relay")."""

    def __init__(self, outbox: Outbox, resolve: Resolve, observe: Observer) -> None:
        self._outbox = outbox
        self._resolve = resolve
        self._observe = observe
        self._wake = asyncio.Event()
        self._elsewhere = False
        self._pause = FIRST_PAUSE
        self._most = AT_ONCE
        self._foreign_at = 0.0

    def wake(self) -> None:
        """Look now."""
        self._wake.set()

    def reconnect(self) -> None:
        """The primary is another server: what it holds is not to be found on this connection."""
        self._elsewhere = True
        self._wake.set()

    async def run(self, deliver: Deliver) -> None:
        """For ever: until the task is cancelled."""
        self._deliver = deliver
        self._foreign_at = asyncio.get_running_loop().time() + FOREIGN_EVERY * random.random()  # noqa: S311
        while True:
            try:
                async with self._outbox.connected(self.wake) as connection:
                    await self._work(connection)
            except Exception as error:  # noqa: BLE001  # whatever it is: nobody else would begin again
                await self._failed(error)

    async def _work(self, connection: AsyncConnection) -> None:
        """As long as the connection is good."""
        self._elsewhere = False
        while not self._elsewhere:
            try:
                async with asyncio.timeout(DEADLINE):
                    some = await self.turn(connection)
            except CacheUnavailable as error:
                self._most = max(1, self._most // 2)
                await self._fold(connection)
                await self._failed(error)
                continue
            self._pause = FIRST_PAUSE
            self._most = min(AT_ONCE, self._most * 2)
            if not some:
                await self._look_at_foreign(connection)
                await self._rest(EVERY * random.uniform(0.7, 1.0))  # noqa: S311

    async def turn(self, connection: AsyncConnection) -> bool:
        """Deliver some rows; whether there were any.

        1. rows are read, locked; 2. the primary's position is taken, which covers their commits; 3. they are
        published; 4. they are deleted. Whoever dies on the way leaves them to the next.
        """
        async with connection.begin():
            rows = await self._outbox.take(connection, self._most)
            batches, done = self._understood(rows)
            refused = [row.id for row in rows if row.id not in done]
            if refused:
                await self._outbox.postpone(connection, refused)
            batch = merged(batches, MOST_KEYS)
            if batch:
                await self._deliver(batch)
            if done:
                await self._outbox.delivered(connection, list(done))
        if done:
            self._observe(Relayed(len(done), len(batch)))
        return bool(rows)

    def _understood(self, rows: Sequence[OutboxRow]) -> tuple[list[Batch], set[int]]:
        """What the rows say, and which rows say something."""
        batches: list[Batch] = []
        done: set[int] = set()
        for row in rows:
            try:
                batches.append(batch_of(row.notices, self._resolve))
                done.add(row.id)
            except Exception as error:  # noqa: BLE001  # one row must not keep the others from being delivered
                self._observe(OutboxRefused(row.id, f"{error}"))
        return batches, done

    async def _fold(self, connection: AsyncConnection) -> None:
        """Redis is away: as long as many rows are due, they become one, so that what waits is bounded."""
        folded = True
        while folded:
            async with connection.begin():
                rows = await self._outbox.take(connection, FOLD)
                batches, done = self._understood(rows) if len(rows) == FOLD else ([], set[int]())
                folded = len(done) > 1
                if folded:
                    await self._outbox.delivered(connection, list(done))
                    await self._outbox.put(connection, merged(batches, MOST_KEYS))

    async def _look_at_foreign(self, connection: AsyncConnection) -> None:
        """Rows of tables that nobody here owns may wait for another service; or for nobody."""
        now = asyncio.get_running_loop().time()
        if now < self._foreign_at:
            return
        self._foreign_at = now + FOREIGN_EVERY * random.uniform(0.5, 1.5)  # noqa: S311
        async with connection.begin():
            folded = await self._outbox.fold_foreign(connection, FOLD)
        for table, rows in folded:
            self._observe(OutboxUnowned(table, rows))

    async def _failed(self, error: Exception) -> None:
        self._observe(RelayFailed(f"{error}" if isinstance(error, CacheUnavailable) else repr(error)))
        pause, self._pause = self._pause, min(self._pause * 2, LONGEST_PAUSE)
        await self._rest(pause * random.uniform(0.5, 1.0))  # noqa: S311  # spreads the processes

    async def _rest(self, seconds: float) -> None:
        """Until woken, for so long at the most."""
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()
