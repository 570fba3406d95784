"""What happens around the primary's COMMIT, whoever commits: the one place where changes are handed
over.

Owns where the transaction's state lies on its connection, and the order seal, COMMIT, publish.
Blind to what the changes are (`tracking`) and to what is done with them (`CommitHooks`); `refusals`
are what could not be followed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, MutableMapping
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.engine import Dialect, ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import PoolProxiedConnection
from sqlalchemy.util import await_only

from repocache.background.tasks import Grace
from repocache.engines.listeners import Listeners
from repocache.errors import CommitOutcomeUnknown, NotStarted
from repocache.redaction.foreign import in_brief
from repocache.transactions.guards import (
    check_watchable,
    refuse_autocommit,
    refuse_textual,
    refuse_twophase,
)
from repocache.transactions.transaction import Collected, CommitHooks, Outcome, Transaction

Spawn = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]
"""Starts a task that somebody owns who outlives the caller: no cancellation of a caller may reach
it."""

_TRANSACTION = "repocache.transaction"
_LOST = "repocache.lost"
_ROLLED_BACK = frozenset(
    {
        "0A",
        "21",
        "22",
        "23",
        "24",
        "25",
        "26",
        "27",
        "2D",
        "2F",
        "34",
        "38",
        "39",
        "3B",
        "40",
        "42",
        "44",
        "P0",
    }
)


def certainly_rolled_back(sqlstate: str | None) -> bool:
    """Whether COMMIT answered with this SQLSTATE has certainly not committed. In doubt it may have.

    Not certain, among others: 08 (connection), 53, 57 (57P01 while waiting for a synchronous
    replica: committed here), 58, XX, 40003, and no SQLSTATE at all.
    """
    return sqlstate is not None and sqlstate != "40003" and sqlstate[:2] in _ROLLED_BACK


class CommitWatch:
    """Follows all transactions of one engine from now on, until `close`: after it the engine
    commits nothing any more.

    Every way to commit (session, connection, `begin()` blocks, sessions joined to an outer
    transaction) ends in `do_commit` of the engine's dialect, which belongs to this engine alone.
    The order there is:

    1. `hooks.prepare` and `hooks.seal`, inside the transaction. If one fails nothing has been
       committed.
    2. COMMIT. An error that is certainly a rollback publishes nothing.
    3. `hooks.committed` in a task of `spawn`, awaited. A cancelled caller leaves at once, the task
       goes on.

    A commit whose outcome is unknown (lost connection, cancelled) is handed to `hooks.committed`
    too, as UNKNOWN; then a lost connection raises CommitOutcomeUnknown. Raises TransactionRefused
    for what could not be followed: AUTOCOMMIT, two-phase commits, textual COMMIT and its kin;
    NotStarted for a commit that begins after `close`; ConfigurationError if the engine is in
    AUTOCOMMIT.
    Not seen: a COMMIT on the driver's own connection.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        hooks: CommitHooks,
        spawn: Spawn,
        new_changes: Callable[[], Collected],
    ) -> None:
        self._engine: Engine = engine.sync_engine
        self._hooks = hooks
        self._spawn = spawn
        self._new_changes = new_changes
        self._under_way: set[asyncio.Future[None]] = set()
        self._closed = False
        check_watchable(self._engine, CommitWatch._refuse_commit)
        dialect: Dialect = self._engine.dialect
        self._commit = dialect.do_commit
        self._rollback = dialect.do_rollback
        self._savepoint = dialect.do_savepoint
        self._release = dialect.do_release_savepoint
        self._rollback_to = dialect.do_rollback_to_savepoint
        self._sqlite = dialect.name == "sqlite"
        self._wrappers: dict[str, Callable[..., None]] = {
            "do_commit": self._do_commit,
            "do_rollback": self._do_rollback,
            "do_savepoint": self._do_savepoint,
            "do_release_savepoint": self._do_release_savepoint,
            "do_rollback_to_savepoint": self._do_rollback_to_savepoint,
            "do_begin_twophase": refuse_twophase,
            "do_prepare_twophase": refuse_twophase,
            "do_commit_twophase": refuse_twophase,
        }
        listeners: dict[str, Callable[..., Any]] = {
            "before_cursor_execute": refuse_textual,
            "set_connection_execution_options": refuse_autocommit,
            "set_engine_execution_options": refuse_autocommit,
            "handle_error": self._handle_error,
            "commit": self._on_commit,
        }
        dialect.__dict__.update(self._wrappers)
        self._listeners = Listeners(self._engine, listeners)

    async def close(self, grace: Grace) -> None:
        """Refuse what would be committed from now on: it would be published by nobody. Commits
        under way are waited for, as long as the grace lasts."""
        self._closed = True
        self._engine.dialect.__dict__["do_commit"] = self._refuse_commit
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=grace.left())
        for name in self._wrappers.keys() - {"do_commit"}:
            del self._engine.dialect.__dict__[name]
        self._listeners.stop()

    def transaction_of(self, connection: Connection) -> Transaction:
        """The transaction that the connection is in, or is about to begin."""
        return self._transaction(connection.info)

    def _transaction(self, info: MutableMapping[Any, Any]) -> Transaction:
        transaction = info.get(_TRANSACTION)
        if transaction is None:
            transaction = info[_TRANSACTION] = Transaction(self._new_changes())
        assert isinstance(transaction, Transaction)
        return transaction

    def _on_commit(self, connection: Connection) -> None:
        """Right before `do_commit`, which is given the driver's connection and not SQLAlchemy's."""
        transaction: Transaction | None = connection.info.get(_TRANSACTION)
        if self._closed or transaction is None or transaction.changes.empty:
            return
        try:
            with self._counted():
                self._hooks.prepare(connection, transaction)
        except Exception:
            if not connection.invalidated:
                self._end(connection.connection)
            raise

    def _refuse_commit(self, connection: PoolProxiedConnection) -> None:
        self._end(connection)
        raise NotStarted

    def _do_commit(self, connection: PoolProxiedConnection) -> None:
        with self._counted():
            self._commit_and_publish(connection)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        ended = asyncio.get_running_loop().create_future()
        self._under_way.add(ended)
        try:
            yield
        finally:
            self._under_way.discard(ended)
            ended.set_result(None)

    def _commit_and_publish(self, connection: PoolProxiedConnection) -> None:
        info = _info(connection)
        transaction: Transaction | None = info.get(_TRANSACTION)
        # What nobody owns is told to nobody, and yet the session that wrote it has to see it.
        changed = transaction is not None and (
            not transaction.changes.empty or transaction.changes.written
        )
        if transaction is not None and changed:
            self._seal(connection, transaction)
        try:
            self._commit(connection)
        except BaseException as error:
            if self._is_rolled_back(error):
                self._end(connection)
                raise
            info.pop(_TRANSACTION, None)
            info[_LOST] = error
            if transaction is not None and changed:
                transaction.why = in_brief(error)
                task = self._published(transaction, Outcome.UNKNOWN)
                if isinstance(error, Exception):
                    await_only(asyncio.wait([task]))
            raise
        info.pop(_TRANSACTION, None)
        if transaction is not None and changed:
            # Not awaited itself: a cancelled caller would cancel it, and its errors are its
            # owner's.
            await_only(asyncio.wait([self._published(transaction, Outcome.COMMITTED)]))

    def _published(self, transaction: Transaction, outcome: Outcome) -> asyncio.Task[None]:
        try:
            return self._spawn(self._hooks.committed(transaction, outcome))
        except NotStarted:
            raise CommitOutcomeUnknown(
                "COMMIT ended after the database was closed: the transaction may have been "
                "committed, and this process has told no cache"
            ) from None

    def _seal(self, connection: PoolProxiedConnection, transaction: Transaction) -> None:
        try:
            await_only(self._hooks.seal(connection, transaction))
        except Exception:
            self._end(connection)
            raise

    def _end(self, connection: PoolProxiedConnection) -> None:
        """Roll back what was not committed: SQLAlchemy takes a COMMIT that fails for the end, and
        sends no ROLLBACK.

        The transaction may well be open: COMMIT was not sent yet, or SQLite was busy.
        """
        with suppress(Exception):  # the error that led here is the one to raise
            self._do_rollback(connection)

    def _do_rollback(self, connection: PoolProxiedConnection) -> None:
        # Even if it fails: without a COMMIT the server rolls back.
        transaction = _info(connection).pop(_TRANSACTION, None)
        self._rollback(connection)
        if transaction is not None and transaction.kept is not None:
            self._hooks.rolled_back(transaction)

    def _do_savepoint(self, connection: Connection, name: str) -> None:
        self._savepoint(connection, name)
        self.transaction_of(connection).changes.push(name)

    def _do_release_savepoint(self, connection: Connection, name: str) -> None:
        self._release(connection, name)
        self.transaction_of(connection).changes.release(name)

    def _do_rollback_to_savepoint(self, connection: Connection, name: str) -> None:
        self._rollback_to(connection, name)
        self.transaction_of(connection).changes.rollback(name)

    def _is_rolled_back(self, error: BaseException) -> bool:
        if not isinstance(error, self._engine.dialect.loaded_dbapi.Error):
            return False
        # SQLite answers in this process: an error means that COMMIT did not happen.
        return self._sqlite or certainly_rolled_back(_sqlstate(error))

    def _handle_error(self, context: ExceptionContext) -> BaseException | None:
        connection = context.connection
        if connection is None or connection.invalidated:
            return None
        if _info(connection).pop(_LOST, None) is not context.original_exception:
            return None
        if not isinstance(context.original_exception, Exception):
            return None
        # Whatever the error was, nobody knows what state this connection is in.
        context.is_disconnect = True
        return CommitOutcomeUnknown(
            "the connection failed during COMMIT: the transaction may or may not have been "
            "committed; read the rows again before repeating it"
        )


def _info(connection: Connection | PoolProxiedConnection) -> MutableMapping[Any, Any]:
    try:
        return connection.info
    except NotImplementedError:
        # The makeshift connection on which SQLAlchemy gets to know a server: it is not ours yet.
        # SQLAlchemy would take this error for an answer of its dialect, and go on without the one
        # that has really happened.
        return {}


def _sqlstate(error: BaseException) -> str | None:
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    return state if isinstance(state, str) else None
