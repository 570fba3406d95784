"""Which errors are the node's, which the statement's and which a single row's: the first send a
read to the next node, the last let the others of a batch be read without it."""

from __future__ import annotations

import re

import asyncpg
from sqlalchemy.exc import DBAPIError, SQLAlchemyError, StatementError

from repocache.errors import DatabaseUnavailable, PoolExhausted, RepocacheError
from repocache.events import Out

NODE_CLASSES = ("08", "53", "57P", "58")
"""SQLSTATE: connection exceptions, insufficient resources, operator intervention (shutdown,
starting up), system errors.
"""
NO_ENTRY = ("28", "3D000", "57P03", "53")
"""SQLSTATE: authorization refused, no such database, not accepting connections, too many of
them."""
FULL = "53300"
"""SQLSTATE: too many connections, of all, of the role or to the database."""
READ_ONLY = "25006"
"""SQLSTATE: a write in a read-only transaction."""
OTHER_SESSION = ("26000", "42P05")
"""SQLSTATE: a prepared statement is not there, or was there before: the session is another than the
one that was connected to."""
REFUSED_PARAMETER = "unsupported startup parameter"
"""What PgBouncer says, and no PostgreSQL."""
POOLED = Out.POOLED
WRITABLE = "not read-only"
NO_TABLE = "42P01"
"""SQLSTATE: there is no such table."""
CONFLICTS = ("40001", "40P01")
"""SQLSTATE: what a standby says when recovery cancels a statement of its own accord."""

ROW_CLASSES = ("21", "22", "54", "P0", "XX")
"""SQLSTATE: what the server says of one row's values (cardinality, data, program limits, what a
function of the user's raises, corruption), or of an id that no column can have."""
_GONE = re.compile(r"cache lookup failed for|could not open relation with OID")
"""Of the server's internal errors: what a plan speaks of was dropped, or made anew."""
_ELSEWHERE = (
    SQLAlchemyError,
    RepocacheError,
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)


class Unusable(DatabaseUnavailable):
    """A new connection leads to a pooler, which was not known of when it was made: the next one is
    made for it. `why`: POOLED."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"the connection is {why}, which was not known when it was made: try again"
        )
        self.why = why


def sqlstate(error: BaseException) -> str:
    """The SQLSTATE that a driver put on the error or on its cause, empty if there is none."""
    for each in (error, getattr(error, "orig", None)):
        state = getattr(each, "sqlstate", None)
        if isinstance(state, str):
            return state
    return ""


def is_full(error: BaseException) -> bool:
    """Whether the node is well, and takes no more connections."""
    return isinstance(error, PoolExhausted) or sqlstate(error) == FULL


def connecting_trouble(error: BaseException) -> str:
    """Why no connection was had: "busy" (the node takes no more of them), "refused", "lost",
    POOLED; empty if the error is of another kind.
    """
    if is_full(error):
        return Out.BUSY
    if isinstance(error, Unusable):
        return error.why
    state = sqlstate(error)
    if state in OTHER_SESSION or REFUSED_PARAMETER in str(error):
        return POOLED
    if state.startswith(NO_ENTRY):
        return Out.REFUSED
    lost = isinstance(error, DBAPIError | OSError | asyncpg.InterfaceError) or was_ended(error)
    return Out.LOST if state or lost else ""


def statement_trouble(error: BaseException, *, replica: bool) -> str:
    """Why the node failed the statement: "lost", "conflict" (with recovery), "behind" (the table
    may be new); empty if the statement is at fault."""
    state = sqlstate(error)
    if replica and state == NO_TABLE:
        return "behind"
    if replica and state in CONFLICTS:
        return "conflict"
    if state.startswith(NODE_CLASSES) or isinstance(error, ConnectionError) or was_ended(error):
        return Out.LOST
    return Out.LOST if isinstance(error, DBAPIError) and error.connection_invalidated else ""


def is_undecodable(error: BaseException) -> bool:
    """Whether a driver, or a column's type, could not decode a value that the server has sent: it
    may raise anything, and the connection goes on."""
    return (
        isinstance(error, Exception) and not isinstance(error, _ELSEWHERE) and not was_ended(error)
    )


def was_ended(error: BaseException) -> bool:
    """Whether the connection was ended under a statement. asyncpg takes its protocol away, and then
    looks for it; or, told of the end while nothing was asked, it is in no state to ask anything any
    more."""
    if isinstance(error, asyncpg.InternalClientError) or isinstance(
        _drivers(error), asyncpg.InternalClientError
    ):
        return True
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or not isinstance(error, AttributeError) or error.obj is not None:
        return False
    return str(trace.tb_frame.f_globals.get("__name__", "")).startswith("asyncpg.")


def _drivers(error: BaseException) -> BaseException | None:
    """What the driver raised, of which SQLAlchemy's adapter made this error."""
    adapted = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return adapted.__cause__


def is_of_rows(error: BaseException) -> bool:
    """Whether a read by ids failed for some of them only: a value that cannot be decoded, an id
    that cannot be bound, a row that the server fails at."""
    if isinstance(error, DBAPIError):
        return isinstance(_drivers(error), asyncpg.DataError) or sqlstate(error).startswith(
            ROW_CLASSES
        )
    return isinstance(error, StatementError) or is_undecodable(error)


def is_outdated(error: BaseException) -> bool:
    """Whether a prepared statement, or what the driver knows of a type, is of before DDL, or of
    before somebody dropped all that was prepared on the connection."""
    if isinstance(error, asyncpg.OutdatedSchemaCacheError):
        return True
    if isinstance(
        error.__cause__, asyncpg.InvalidCachedStatementError | asyncpg.InvalidSQLStatementNameError
    ):
        return True
    return sqlstate(error) == "XX000" and _GONE.search(str(error)) is not None
