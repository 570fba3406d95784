"""The switches of what keeps invalidations when a process dies or Redis is away; see `switches`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any
from unittest.mock import patch

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.pool import PoolProxiedConnection

from proof.protocol.switches import _switch
from repocache.errors import CacheUnavailable
from repocache.invalidation.batch import NOTHING, Batch
from repocache.invalidation.outbox import TABLE, Mark, Outbox
from repocache.invalidation.relay import Relay
from repocache.invalidation.seal import Seal, SealStatement
from repocache.publication.publisher import CommitPublisher
from repocache.publication.seal import SealWithOutbox
from repocache.transactions.transaction import Outcome, Transaction, seal_postgresql


@_switch("outbox")
def _outbox() -> Iterator[None]:
    """A commit leaves no row."""

    async def seal(
        _: object, connection: PoolProxiedConnection, transaction: Transaction, __: Batch
    ) -> None:
        await seal_postgresql(connection, transaction)

    with patch.object(SealWithOutbox, "__call__", seal):
        yield


@_switch("acknowledged")
def _acknowledged() -> Iterator[None]:
    """A row goes with its COMMIT, whatever comes of its publication."""
    original = CommitPublisher.committed

    async def committed(self: CommitPublisher, transaction: Transaction, outcome: Outcome) -> None:
        self._outbox.acknowledge(transaction.rows)
        await original(self, transaction, outcome)

    with patch.object(CommitPublisher, "committed", committed):
        yield


@_switch("whose row")
def _whose_row() -> Iterator[None]:
    """A row is known by its id alone."""

    async def acknowledge(self: Outbox, rows: Sequence[Mark]) -> None:
        async with self._engine.begin() as connection:
            await connection.execute(
                text(f"DELETE FROM {TABLE} WHERE id = ANY (:ids)"), {"ids": [r.id for r in rows]}
            )

    with patch.object(Outbox, "acknowledge", acknowledge):
        yield


@_switch("noticed")
def _noticed() -> Iterator[None]:
    """What triggers noticed in a transaction is left to the relays."""
    original = SealStatement.read

    def read(self: SealStatement, row: Sequence[Any]) -> Seal:
        return original(self, row)._replace(noticed=NOTHING)

    with patch.object(SealStatement, "read", read):
        yield


_TURN = Relay.turn


@_switch("relayed")
def _relayed() -> Iterator[None]:
    """The relay deletes what it has read, delivered or not."""

    async def turn(self: Relay, connection: AsyncConnection) -> bool:
        deliver = self._deliver

        async def careless(batch: Batch) -> None:
            with suppress(CacheUnavailable):
                await deliver(batch)

        self._deliver = careless
        try:
            return await _TURN(self, connection)
        finally:
            self._deliver = deliver

    with patch.object(Relay, "turn", turn):
        yield


@_switch("relay position")
def _relay_position() -> Iterator[None]:
    """The relay takes the primary's position before it reads the rows."""

    async def turn(self: Relay, connection: AsyncConnection) -> bool:
        deliver = self._deliver
        undelivered = deliver.__self__  # type: ignore[attr-defined]
        history, position = await undelivered._position()

        async def early(batch: Batch) -> None:
            await undelivered._bus.publish(batch, history, position)

        self._deliver = early
        try:
            return await _TURN(self, connection)
        finally:
            self._deliver = deliver

    with patch.object(Relay, "turn", turn):
        yield
