"""Delivers a batch to the records, and delivers later what could not be delivered at once.

Owns order and retries. What a change does to a record is the records' affair.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType

from repocache.errors import CacheUnavailable
from repocache.events import Observer, Published, PublishFailed
from repocache.history import is_newer
from repocache.invalidation.batch import NOTHING, Batch, changes
from repocache.invalidation.registered_tags import CommittedTags
from repocache.records import NO_POSITIONS, CallerHistory, Change, Receipt, Records, Writing
from repocache.tags import NAMED

MOST_KEYS = 10_000
"""Undelivered keys beyond so many become their owners as a whole: what waits for Redis is
bounded."""


TAGS = NAMED.prefix
"""How the owners of tags begin."""


class Bus:
    """`deadline`: seconds for one batch, of any size. `met`: hears of a newer timeline than that of
    a commit. `asides`: owners whose rows are kept aside when they are taken away, for so many
    seconds."""

    def __init__(
        self,
        records: Records,
        deadline: float,
        observe: Observer,
        met: Callable[[str], None],
        asides: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        self._asides = asides
        self._records = records
        self._deadline = deadline
        self._observe = observe
        self._met = met

    async def publish(
        self,
        batch: Batch,
        history: str,
        position: int | None,
        writings: Mapping[int, Writing] = MappingProxyType({}),
    ) -> list[Receipt]:
        """Apply and announce, one script for each bucket, all under way together. `position`: as in
        `Change`. `writings`: by bucket.

        Raises CacheUnavailable, also at the deadline: then some buckets may have been reached, and
        the batch is to be published again.
        """
        began = time.perf_counter()
        try:
            async with asyncio.timeout(self._deadline):
                receipts = await self._deliver(
                    changes(batch, position, writings, self._asides), CallerHistory(history)
                )
        except TimeoutError as error:
            raise CacheUnavailable(f"Redis: not published within {self._deadline} s") from error
        known = None if position == NO_POSITIONS else position
        tags = sum(len(texts) for owner, texts in batch.keys.items() if owner.startswith(TAGS))
        seconds = time.perf_counter() - began
        self._observe(Published(len(batch), len(receipts), known, tags, seconds))
        return receipts

    async def _deliver(self, changes: Sequence[Change], terms: CallerHistory) -> list[Receipt]:
        """A record of another history gives way at once: the writer's own commit came after
        whatever it knew. Not one of a newer timeline: the commit was made on a primary that has
        been replaced, and whoever lives in the newer one knows nothing of it. It is published once
        this process has found the new primary.
        """
        receipts = await self._send(changes, terms)
        foreign = {receipt.bucket for receipt in receipts if receipt.history}
        if not foreign:
            return receipts
        newer = [
            receipt.history for receipt in receipts if is_newer(receipt.history, terms.history)
        ]
        if newer:
            self._met(newer[0])
            raise CacheUnavailable(
                f"the records are of a newer timeline: {newer[0]}, not {terms.history}"
            )
        again = [change for change in changes if change.bucket in foreign]
        confirmed = await self._send(again, terms._replace(confirmed=True))
        return [receipt for receipt in receipts if not receipt.history] + confirmed

    async def _send(self, changes: Sequence[Change], terms: CallerHistory) -> list[Receipt]:
        pending: list[Awaitable[Receipt]] = [
            self._records.change(change, terms) for change in changes
        ]
        return [await receipt for receipt in pending]


def nobody(batch: Batch) -> None:
    """Hears of what was published."""


class PublishRetry:
    """Batches that a commit could not publish, kept by this process until Redis answers again.

    They die with the process; the TTL is the cap then, and the outbox the remedy.
    """

    def __init__(
        self,
        bus: Bus,
        position: Callable[[], Awaitable[tuple[str, int | None] | None]],
        observe: Observer,
        tags: CommittedTags | None,
        delivered: Callable[[Batch], None] = nobody,
    ) -> None:
        """`tags`: which of them move; None: there are none. `delivered`: hears what was
        published, as it was given."""
        self._bus = bus
        self._delivered = delivered
        self._tags = tags
        self._position = position
        self._observe = observe
        self._waiting = NOTHING
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting) + len(self._waiting.owners)

    def add(self, batch: Batch) -> None:
        """Deliver this too."""
        waiting = self._waiting | batch
        if len(waiting) > MOST_KEYS:
            waiting = Batch({}, waiting.owners | frozenset(waiting.keys))
        self._waiting = waiting
        self._wake.set()

    def wake(self) -> None:
        """Redis is back: try now."""
        self._wake.set()

    async def run(self) -> None:
        """For ever: until the task is cancelled. Begun again, it goes on with what waits."""
        pause = 0.05
        self._wake.set()
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not self._waiting:
                continue
            try:
                await self._deliver()
                pause = 0.05
            except CacheUnavailable as error:
                self._observe(PublishFailed(len(self), str(error)))
                asyncio.get_running_loop().call_later(pause, self._wake.set)
                pause = min(pause * 2, 2.0)

    async def deliver(self, batch: Batch) -> None:
        """Publish what was committed before this call: the position that is taken now covers it.

        Raises CacheUnavailable.
        """
        polled = await self._position()
        if polled is None:
            raise CacheUnavailable("the primary's position cannot be had")
        history, position = polled
        asked = None if self._tags is None else self._tags.ask(batch, history)
        told = batch if asked is None else await asked.narrowed()
        if told or not batch:
            await self._bus.publish(told, history, position)
        self._delivered(batch)

    async def _deliver(self) -> None:
        batch, self._waiting = self._waiting, NOTHING
        try:
            await self.deliver(batch)
        except BaseException:
            self._waiting = self._waiting | batch
            raise
