"""What messages and events show of errors that others have raised.

What another library says may quote a row, a statement's parameters or half a URL. Its words are
shown where they are about a server or a connection; of any other error its type, and where it was
raised.
"""

from __future__ import annotations

from pathlib import PurePath
from traceback import walk_tb

from repocache.errors import RepocacheError

MOST = 300
"""Characters of a foreign error's words."""
OF_SERVERS = (
    *("08", "0A", "25", "26", "28", "3D", "3F", "40", "425", "427", "428", "42P"),
    *("53", "55", "57", "58"),
)
"""SQLSTATE: connections, authorization, names of databases, schemas, tables and functions,
conflicts, resources and operators. What is said of others may quote values: data, constraints,
syntax, what functions raise."""
OF_SYSTEM = ("builtins", "socket", "ssl")
"""Where the errors are from that tell of connections and files; a subclass of OSError from
elsewhere may say anything."""
OF_DRIVERS = ("asyncpg", "psycopg", "sqlalchemy", "sqlite3")
OF_VALUES = (ValueError, TypeError, LookupError, ArithmeticError)
"""What drivers raise for values that they cannot send."""


def in_brief(error: BaseException) -> str:
    """The error in one line: one of this library in its own words; any other by its type, with its
    first line if that is about a server."""
    if isinstance(error, RepocacheError):
        return str(error)
    origin = _origin(error)
    name = type(origin).__name__
    if _quotes(origin):
        return f"{name}{_raised_at(error)}"
    words = _first_line(origin)
    return f"{name}: {words}" if words else name


def _origin(error: BaseException) -> BaseException:
    """What the driver has raised, where SQLAlchemy and its adapter have put theirs around it."""
    wrapped = getattr(error, "orig", None)
    if not isinstance(wrapped, BaseException):
        return error
    return wrapped.__cause__ or wrapped


def _quotes(error: BaseException) -> bool:
    """Whether its words may hold a value."""
    state = getattr(error, "sqlstate", None)
    if isinstance(state, str):
        return not state.startswith(OF_SERVERS)
    origin = type(error).__module__.partition(".")[0]
    if isinstance(error, OSError):
        return origin not in OF_SYSTEM
    return origin not in OF_DRIVERS or isinstance(error, OF_VALUES)


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:MOST]


def _raised_at(error: BaseException) -> str:
    place = ""
    for frame, line in walk_tb(error.__traceback__):
        place = f" at {PurePath(frame.f_code.co_filename).name}:{line}"
    return place
