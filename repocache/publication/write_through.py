"""Write-through inside a transaction: the rows as they are under its locks, the records as seen
then, write leases.

Owns what a commit has ready for after COMMIT. Publishing it is `publisher`'s, what lands the
records' affair.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from repocache.cache.belief import At
from repocache.cache.bucket_views import BucketViews
from repocache.cache.entry import Row
from repocache.cache.settler import Line
from repocache.cache.values import NOT_KEPT, Values
from repocache.engines.driver_errors import is_undecodable
from repocache.engines.server import SERVER
from repocache.errors import CacheUnavailable, StrictWriteRefused
from repocache.events import CacheFailed, Observer
from repocache.history import is_newer
from repocache.invalidation.batch import Batch, keys_by_bucket, owners_by_bucket
from repocache.keys import Keys, bucket_of, owner_bucket
from repocache.mapping.reader import renames_tables
from repocache.mapping.statement import LoadStatement
from repocache.records import (
    NO_POSITIONS,
    CallerHistory,
    Intent,
    IntentReply,
    Nonces,
    Put,
    Records,
    Writing,
)
from repocache.redaction.foreign import in_brief
from repocache.transactions.changes import Changes
from repocache.transactions.transaction import Transaction

MOST_PUTS = 100
"""A commit that changed more keys of write-through owners than this stores none of them: all are
invalidated."""
WRITE_LEASE = 5.0
"""Seconds after which a reader asks whether a write lease's transaction is still in progress."""


@dataclass(frozen=True, slots=True)
class WriteThroughOwner:
    """One owner under write-through. `statement`: loads rows under their locks. `row`: as it is
    kept; `id`: of one. `stores`: what a commit reads is what will be committed."""

    keys: Keys
    fingerprint: str
    statement: LoadStatement
    row: Callable[[Iterable[Any]], Row]
    id: Callable[[Row], Any]
    values: Values
    stores: bool
    strict: bool


@dataclass(slots=True)
class PreparedWrite:
    """What a transaction keeps for after its end. `read`: owner prefix, key text, value and its
    life of each row. `until`: how much the transaction had changed then. `history`: the line of WAL
    that the transaction's connection writes; only records of that line are believed, and only it
    has an order with their floors. `seen`: incarnation and generation by bucket and owner.
    `intents`: that were sent, some of them perhaps in vain."""

    until: int = 0
    history: str = ""
    read: list[tuple[str, str, bytes, float]] = field(default_factory=list)
    seen: dict[tuple[int, str], tuple[str, str]] = field(default_factory=dict)
    intents: list[Intent] = field(default_factory=list)
    nonce: str = ""


class WriteThroughHook:
    """The values that transactions put, and the write leases of strict owners. False where no owner
    is one of these."""

    def __init__(  # noqa: PLR0913  # keyword-only
        self,
        owners: Iterable[WriteThroughOwner],
        line: Line,
        *,
        records: Records,
        views: BucketViews,
        nonces: Nonces,
        evicts: Callable[[], bool],
        deadline: float,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        observe: Observer,
    ) -> None:
        """`evicts`: Redis may drop a write lease. `deadline`: seconds for Redis to answer a
        transaction that waits for it. `spawn`: runs what outlives the transaction."""
        self._owners = {each.keys.prefix: each for each in owners}
        self._line = line
        self._records = records
        self._views = views
        self._nonces = nonces
        self._evicts = evicts
        self._deadline = deadline
        self._spawn = spawn
        self._observe = observe

    def __bool__(self) -> bool:
        return bool(self._owners)

    def read_locked_rows(
        self, connection: Connection, transaction: Transaction, batch: Batch
    ) -> None:
        """Read the changed rows under their locks, and note what is believed of their records:
        before COMMIT, so that a put does not land in one that somebody who came after it has moved.
        """
        keys = {
            prefix: texts
            for prefix, texts in batch.keys.items()
            if prefix in self._owners and self._owners[prefix].stores
        }
        if (
            not self._views.alive
            or renames_tables(connection)
            or not 0 < sum(map(len, keys.values())) <= MOST_PUTS
        ):
            return
        history = self._line.writes_with(connection.info.get(SERVER))
        if not history:
            return
        kept = PreparedWrite(len(cast("Changes", transaction.changes)), history)
        # Of the views; no other's floor has an order with this position.
        line = history == self._line.history
        for prefix, texts in sorted(keys.items()):
            kept.read += self._read(connection, self._owners[prefix], texts)
        for prefix, text, *_ in kept.read:
            bucket = bucket_of(text)
            view, own = self._views.get(bucket), self._views.get(owner_bucket(prefix))
            if line and view is not None and own is not None and prefix in own.generations:
                kept.seen[bucket, prefix] = view.incarnation, own.generations[prefix]
        transaction.kept = kept

    def _read(
        self, connection: Connection, owner: WriteThroughOwner, texts: Iterable[str]
    ) -> Sequence[tuple[str, str, bytes, float]]:
        """None, with an event, where a row cannot be read: the commit stands, and invalidates.

        What the driver or a type cannot decode has harmed nothing. What fails on the server (a
        value that it computes, a plan of before DDL) would fail the transaction, but for a
        savepoint.
        """
        try:
            with connection.begin_nested():
                return list(self._rows(connection, owner, texts))
        except Exception as error:
            if not (is_undecodable(error) or _is_undone(error)):
                raise
            self._observe(CacheFailed("write through", f"{owner.keys.prefix}: {in_brief(error)}"))
            return ()

    def _rows(
        self, connection: Connection, owner: WriteThroughOwner, texts: Iterable[str]
    ) -> Iterable[tuple[str, str, bytes, float]]:
        parameters = owner.statement.parameters([owner.keys.id(text) for text in texts])
        for row in map(owner.row, connection.execute(owner.statement.select, parameters)):
            text = owner.keys.text(owner.id(row))
            value, life = owner.values.encode(text, row)
            if value != NOT_KEPT:
                yield owner.keys.prefix, text, value, life

    async def intend(self, transaction: Transaction, batch: Batch) -> None:
        """Before COMMIT, once the order position is known: hold back the readers of strict owners,
        and learn of records that this process has not met. Raises StrictWriteRefused."""
        held = self._held(transaction, batch)
        kept = transaction.kept
        if not isinstance(kept, PreparedWrite):
            if not held:
                return
            kept = transaction.kept = PreparedWrite()
        if len(cast("Changes", transaction.changes)) > kept.until:
            kept.read.clear()  # somebody else who hears of commits has written once more
        wanted: defaultdict[int, set[str]] = defaultdict(set)
        for prefix, text, *_ in kept.read:
            bucket = bucket_of(text)
            if self._is_held(prefix) or (bucket, prefix) not in kept.seen:
                wanted[bucket].add(prefix)
        keys, owners = keys_by_bucket(held), owners_by_bucket(held)
        kept.nonce = self._nonces() if held else ""
        kept.intents = [
            Intent(
                bucket=bucket,
                keys=tuple(keys.get(bucket, ())),
                owners=owners.get(bucket, ()),
                seen=tuple(sorted(wanted[bucket])),
                nonce=kept.nonce,
                xid=transaction.xid or "",
                life=WRITE_LEASE,
            )
            for bucket in sorted({*keys, *owners, *wanted})
        ]
        try:
            async with asyncio.timeout(self._deadline):
                await self._note(kept)
        except (CacheUnavailable, TimeoutError) as error:
            why = str(error) or f"Redis: no answer within {self._deadline} s"
            if held:
                raise StrictWriteRefused(
                    f"{', '.join(sorted({*held.keys, *held.owners}))}: readers could not be held "
                    f"back from the past, nothing was committed ({why})"
                ) from error
            self._observe(CacheFailed("intend", why))

    async def _note(self, kept: PreparedWrite) -> None:
        owners = {owner for intent in kept.intents for owner in intent.seen}
        own = {owner: self._views.before(owner_bucket(owner)) for owner in owners}
        before = [self._views.before(intent.bucket) for intent in kept.intents]
        for intent, asked, noted in zip(
            kept.intents, before, await self._sent(kept.intents), strict=True
        ):
            for owner, (generation, incarnation, seq, tip) in noted.generations.items():
                kept.seen[intent.bucket, owner] = noted.incarnation, generation
                self._views.adopt_generation(
                    owner_bucket(owner), owner, own[owner], At(incarnation, seq, tip), generation
                )
                self._views.adopt(intent.bucket, asked, At(noted.incarnation, noted.seq, noted.tip))

    async def _sent(self, intents: Sequence[Intent]) -> list[IntentReply]:
        """A record of another history gives way to a write lease: this transaction is in a later
        one; not to one of an older timeline. Raises CacheUnavailable."""
        terms = CallerHistory(self._line.history)
        pending: list[Awaitable[IntentReply]] = [
            self._records.intend(intent, terms) for intent in intents
        ]
        noted = [await each for each in pending]
        if any(is_newer(answer.history, terms.history) for answer in noted):
            raise CacheUnavailable(
                "the records are of a newer timeline than this process's primary"
            )
        terms = terms._replace(confirmed=True)
        return [
            await self._records.intend(intent, terms) if answer.history and intent.nonce else answer
            for intent, answer in zip(intents, noted, strict=True)
        ]

    def _held(self, transaction: Transaction, batch: Batch) -> Batch:
        """What readers have to be held back from. A transaction without an id has written
        nothing."""
        if transaction.xid is None:
            return Batch({})
        keys = {prefix: texts for prefix, texts in batch.keys.items() if self._is_held(prefix)}
        return Batch(keys, frozenset(filter(self._is_held, batch.owners)))

    def _is_held(self, prefix: str) -> bool:
        return prefix in self._owners and self._owners[prefix].strict and not self._evicts()

    def puts_by_bucket(self, transaction: Transaction, history: str) -> Mapping[int, Writing]:
        """After COMMIT: what the records are offered, by bucket. `history`: of the position after
        COMMIT; under another than the transaction was sealed under no value is offered, for its
        order says nothing there."""
        kept = transaction.kept
        if not isinstance(kept, PreparedWrite):
            return {}
        order = NO_POSITIONS if transaction.order is None else transaction.order
        puts: defaultdict[int, list[Put]] = defaultdict(list)
        for prefix, text, value, life in kept.read if kept.history == history else ():
            bucket, owner = bucket_of(text), self._owners[prefix]
            seen = kept.seen.get((bucket, prefix))
            if seen is not None:
                strict = owner.strict and bool(kept.nonce)
                puts[bucket].append(
                    Put(prefix, text, owner.fingerprint, *seen, value, life, strict)
                )
        buckets = {*puts, *(intent.bucket for intent in kept.intents)}
        return {
            bucket: Writing(order, tuple(puts.get(bucket, ())), kept.nonce) for bucket in buckets
        }

    def release(self, transaction: Transaction) -> None:
        """After a certain rollback. What is not released in time is taken over by a reader."""
        kept = transaction.kept
        if isinstance(kept, PreparedWrite) and kept.nonce:
            self._spawn(self._release(kept.intents))

    async def _release(self, intents: Sequence[Intent]) -> None:
        try:
            for answer in [self._records.release(intent) for intent in intents]:
                await answer
        except CacheUnavailable as error:
            self._observe(CacheFailed("release", str(error)))


def _is_undone(error: Exception) -> bool:
    """Whether the savepoint was rolled back, and the transaction goes on."""
    return isinstance(error, DBAPIError) and not error.connection_invalidated
