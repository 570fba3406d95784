"""Which errors are the node's and which the statement's: the former send a read to the next node."""

from __future__ import annotations

import asyncpg
from sqlalchemy.exc import DBAPIError

from repocache.errors import PoolExhausted

NODE_CLASSES = ("08", "53", "57P", "58")
"""SQLSTATE: connection exceptions, insufficient resources, operator intervention (shutdown, starting up),
system errors.
"""
NO_ENTRY = ("28", "3D000", "57P03", "53")
"""SQLSTATE: authorization refused, no such database, not accepting connections, too many of them."""
FULL = "53300"
"""SQLSTATE: too many connections, of all, of the role or to the database."""
OTHER_SESSION = ("26000", "42P05")
"""SQLSTATE: a prepared statement is not there, or was there before: the session is another than the
one that was connected to."""
REFUSED_PARAMETER = "unsupported startup parameter"
"""What PgBouncer says, and no PostgreSQL."""
POOLED = "pooled"
WRITABLE = "not read-only"
CONFLICTS = ("40001", "40P01")
"""SQLSTATE: what a standby says when recovery cancels a statement of its own accord."""


class Unusable(Exception):
    """A new connection that reads must not use. `why`: POOLED (a pooler answers in the server's
    place), WRITABLE (it was to be read-only, and is not)."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
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
    POOLED, WRITABLE; empty if the error is of another kind.
    """
    if is_full(error):
        return "busy"
    if isinstance(error, Unusable):
        return error.why
    state = sqlstate(error)
    if state in OTHER_SESSION or REFUSED_PARAMETER in str(error):
        return POOLED
    if state.startswith(NO_ENTRY):
        return "refused"
    return "lost" if state or isinstance(error, DBAPIError | OSError | asyncpg.InterfaceError) else ""


def statement_trouble(error: BaseException, *, replica: bool) -> str:
    """Why the node failed the statement: "lost", "conflict" (with recovery); empty if the statement is at fault."""
    state = sqlstate(error)
    if replica and state in CONFLICTS:
        return "conflict"
    if state.startswith(NODE_CLASSES) or isinstance(error, ConnectionError):
        return "lost"
    return "lost" if isinstance(error, DBAPIError) and error.connection_invalidated else ""
