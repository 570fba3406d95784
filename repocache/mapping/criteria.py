"""Whether every session's selects of a class are narrowed behind its back: by a listener to
`do_orm_execute`.

A cached row is loaded by no session, so that such a listener is not asked. It is asked here, once,
what it would do.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, event, select
from sqlalchemy.engine import Dialect, IteratorResult, Result
from sqlalchemy.engine.result import SimpleResultMetaData
from sqlalchemy.orm import Mapper, ORMExecuteState

from repocache.errors import MappingRefused
from repocache.transactions.tracked_session import TrackedSession

REMEDY = (
    "a row from a cache, or of `find`, comes without it: name the condition in `find(...)` and in "
    "methods of the repository, and declare MappingOptions(unfiltered=True) to say that rows are "
    "read as they are stored"
)


def check_criteria(mapper: Mapper[Any], dialect: Dialect) -> None:
    """Raises MappingRefused if listeners on SQLAlchemy's `Session`, as for a global
    `with_loader_criteria`, change a plain select of this class, or refuse it. Nothing is sent to
    the database."""
    name, plain = mapper.class_.__name__, select(mapper)
    try:
        heard = _as_sessions_send(plain)
    except Exception as error:
        raise MappingRefused(
            f"{name}: a listener to `do_orm_execute` of all sessions refuses a plain select of it "
            f"({error!r}); {REMEDY}"
        ) from error
    for statement in heard:
        if statement is not plain and _sql(statement, dialect) != _sql(plain, dialect):
            raise MappingRefused(
                f"{name}: a listener to `do_orm_execute` of all sessions narrows its selects, as a "
                f"global with_loader_criteria() does; {REMEDY}"
            )


def _as_sessions_send(statement: Select[Any]) -> list[Any]:
    """What the listeners make of the statement; nothing if one of them answers it itself."""
    heard: list[Any] = []

    def hear(state: ORMExecuteState) -> Result[Any]:
        heard.append(state.statement)
        return IteratorResult(SimpleResultMetaData(()), iter(()))

    with TrackedSession() as session:
        event.listen(session, "do_orm_execute", hear)
        session.execute(statement)
    return heard


def _sql(statement: Any, dialect: Dialect) -> str:
    return str(statement.compile(dialect=dialect))
