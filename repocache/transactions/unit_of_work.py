"""One transaction on the primary, committed by a written word or rolled back.

Owns the session of the transaction and its hooks. When a commit is published is
`transactions.commit_watch`'s affair, what it changed `tracking`'s; repositories inside it are added
above.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

from sqlalchemy import Connection, Select, select, tuple_
from sqlalchemy import inspect as inspect_entity
from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction, async_sessionmaker
from sqlalchemy.orm import InstanceState, Mapper, Session, lazyload, load_only

from repocache.bookmark import Bookmark
from repocache.errors import ChangesLost, UsageError
from repocache.events import HookFailed, Observer
from repocache.redaction.foreign import in_brief
from repocache.transactions.one_at_a_time import OneAtATime
from repocache.transactions.tracked_session import CONNECTING, OF_UNIT
from repocache.transactions.transaction import Transaction

E = TypeVar("E", bound=object)

Hook = Callable[[], Awaitable[None]]

NOTHING_WRITTEN = Bookmark("", 0, {}, covered=True, expires=0.0)
"""The bookmark of a commit that changed no owner's rows. It says nothing."""
NOT_PUBLISHED = Bookmark("", None, None, covered=False, expires=math.inf)
"""The bookmark of a commit whose publication was cut short, as the process ends: no cache may be
believed."""
_AT_ONCE = 500
"""Rows whose generated values are fetched by one statement."""


class PrimaryTransaction:
    """One transaction on the primary: `async with` opens it, `commit()` commits it, leaving it
    otherwise rolls back.

    Leaving it normally with changes after which neither `commit()` nor `rollback()` was called
    raises ChangesLost.

    `sessions`: makes the session, with `expire_on_commit=False`. `transaction_of`: the transaction
    that a connection is in. For one task; two units of work side by side are independent.
    Everything but `commit` may be called until it has ended, and raises UsageError outside the
    block, after `commit` and after `rollback`, and while another statement of it is under way.
    """

    def __init__(
        self,
        sessions: async_sessionmaker[AsyncSession],
        transaction_of: Callable[[Connection], Transaction],
        observe: Observer,
    ) -> None:
        self._sessions = sessions
        self._transaction_of = transaction_of
        self._observe = observe
        self._session: AsyncSession | None = None
        self._statements = OneAtATime()
        self._ended = ""
        self._before: list[Hook] = []
        self._after: list[Hook] = []
        self._declared: list[tuple[str, tuple[str, ...] | None]] = []

    async def __aenter__(self) -> Self:
        if self._session is not None or self._ended:
            raise UsageError(
                "this unit of work was entered before: open a new one for each transaction"
            )
        self._session = self._sessions()
        self._lend(of_unit=True)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        session, self._session = self._session, None
        self._ended = self._ended or "left"
        if session is None:
            return
        lost: list[str] = []
        try:
            # Of a task that nobody waits for; a connection that is still being made would be lost.
            await self._statements.rest()
            await session.info[CONNECTING].rest()
            if kind is None:
                lost = await self._left_behind(session)
        finally:
            # Closes, which rolls back, in spite of a cancellation.
            await session.__aexit__(kind, error, trace)
        if lost:
            raise ChangesLost(
                "this unit of work was left with changes that were not committed: "
                f"{', '.join(lost)}. End it with `await work.commit()`, or with `await "
                "work.rollback()` if they are not wanted"
            )

    async def _left_behind(self, session: AsyncSession) -> list[str]:
        """What closing the session takes back, in words. After an error that ended the transaction:
        nothing, for the caller has heard of it."""
        found = unflushed(session.sync_session)
        if self._declared:
            found.append("what `changes()` declared")
        if not found and session.is_active and _is_connected(session.sync_session):
            connection = (await session.connection()).sync_connection
            assert connection is not None
            if not connection.invalidated and self._transaction_of(connection).changes.written:
                found.append("what its statements wrote")
        return found

    @property
    def session(self) -> AsyncSession:
        """SQLAlchemy's session, for everything that this class does not offer, but for `commit` and
        `begin`. Its statements invalidate too."""
        if self._session is None or self._ended:
            raise UsageError(
                f"this unit of work was {self._ended}: open a new one for each transaction"
                if self._ended
                else "use the unit of work inside `async with`"
            )
        return self._session

    @property
    def ended(self) -> bool:
        """Whether it was committed, rolled back, left, or ended by an error."""
        return bool(self._ended)

    @contextmanager
    def alone(self) -> Iterator[AsyncSession]:
        """The session for one statement, with no other beside it."""
        session = self.session
        with self._statements.turn():
            yield session

    def add(self, entity: object) -> None:
        """Insert the entity and what it is related to at the next flush. Raises
        CachedEntityRefused."""
        self.session.add(entity)

    def add_all(self, entities: Iterable[object]) -> None:
        """Insert the entities. Raises CachedEntityRefused."""
        self.session.add_all(entities)

    async def delete(self, entity: object) -> None:
        """Delete the entity's row at the next flush. Raises CachedEntityRefused."""
        with self.alone() as session:
            await session.delete(entity)

    def savepoint(self) -> AsyncSessionTransaction:
        """`async with work.savepoint():` a block that rolls back alone if it raises; they may be
        nested.

        What it changed is invalidated by the commit of the whole, or not at all.
        """
        return self.session.begin_nested()

    def declare(self, prefix: str, keys: Iterable[str] | None) -> None:
        """Say what textual SQL changes: keys of the owner with this prefix, None: all of them.
        Counts at `commit`, also if the savepoint that it was said in is rolled back."""
        _ = self.session
        self._declared.append((prefix, None if keys is None else tuple(keys)))

    def before_commit(self, hook: Hook) -> None:
        """Await the hook inside the transaction, right before COMMIT, in the order given. If it
        raises, nothing is committed and `commit` raises that. It may write, and add hooks."""
        _ = self.session
        self._before.append(hook)

    def after_commit(self, hook: Hook) -> None:
        """Await the hook after COMMIT and its publication, in the order given. If it raises, the
        commit stands and HookFailed is observed. Not run if COMMIT fails, if its outcome is unknown
        or if the caller is cancelled."""
        _ = self.session
        self._after.append(hook)

    async def commit(self) -> Bookmark:
        """Commit, and return when the invalidation was sent and this process's own cache is clear.

        Values that the database generated are fetched before COMMIT, so that entities can be read
        after it. May be called once. Raises CommitOutcomeUnknown if the connection is lost during
        COMMIT, what the hooks raise, and what SQLAlchemy raises; nothing is committed then, but for
        CommitOutcomeUnknown and a cancellation. Raises UsageError, and nothing has happened, while
        another statement is under way.
        """
        _ = self.session
        self._statements.check()
        try:
            while self._before:
                await self._before.pop(0)()
        except BaseException:
            await self._failed()
            raise
        with self.alone() as session:
            try:
                transaction = await session.run_sync(self._commit)
            except BaseException:
                await self._failed()
                raise
        for hook in self._after:
            await self._run_after(hook)
        if transaction.bookmark is None:
            return NOTHING_WRITTEN if transaction.changes.empty else NOT_PUBLISHED
        return transaction.bookmark

    def _commit(self, session: Session) -> Transaction:
        """In one greenlet: each step in one of its own would cost as much again."""
        session.flush()
        _fetch_generated(session)
        transaction = self._transaction_of(session.connection())
        for prefix, keys in self._declared:
            transaction.changes.declare(prefix, keys)
        self._declared.clear()
        self._ended = "committed"
        self._lend(of_unit=False)
        session.commit()
        return transaction

    async def rollback(self) -> None:
        """Roll back. The unit of work has ended."""
        with self.alone() as session:
            self._ended = "rolled back"
            self._declared.clear()
            await session.rollback()

    async def _failed(self) -> None:
        session, self._ended = self._session, "ended by an error"
        self._declared.clear()
        if session is not None:
            await session.rollback()

    def _lend(self, *, of_unit: bool) -> None:
        """Let the session be committed by us alone, or not."""
        if self._session is not None:
            self._session.sync_session.info[OF_UNIT] = of_unit

    async def _run_after(self, hook: Hook) -> None:
        try:
            await hook()
        except Exception as error:  # noqa: BLE001 - whatever it is, the commit stands
            self._observe(
                HookFailed(getattr(hook, "__qualname__", type(hook).__name__), in_brief(error))
            )


def _is_connected(session: Session) -> bool:
    """Whether its transaction has a connection: to ask for one would make it."""
    transaction = session.get_transaction()
    # No public way to ask.
    return transaction is not None and bool(transaction._connections)  # noqa: SLF001


def unflushed(session: Session) -> list[str]:
    """What of the session's entities is not in the transaction yet, in words."""
    groups = {
        "new": list(session.new),
        "changed": [entity for entity in session.dirty if session.is_modified(entity)],
        "deleted": list(session.deleted),
    }
    return [
        f"{state} {', '.join(sorted({type(entity).__name__ for entity in entities}))}"
        for state, entities in groups.items()
        if entities
    ]


def _fetch_generated(session: Session) -> None:
    """Load what the flushed entities do not know of themselves: values that the server made,
    `onupdate` expressions.

    One statement fills the expired attributes of many entities, and leaves those alone that are
    loaded.
    """
    expired: defaultdict[Mapper[Any], list[InstanceState[Any]]] = defaultdict(list)
    for entity in session.identity_map.values():
        state = inspect_entity(entity)
        if state.expired_attributes:
            expired[state.mapper].append(state)
    for mapper, states in expired.items():
        names = {name for state in states for name in state.expired_attributes}.intersection(
            mapper.column_attrs.keys()
        )
        for start in range(0, len(states) if names else 0, _AT_ONCE):
            session.execute(
                _select_some(mapper, sorted(names), states[start : start + _AT_ONCE])
            ).all()


def _select_some(
    mapper: Mapper[Any], names: Sequence[str], states: Sequence[InstanceState[Any]]
) -> Select[Any]:
    key, ids = (
        mapper.primary_key,
        [state.identity for state in states if state.identity is not None],
    )
    among = key[0].in_([id[0] for id in ids]) if len(key) == 1 else tuple_(*key).in_(ids)
    attributes = [getattr(mapper.class_, name) for name in names]
    return select(mapper).where(among).options(load_only(*attributes), lazyload("*"))
