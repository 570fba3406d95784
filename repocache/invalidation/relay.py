"""Delivers what the outbox still holds: what a process could not publish, and what nobody of this
library wrote.

Owns when to look and when to try again, whose fault it is if something is not delivered, and that
what waits stays little. What is written where is `outbox`'s, what becomes of a row that gives way
`taken`'s, the way to Redis the bus's.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping

from sqlalchemy.ext.asyncio import AsyncConnection

from repocache.errors import CacheUnavailable
from repocache.events import (
    Observer,
    OutboxPutAside,
    OutboxRefused,
    OutboxUnowned,
    Relayed,
    RelayFailed,
)
from repocache.invalidation.batch import Batch, merged
from repocache.invalidation.bus import MOST_KEYS
from repocache.invalidation.notice import LONGEST, Watched
from repocache.invalidation.outbox import ROOM, Outbox
from repocache.invalidation.taken import Retry, Understood, retries, understood
from repocache.keys import BUCKETS, owner_bucket
from repocache.redaction.foreign import in_brief

AT_ONCE = 500
"""Rows that are delivered together, fewer for a while if Redis did not take them."""
ALONE = 8
"""Rows that Redis did not take are tried one by one once they are so few."""
EVERY = 0.8
"""Seconds between two looks when nothing wakes the relay; a little less at random, so that
processes spread."""
LEAST = 0.05
"""Seconds between two looks however often it is woken: anybody may NOTIFY."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0
DEADLINE = 15.0
"""Seconds for one turn: a primary that is silent costs the connection."""
FOLD = 2_000
"""So many rows that Redis does not take become one, and so many of a table that nobody here
owns."""
FOREIGN_EVERY = 60.0
"""Seconds between two looks at what nobody here owns."""

Deliver = Callable[[Batch], Awaitable[None]]
"""Publishes a batch with a position taken after it was called. Raises CacheUnavailable."""


Beside = Callable[[AsyncConnection, Batch], Awaitable[None]]
"""What else is to be done with what was delivered, in the transaction that deletes its rows."""


async def nothing(connection: AsyncConnection, batch: Batch) -> None:
    """Nothing else."""


class Relay:
    """At least once, in no order, by as many relays as there are processes (protocol, Write path:
    "The relay")."""

    def __init__(
        self, outbox: Outbox, watched: Watched, observe: Observer, beside: Beside = nothing
    ) -> None:
        self._beside = beside
        self._outbox = outbox
        self._watched = watched
        self._owners = watched.owners
        self._observe = observe
        self._wake = asyncio.Event()
        self._elsewhere = False
        self._failing = False
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

    def _hear(self) -> None:
        """Somebody has said NOTIFY. What fails is tried again at its own pace."""
        if not self._failing:
            self._wake.set()

    async def run(self, deliver: Deliver) -> None:
        """For ever: until the task is cancelled."""
        self._deliver = deliver
        self._foreign_at = asyncio.get_running_loop().time() + FOREIGN_EVERY * random.random()  # noqa: S311
        while True:
            try:
                async with self._outbox.connected(self._hear) as connection:
                    await self._work(connection)
            except Exception as error:  # noqa: BLE001
                # Whatever it is: nobody else would begin again.
                await self._failed(error)

    async def _work(self, connection: AsyncConnection) -> None:
        """As long as the connection is good."""
        self._elsewhere = False
        while not self._elsewhere:
            try:
                async with asyncio.timeout(DEADLINE):
                    some = await self.turn(connection)
            except CacheUnavailable as error:
                if self._most <= ALONE:
                    await self._fold(connection)
                await self._failed(error)
                continue
            self._failing, self._pause = False, FIRST_PAUSE
            self._most = min(AT_ONCE, self._most * 2)
            if not some:
                await self._look_at_foreign(connection)
                await self._rest(EVERY * random.uniform(0.7, 1.0))  # noqa: S311

    async def turn(self, connection: AsyncConnection) -> bool:
        """Deliver some rows; whether there were any.

        1. rows are read, locked; 2. the primary's position is taken, which covers their commits; 3.
        they are published; 4. they are deleted, and those at fault give way. Whoever dies on the
        way leaves them to the next.
        """
        async with connection.begin():
            rows = await self._outbox.take(connection, self._most)
            found = understood(rows, self._watched)
            failed = await self._publish(found.batches)
            given_way = retries(rows, found.refused | failed)
            if given_way:
                await self._outbox.postpone(connection, given_way)
            done = [id for id in found.batches if id not in failed]
            if done:
                await self._outbox.delivered(connection, done)
                await self._beside(
                    connection, merged((found.batches[id] for id in done), MOST_KEYS)
                )
        self._tell(found, done, given_way)
        return bool(rows)

    def _tell(self, found: Understood, done: list[int], given_way: list[Retry]) -> None:
        for id, why in found.whole.items():
            self._observe(OutboxRefused(id, f"{why}: it counts as a change of all of its table"))
        for each in given_way:
            self._observe(OutboxRefused(each.id, each.why))
        aside = [each for each in given_way if each.wait is None]
        if aside:
            self._observe(OutboxPutAside(tuple(each.id for each in aside), aside[0].why))
        if done:
            self._observe(
                Relayed(len(done), len(merged((found.batches[id] for id in done), MOST_KEYS)))
            )

    async def _publish(self, batches: Mapping[int, Batch]) -> dict[int, str]:
        """Rows that are at fault, and why. Raises CacheUnavailable if all that is known is that
        Redis did not take them together.

        One is at fault if it was tried alone, and Redis took what touches none of them before and
        after it.
        """
        why = await self._attempt(merged(batches.values(), MOST_KEYS))
        if not why:
            return {}
        if len(batches) > ALONE or await self._attempt(self._of_nobody()):
            raise CacheUnavailable(why)
        tried = {id: await self._attempt(batch) for id, batch in batches.items()}
        failed = {id: why for id, why in tried.items() if why}
        if failed and await self._attempt(self._of_nobody()):
            raise CacheUnavailable(why)
        return failed

    async def _attempt(self, batch: Batch) -> str:
        """Why it was not delivered; empty if it was."""
        try:
            if batch:
                await self._deliver(batch.told_to(self._owners))
        except CacheUnavailable as error:
            return f"{error}"
        except Exception as error:  # noqa: BLE001
            # One row must not keep the others from being delivered.
            return in_brief(error)
        return ""

    def _of_nobody(self) -> Batch:
        """A record of owners' of which nobody who is declared here has one."""
        records = range(BUCKETS, 2 * BUCKETS)
        free = sorted({*records}.difference(map(owner_bucket, self._owners))) or records
        return Batch({}, anew=frozenset({random.choice(free)}))  # noqa: S311

    async def _fold(self, connection: AsyncConnection) -> None:
        """Redis is away: as long as much is due, it becomes one row, so that what waits is bounded.
        Rows that name anybody else than the owners who are declared here are left as they are:
        their names have no bound."""
        folded = True
        while folded:
            async with connection.begin():
                rows = await self._outbox.take(connection, FOLD)
                much = (
                    len(rows) == FOLD
                    or sum(len((row.notices or "").encode()) for row in rows) > ROOM - LONGEST
                )
                found = understood(rows, self._watched).batches if much else {}
                ours = {
                    id: batch
                    for id, batch in found.items()
                    if {*batch.keys, *batch.owners} <= self._owners
                }
                folded = len(ours) > 1
                if folded:
                    await self._outbox.delivered(connection, list(ours))
                    await self._outbox.put(connection, merged(ours.values(), MOST_KEYS))

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
        self._failing = True
        self._most = max(1, self._most // 4)
        self._observe(RelayFailed(in_brief(error)))
        pause, self._pause = self._pause, min(self._pause * 2, LONGEST_PAUSE)
        await self._rest(pause * random.uniform(0.5, 1.0))  # noqa: S311  # spreads the processes

    async def _rest(self, seconds: float) -> None:
        """Until woken, for so long at the most and for a moment in any case."""
        await asyncio.sleep(min(LEAST, seconds))
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()
