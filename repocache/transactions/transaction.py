"""One database transaction as the commit path sees it: its state, what is asked inside it, and what
is done with it.

Owns no decision: when the hooks are called is `commit_watch`'s, what they do is above
(`publication.publisher`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any, Protocol

from sqlalchemy import Connection
from sqlalchemy.pool import PoolProxiedConnection
from sqlalchemy.util import greenlet_spawn

from repocache.bookmark import Bookmark

_ASK = (
    "SELECT pg_catalog.pg_current_xact_id_if_assigned()::text, "
    "pg_catalog.current_setting('synchronous_commit'), (pg_catalog.pg_current_wal_insert_lsn() - "
    "'0/0')::bigint"
)


class Outcome(Enum):
    """What is known of a COMMIT that was sent."""

    COMMITTED = "committed"
    UNKNOWN = "unknown"


class Collected(Protocol):
    """A transaction's changes, with a stack of savepoints."""

    @property
    def empty(self) -> bool: ...

    @property
    def written(self) -> bool:
        """There is what a rollback would take back."""
        ...

    @property
    def undeclared(self) -> Sequence[str]:
        """Statements of which nobody said what they wrote."""
        ...

    def declare(self, prefix: str, keys: Iterable[str] | None) -> None:
        """The application says what it changes: keys of an owner, None: all of them."""

    def push(self, name: str) -> None:
        """A savepoint was made."""

    def release(self, name: str) -> None:
        """What came after the savepoint belongs to what was before it."""

    def rollback(self, name: str) -> None:
        """Forget what came after the savepoint, which stays."""


class Transaction:
    """The state of one database transaction, from the first statement to the end of its
    publication."""

    __slots__ = (
        "bookmark",
        "changes",
        "kept",
        "line",
        "order",
        "purges",
        "rows",
        "synchronous",
        "why",
        "xid",
    )

    def __init__(self, changes: Collected) -> None:
        self.changes = changes
        #: PostgreSQL's id of it as text, None: not asked, or nothing was written.
        self.xid: str | None = None
        #: Its commit waits for the WAL to be flushed; False: it does not, or it is not known.
        self.synchronous = False
        #: WAL position in bytes noted under its row locks (protocol, Write-through), None: not
        #: noted.
        self.order: int | None = None
        #: The history that its connection writes, as far as that is known.
        self.line = ""
        #: Set by `CommitHooks.committed`.
        self.bookmark: Bookmark | None = None
        #: The error, if the outcome is unknown.
        self.why = ""
        #: What the hooks noted inside the transaction for after it.
        self.kept: object = None
        #: Of the outbox, those that its publication delivers.
        self.rows: tuple[Any, ...] = ()
        #: The same of what edges have to purge.
        self.purges: tuple[Any, ...] = ()


class CommitHooks(Protocol):
    """What is done with a transaction's changes. Called only for transactions that have some, or
    have written what nobody owns."""

    def prepare(self, connection: Connection, transaction: Transaction) -> None:
        """Inside the transaction, where statements of SQLAlchemy's may still be executed. An error
        here rolls back."""

    async def seal(self, connection: PoolProxiedConnection, transaction: Transaction) -> None:
        """Inside the transaction, right before COMMIT (protocol, Write path 2). An error here rolls
        back."""

    def rolled_back(self, transaction: Transaction) -> None:
        """What was sealed, or begun to be, has certainly not been committed."""

    async def committed(self, transaction: Transaction, outcome: Outcome) -> None:
        """After COMMIT: publish, and set `transaction.bookmark` whether that succeeds or not (Write
        path 4 to 6)."""


async def seal_postgresql(connection: PoolProxiedConnection, transaction: Transaction) -> None:
    """The least that `CommitHooks.seal` does on PostgreSQL: learn id, synchrony and order, in one
    round trip."""
    transaction.xid, synchronous, transaction.order = await ask(connection, _ASK)
    transaction.synchronous = synchronous != "off"


async def ask(connection: PoolProxiedConnection, sql: str, parameters: Any = ()) -> Sequence[Any]:
    """The one row of a statement in the driver's own words, inside the connection's transaction."""
    return await greenlet_spawn(_ask, connection, sql, parameters)


def _ask(connection: PoolProxiedConnection, sql: str, parameters: Any) -> Sequence[Any]:
    """On a cursor of SQLAlchemy's, not the driver's: its errors are then known to it, a lost
    connection too."""
    cursor = connection.cursor()
    try:
        cursor.execute(sql, parameters)
        row: Sequence[Any] | None = cursor.fetchone()
    finally:
        cursor.close()
    assert row is not None
    return row
