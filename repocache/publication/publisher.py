"""THE write path behind COMMIT: position, scripts, this process's own L1, bookmark (protocol, Write
path 4 to 6).

Runs in a task that the database owns, so that no cancellation of a caller reaches it. What changed
is `tracking`'s affair, when it is called `transactions.commit_watch`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import msgspec
from sqlalchemy import Connection
from sqlalchemy.pool import PoolProxiedConnection

from repocache.bookmark import MAX_BUCKETS, Bookmark, Seen
from repocache.cache.belief import At
from repocache.cache.bucket_views import BucketViews
from repocache.cache.settler import Line
from repocache.engines.server import SERVER
from repocache.errors import CacheUnavailable, DatabaseUnavailable
from repocache.events import CommitUnknown, Observer, PublishFailed, Stored
from repocache.history import is_newer
from repocache.invalidation.batch import Batch
from repocache.invalidation.bus import Bus, PublishRetry
from repocache.invalidation.outbox import Mark
from repocache.invalidation.registered_tags import CommittedTags
from repocache.nodes.wal import PrimaryPosition
from repocache.publication.seal import Sealing
from repocache.publication.write_through import WriteThroughHook
from repocache.records import NO_POSITIONS, Receipt
from repocache.routing.around import current_session
from repocache.transactions.changes import Changes
from repocache.transactions.transaction import Outcome, Transaction

UNKNOWN_PAUSES = (0.0, 1.0, 5.0, 25.0)
"""Seconds between the publications of a commit whose outcome is unknown, and of which nobody can be
asked."""


class CommitPrimary(Protocol):
    """What a commit asks of the primary after COMMIT."""

    @property
    def lineage(self) -> Line: ...

    async def committed_position(self) -> PrimaryPosition | None:
        """From a poll begun after this call. None: it cannot be had."""
        ...

    async def in_progress(self, xid: str) -> bool:
        """Whether the transaction has neither committed nor rolled back yet. Raises
        DatabaseUnavailable."""
        ...


class CommitOutbox(Protocol):
    """Where invalidations outlive this process, if there is one."""

    @property
    def sealing(self) -> Sealing: ...

    def acknowledge(self, rows: Iterable[Mark]) -> None:
        """These were delivered."""
        ...


InFront = Callable[[Batch, Sequence[Mark]], None]
"""Hears, for what lies in front of the caches, what a commit has changed, once L1 and Redis were
told, or cannot be. The rows are those that relays need not deliver if this process does. Never
waits."""


@dataclass(frozen=True, slots=True)
class Lives:
    """Seconds that a bookmark counts for: `covered` by a published invalidation, or not
    (`routing.last_fill`). `clock`: the one that bookmarks live by. `asides`: by owner, for how long
    what the commit took away is kept: its session is shown none of it."""

    covered: float
    uncovered: float
    clock: Callable[[], float]
    asides: Mapping[str, float] = field(default_factory=dict)


class CommitPublisher:
    """The hooks of the primary's transactions."""

    def __init__(  # noqa: PLR0913  # keyword-only
        self,
        *,
        bus: Bus,
        tags: CommittedTags | None,
        retry: PublishRetry,
        views: BucketViews,
        primary: CommitPrimary,
        lives: Lives,
        outbox: CommitOutbox,
        write_through: WriteThroughHook,
        in_front: Sequence[InFront],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        observe: Observer,
    ) -> None:
        """`tags`: which of them move; None: there are none. `in_front`: may change while it runs.
        `spawn`: runs what outlives the commit."""
        self._in_front = in_front
        self._bus = bus
        self._tags = tags
        self._retry = retry
        self._views = views
        self._primary = primary
        self._line = primary.lineage
        self._lives = lives
        self._outbox = outbox
        self._write_through = write_through
        self._stores = bool(write_through)
        self._spawn = spawn
        self._observe = observe

    def prepare(self, connection: Connection, transaction: Transaction) -> None:
        """Inside the transaction: the rows that write-through will store."""
        if self._stores:
            self._write_through.read_locked_rows(connection, transaction, _batch(transaction))

    async def seal(self, connection: PoolProxiedConnection, transaction: Transaction) -> None:
        """Inside the transaction: its outbox row, id and order position, whether its commit will be
        synchronous; write leases. Raises DatabaseUnavailable on a server that is the primary no
        more."""
        transaction.line = self._line.writes_with(connection.info.get(SERVER))
        batch = _batch(transaction)
        if not (batch.keys or batch.owners or transaction.changes.undeclared):
            return  # rows that nobody owns: its session alone is concerned
        if self._line.history:
            await self._outbox.sealing(connection, transaction, batch)
            if self._stores:
                await self._write_through.intend(transaction, _batch(transaction))

    def rolled_back(self, transaction: Transaction) -> None:
        """Write leases hide what is still the truth."""
        self._write_through.release(transaction)

    async def committed(self, transaction: Transaction, outcome: Outcome) -> None:
        """After COMMIT, whatever came of it. Sets the transaction's bookmark and advances the
        caller's session."""
        changed = _batch(transaction)
        session = current_session()
        reads = None if session is None else session.reads()
        asked = None if self._tags is None else self._tags.ask(changed, self._line.history)
        polled = await self._polled(outcome)
        history, position = self._position(transaction, polled)
        batch = changed if asked is None else await asked.narrowed()
        stores = self._stores and outcome is Outcome.COMMITTED
        writings = self._write_through.puts_by_bucket(transaction, history) if stores else {}
        told = bool(batch.keys or batch.owners)
        try:
            receipts = await self._bus.publish(batch, history, position, writings) if told else []
        except CacheUnavailable as error:
            receipts = []
            self._retry.add(changed)
            self._observe(PublishFailed(len(batch), str(error)))
        else:
            if transaction.rows and outcome is Outcome.COMMITTED:
                self._outbox.acknowledge(transaction.rows)
        offered = sum(len(writing.puts) for writing in writings.values())
        if offered:
            self._observe(Stored(offered, sum(receipt.landed for receipt in receipts)))
        self._views.wrote((text for texts in batch.keys.values() for text in texts), batch.owners)
        for receipt in receipts:
            self._views.confirm(receipt.bucket, At(receipt.incarnation, receipt.seq, receipt.tip))
        covered = (bool(receipts) or not told) and outcome is Outcome.COMMITTED
        self._tell_in_front(changed, transaction.purges if covered else ())
        transaction.bookmark = self._bookmark(history, position, receipts, covered)
        if covered and self._lives.asides:
            transaction.bookmark = self._lengthened(transaction.bookmark, batch)
        if session is not None and reads is not None:
            session.settle(reads, polled)
            session.advance(transaction.bookmark)
        if outcome is Outcome.UNKNOWN:
            self._observe(CommitUnknown(transaction.xid or "", transaction.why))
            if changed:
                self._spawn(self._publish_again(transaction.xid, changed))

    def _tell_in_front(self, changed: Batch, rows: Sequence[Mark]) -> None:
        for each in self._in_front:
            each(changed, rows)

    async def _polled(self, outcome: Outcome) -> PrimaryPosition | None:
        """Never one from inside the transaction: its commit record comes after that."""
        if not self._line.history or outcome is Outcome.UNKNOWN:
            return None
        return await self._primary.committed_position()

    def _position(
        self, transaction: Transaction, polled: PrimaryPosition | None
    ) -> tuple[str, int | None]:
        """The flushed position is enough for a synchronous commit, and replicas reach it at once;
        the inserted one also covers what another transaction has not flushed yet, which they are
        not sent. None: unknown."""
        believed = self._line.history if polled is None else polled.history
        if transaction.line != believed and is_newer(transaction.line, believed):
            # The commit was made on a newer primary than this process knows of: its records are of
            # that line from now on, so that nobody who still reads the older one fills them.
            return transaction.line, None
        if polled is None:
            return believed, None if believed else NO_POSITIONS
        return believed, polled.flush if transaction.synchronous else polled.insert

    def _bookmark(
        self, history: str, position: int | None, receipts: list[Receipt], covered: bool
    ) -> Bookmark:
        wrote = {receipt.bucket: Seen(receipt.incarnation, receipt.seq) for receipt in receipts}
        life, now = self._lives.covered if covered else self._lives.uncovered, self._lives.clock()
        return Bookmark(
            history=history,
            position=None if position == NO_POSITIONS else position,
            wrote=wrote if len(wrote) <= MAX_BUCKETS else None,
            covered=covered,
            expires=now + life,
            made=now,
        )

    def _lengthened(self, bookmark: Bookmark, batch: Batch) -> Bookmark:
        asides = self._lives.asides
        longest = max((asides.get(owner, 0.0) for owner in [*batch.keys, *batch.owners]), default=0)
        expires = max(bookmark.expires, bookmark.made + longest)
        return msgspec.structs.replace(bookmark, expires=expires)

    async def _publish_again(self, xid: str | None, batch: Batch) -> None:
        """Once the outcome is decided: a commit record may have become visible after the first
        publication.

        1. the socket is lost during COMMIT; 2. the buckets get new records; 3. a reader fills from
        the primary, which does not show the commit yet; 4. the commit appears.
        """
        if xid is None:
            # Nobody can be asked, as where there are no positions: what comes later than this stays
            # until its ttl ends.
            for pause in UNKNOWN_PAUSES:
                await asyncio.sleep(pause)
                self._retry.add(batch)
            return
        pause = 0.02
        while True:
            try:
                if not await self._primary.in_progress(xid):
                    break
            except DatabaseUnavailable:
                pause = max(pause, 0.25)
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 1.0)
        self._retry.add(batch)


def _batch(transaction: Transaction) -> Batch:
    return Batch(*cast("Changes", transaction.changes).owners)
