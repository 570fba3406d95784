"""The last statement of a transaction: what it learns of itself, and the outbox row that it leaves
(Write path 2)."""

from __future__ import annotations

from typing import Protocol

from sqlalchemy.pool import PoolProxiedConnection

from repocache.engines.driver_errors import sqlstate
from repocache.errors import OutboxGone
from repocache.invalidation.batch import Batch
from repocache.invalidation.seal import SealStatement
from repocache.transactions.transaction import Transaction, ask, seal_postgresql

_GONE = ("42P01", "42501", "3F000")
"""SQLSTATE: no such table, no privilege, no such schema."""


class Sealing(Protocol):
    """One round trip inside the transaction, under its row locks. Sets `xid`, `synchronous` and
    `order`."""

    async def __call__(
        self, connection: PoolProxiedConnection, transaction: Transaction, batch: Batch
    ) -> None: ...


class SealWithoutOutbox:
    """Without an outbox."""

    async def __call__(
        self, connection: PoolProxiedConnection, transaction: Transaction, batch: Batch
    ) -> None:
        await seal_postgresql(connection, transaction)


class SealWithOutbox:
    """Leaves a row; what triggers noticed joins the transaction's changes."""

    def __init__(self, statement: SealStatement) -> None:
        self._statement = statement

    async def __call__(
        self, connection: PoolProxiedConnection, transaction: Transaction, batch: Batch
    ) -> None:
        statement = self._statement
        try:
            row = await ask(connection, statement.sql, statement.parameters(batch))
        except Exception as error:
            if sqlstate(error) in _GONE:
                raise OutboxGone from error
            raise
        seal = statement.read(row)
        transaction.xid, transaction.synchronous, transaction.order = (
            seal.xid,
            seal.synchronous,
            seal.order,
        )
        transaction.rows, transaction.purges = seal.rows, seal.purges
        for prefix, texts in seal.noticed.keys.items():
            transaction.changes.declare(prefix, texts)
        for prefix in seal.noticed.owners:
            transaction.changes.declare(prefix, None)
