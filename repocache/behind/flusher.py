"""Who flushes one stream, and when: a lease, a look at each interval, and what is due.

Owns one process's share of that. What a flush does is `flushing`'s affair.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

from sqlalchemy.exc import SQLAlchemyError

from repocache.behind.flush import Flush
from repocache.behind.flushing import FlushTransaction
from repocache.behind.positions import Item
from repocache.behind.streams import Stream, Turn
from repocache.errors import AcceptedLost, BehindUnavailable, RepocacheError
from repocache.events import DeadLettered, FlushFailed, Observer, WrittenBehind
from repocache.redaction.foreign import in_brief

NOW = 0.0
"""Seconds that an item has to have waited, if somebody waits for it."""
LOOK = 0.05
"""Seconds between two looks of who waits for another process's flush."""
LONGEST_PAUSE = 5.0
"""Seconds after a flush that failed again and again."""


class Flusher:
    """Of one stream, in one process. `holder`: its name. `run` has to run."""

    def __init__(  # noqa: PLR0913  # keyword-only
        self,
        *,
        owner: str,
        holder: str,
        stream: Stream,
        flush: Flush,
        transaction: FlushTransaction,
        observe: Observer,
    ) -> None:
        self.stream = stream
        self._owner = owner
        self._holder = holder
        self._flush = flush
        self._transaction = transaction
        self._observe = observe
        self._turn = asyncio.Lock()

    async def run(self) -> None:
        """For ever: looks twice in each interval, so that an item waits about one at most.
        What goes wrong is an event, and it is tried again."""
        failed = 0
        while True:
            pause = self._flush.every / 2
            if failed:
                pause = min(max(pause, 0.1 * 2**failed), max(LONGEST_PAUSE, pause))
            await asyncio.sleep(pause * random.uniform(0.9, 1.1))  # noqa: S311  # jitter
            try:
                await self.drain(self._flush.every / 2)
                failed = 0
            except (RepocacheError, SQLAlchemyError, OSError, TimeoutError) as error:
                failed = min(failed + 1, 8)
                self._observe(FlushFailed(self._owner, in_brief(error)))

    async def drain(self, waited: float, until: Item | None = None) -> None:
        """Flush, if it is due and nobody else does, until nothing is due any more, or this item is
        written. `waited`: seconds that the first item has to have waited. Raises BehindUnavailable
        and what the database raises."""
        async with self._turn:
            turn = await self._take(waited)
            if not turn.granted:
                return
            try:
                while turn.granted:
                    items = await self.stream.first(self._flush.most)
                    if not items:
                        break
                    await self._write(items, turn.waited)
                    if until is not None and items[-1].id >= until.id:
                        break
                    turn = await self._take(waited)
            finally:
                with suppress(BehindUnavailable):  # then it ends by itself
                    await self.stream.give_back(self._holder)

    async def flushed(self) -> None:
        """Returns once all that is in the stream now is in the database, or a dead letter. Raises
        BehindUnavailable, AcceptedLost, and what the database raises."""
        last = await self.stream.last()
        if last is None:
            return
        while True:
            await self.drain(NOW, last)
            if await self._is_written(last):
                return
            await asyncio.sleep(LOOK)

    async def _take(self, waited: float) -> Turn:
        """The lease, once more for its whole length if it is held already."""
        lease, most = self._flush.lease, self._flush.most
        return await self.stream.take(self._holder, lease, waited=waited, most=most)

    async def _is_written(self, item: Item) -> bool:
        there = await self.stream.has(item)
        if (await self._transaction.position(self.stream.names.items)).covers(item.life, item.id):
            return True
        if not there:
            raise AcceptedLost(
                f"{self.stream.names.items}: what was accepted is gone from Redis, and is not in "
                "the database: it was restarted without all of its data, flushed, or replaced by a "
                "replica that had not heard of it"
            )
        return False

    async def _write(self, items: list[Item], waited: float) -> None:
        """All of them are written when this returns, and out of the stream if Redis is there. Else
        they are found there by the next flush, which sees by the position that they are."""
        done = await self._transaction.flush(self.stream.names.items, items)
        left = await self.stream.trim(items[-1])
        if done.items:
            self._observe(WrittenBehind(self._owner, done.rows, done.changes, waited, left or 0))
        if done.dead:
            self._observe(DeadLettered(self._owner, done.dead, done.why))
