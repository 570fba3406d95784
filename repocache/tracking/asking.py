"""How the database is asked for the ids of touched rows that a statement's own words do not give.

Owns the RETURNING that is put into the text right before the driver is given it, and takes the rows
that come of it off the cursor again: SQLAlchemy, its events and the result know nothing of it. What
is sent row by row stays so.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Column, Delete, Update
from sqlalchemy.engine import Dialect
from sqlalchemy.engine.cursor import _NO_CURSOR_DML
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.engine.interfaces import DBAPICursor

from repocache.tracking.dml import Equalities, Id, Sent, hides_generated_ids, located_ids
from repocache.tracking.owners import KeyColumns, Owners
from repocache.tracking.returned import processed
from repocache.transactions.changes import MOST_KEYS


class Asked(ABC):
    """A statement that is made to return ids of these columns."""

    def __init__(self, columns: Sequence[Column[Any]]) -> None:
        self._columns = columns
        self._ids: list[Id] | None = None

    @abstractmethod
    def run(
        self, cursor: DBAPICursor, statement: str, parameters: Any, context: DefaultExecutionContext
    ) -> None:
        """Execute it, and leave cursor and context as they would have been."""

    def ids_of(self, columns: Sequence[Column[Any]]) -> list[Id] | None:
        """Of the touched rows, for some of the columns. None: it has not been run, or there are too
        many."""
        if self._ids is None:
            return None
        order = list(map(hash, self._columns))
        places = [order.index(hash(column)) for column in columns]
        return [tuple([id[place] for place in places]) for id in self._ids]

    def _take(self, rows: Sequence[Any], description: Any, dialect: Dialect) -> None:
        self._ids = processed(rows, self._columns, range(len(self._columns)), description, dialect)


def asked_for(
    sent: Sent, owners: Owners, restricted: Equalities, context: DefaultExecutionContext
) -> Asked | None:
    """How to ask for the ids that this execution does not give by itself; None: not at all, it
    gives them or is left alone. An UPDATE or DELETE of all rows, or of ids, moves the whole owner
    anyhow.
    """
    statement, dialect = sent.statement, context.dialect
    # RETURNING would give a renamed row's new id, and the old one is gone.
    set_columns = sent.sets(owners) if isinstance(statement, Update) else frozenset()
    keyed = [
        each
        for each in (sent.concerned(owners) if owners.selective else owners.keyed)
        if set_columns.isdisjoint(column.key for column in each.columns)
    ]
    columns = list(dict.fromkeys(column for each in keyed for column in each.columns))
    # No public way to ask.
    if not columns or statement._returning or sent.compiled.implicit_returning:  # noqa: SLF001
        return None
    if sent.many:
        # Only this driver returns rows of a list and still sends it row by row, so that each may
        # see those before.
        able = dialect.driver == "asyncpg" and len(sent.rows) <= MOST_KEYS
        return _Each(columns) if able and hides_generated_ids(sent, columns) else None
    if (
        not isinstance(statement, Update | Delete)
        or statement.whereclause is None
        or context._is_server_side  # noqa: SLF001 - as above
    ):
        return None
    able = dialect.update_returning if isinstance(statement, Update) else dialect.delete_returning
    if not able or sent.writing_ctes or _is_ambiguous(sent) or _locates(sent, keyed, restricted):
        return None
    return _Counted(columns) if dialect.name == "postgresql" else _Listed(columns)


class _Listed(Asked):
    """RETURNING, and all rows fetched."""

    def run(
        self, cursor: DBAPICursor, statement: str, parameters: Any, context: DefaultExecutionContext
    ) -> None:
        dialect = context.dialect
        dialect.do_execute(
            cursor, self._text(_returning(statement, self._columns, dialect)), parameters, context
        )
        rows = cursor.fetchall()
        count = self._count(rows)
        if count == len(rows):
            self._take(rows, cursor.description, dialect)
        # The result has no rows then, and its count is that of the statement.
        context.cursor_fetch_strategy = _NO_CURSOR_DML  # type: ignore[assignment]  # as dialects do
        context._rowcount = count  # noqa: SLF001 - where SQLAlchemy looks first

    def _text(self, returning: str) -> str:
        return returning

    def _count(self, rows: Sequence[Any]) -> int:
        return len(rows)


class _Counted(_Listed):
    """PostgreSQL counts the rows, and sends no more ids than are worth having."""

    def _text(self, returning: str) -> str:
        return (
            f"WITH repocache_touched AS (\n{returning})\n"
            f"SELECT repocache_touched.*, count(*) OVER () FROM repocache_touched LIMIT {MOST_KEYS}"
        )

    def _count(self, rows: Sequence[Any]) -> int:
        return rows[0][-1] if rows else 0


class _Each(Asked):
    """A list of INSERTs, each of which returns its row."""

    def run(
        self, cursor: DBAPICursor, statement: str, parameters: Any, context: DefaultExecutionContext
    ) -> None:
        adapted: Any = cursor
        # The driver's, to which this cursor of SQLAlchemy's speaks.
        connection = adapted._connection  # noqa: SLF001
        adapted._connection = answers = _Answers(connection)  # noqa: SLF001
        try:
            text = _returning(statement, self._columns, context.dialect)
            context.dialect.do_executemany(cursor, text, parameters, context)
        finally:
            adapted._connection = connection  # noqa: SLF001
        self._take(answers.rows, [(column.name, None) for column in self._columns], context.dialect)


class _Answers:
    """asyncpg's connection, whose lists of statements return their rows."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.rows: Sequence[Any] = ()

    async def executemany(self, statement: str, parameters: Any) -> None:
        self.rows = await self._connection.fetchmany(statement, parameters)


def _returning(statement: str, columns: Sequence[Column[Any]], dialect: Dialect) -> str:
    quote = dialect.identifier_preparer.quote
    names = ", ".join(f"{quote(column.table.name)}.{quote(column.name)}" for column in columns)
    # On a line of its own: the text may end in a comment.
    return f"{statement}\nRETURNING {names}"


def _is_ambiguous(sent: Sent) -> bool:
    """Whether another table of the statement has the name of the one that is written, in another
    schema."""
    others = getattr(sent.compiled.compile_state, "_extra_froms", None) or ()
    return any(
        getattr(each, "name", "") == getattr(sent.statement.table, "name", None) for each in others
    )


def _locates(sent: Sent, keyed: Sequence[KeyColumns], restricted: Equalities) -> bool:
    return all(
        each.trusted and located_ids(sent, restricted, each.columns) is not None for each in keyed
    )
