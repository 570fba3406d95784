"""A plain SQLAlchemy session that only reads, on whichever node may answer.

Owns the refusal of writes, and the mark on what it loads: a replica's row may be older than the
primary's, and is no base of a write.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from sqlalchemy import event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import InstanceState, ORMExecuteState, Session
from sqlalchemy.orm.attributes import instance_state
from sqlalchemy.sql.dml import UpdateBase

from repocache.engines.driver_errors import READ_ONLY, sqlstate
from repocache.errors import ChangesLost, UsageError
from repocache.transactions.cached_marker import ReadState
from repocache.transactions.unit_of_work import unflushed

REMEDY = "this session only reads: write in `async with db.unit_of_work() as work:`"


class ReadingSession(Session):
    """Raises UsageError for a flush of changes, and for an INSERT, UPDATE or DELETE. Its entities
    are refused by sessions that write, as those from a cache are, when it is left."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        event.listen(self, "loaded_as_persistent", _mark)
        event.listen(self, "do_orm_execute", _refuse_dml)

    def flush(self, objects: Sequence[Any] | None = None) -> None:
        """As Session.flush, of nothing. Raises UsageError."""
        if found := unflushed(self):
            raise UsageError(f"{', '.join(found)}: {REMEDY}")


@asynccontextmanager
async def reading_session(
    snapshot: AbstractAsyncContextManager[AsyncConnection],
) -> AsyncIterator[AsyncSession]:
    """A session on one read-only transaction. Raises ChangesLost when it is left with changed
    entities, and UsageError in the place of the database's refusal of a write."""
    async with snapshot as connection, plain_session(connection) as session:
        try:
            yield session
        except DBAPIError as error:
            if sqlstate(error) == READ_ONLY:
                raise UsageError(f"{error.orig}: {REMEDY}") from error
            raise
        if found := unflushed(session.sync_session):
            raise ChangesLost(f"a session that only reads was left with {', '.join(found)}")


def plain_session(connection: AsyncConnection) -> AsyncSession:
    """For one read, or the block of `reading_session`."""
    return AsyncSession(connection, sync_session_class=ReadingSession, expire_on_commit=False)


def _mark(_: Session, entity: object) -> None:
    state: InstanceState[Any] = instance_state(entity)
    if type(state) is InstanceState:
        # The same object, which the session has noted: only what happens at a change is another.
        state.__class__ = ReadState
        marked: Any = state
        marked.owner = type(entity).__name__


def _refuse_dml(state: ORMExecuteState) -> None:
    if isinstance(state.statement, UpdateBase):
        raise UsageError(f"{type(state.statement).__name__.upper()}: {REMEDY}")
