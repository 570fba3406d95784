"""The ids of touched rows as the database and SQLAlchemy gave them after a statement, without
taking rows away.

Owns the dealings with SQLAlchemy's results; who asks is `tracking.listener`.
"""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, CursorResult, Insert
from sqlalchemy.engine import Dialect
from sqlalchemy.engine.cursor import CursorFetchStrategy, FullyBufferedCursorFetchStrategy
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.sql.compiler import SQLCompiler

from repocache.errors import InvalidId
from repocache.keys import Keys
from repocache.tracking.dml import (
    Id,
    Sent,
    gives_its_rows,
    is_given_plainly,
    kept_as_given,
    may_rename,
    multiple_rows,
)
from repocache.tracking.owners import KeyColumns
from repocache.transactions.changes import MOST_KEYS

_ALL = 2**31 - 1


def inserted_ids(
    sent: Sent, result: CursorResult[Any], each: KeyColumns, unsaid: frozenset[str]
) -> list[Id] | None:
    """The ids of the rows that an INSERT made or, as an upsert, changed. None: not known. `unsaid`:
    of the owners."""
    statement = sent.statement
    assert isinstance(statement, Insert)
    # See gives_its_rows.
    renaming = each.moved_by or each.columns
    if statement._prefixes or may_rename(statement, renaming, unsaid):  # noqa: SLF001
        return None
    # A row that was there keeps its value in a lookup's columns.
    gives = each.is_lookup or gives_its_rows(statement, each.columns)
    plain = all(is_given_plainly(sent, column) for column in each.columns)
    if gives and plain and statement.select is None and each.trusted:
        ids = _given_ids(sent, statement, result.context, each.columns)
        if ids is not None and kept_as_given(sent, ids, each.columns):
            return ids
    return returned_ids(result, each.columns)


def returned_ids(result: CursorResult[Any], columns: Sequence[Column[Any]]) -> list[Id] | None:
    """The ids that RETURNING gave, the statement's own or SQLAlchemy's. None: it gave none, or more
    than are told one by one."""
    context = result.context
    compiled = context.compiled
    assert isinstance(compiled, SQLCompiler)
    implicit = compiled.implicit_returning
    if implicit:
        # Of several lists of parameters, rows of all are here. No rows: none was touched.
        if len(context.returned_default_rows or ()) > MOST_KEYS:
            return None
        if not set(map(hash, implicit)).issuperset(map(hash, columns)):
            return None
        rows = [
            row._mapping  # noqa: SLF001 - public by its documentation
            for row in context.returned_default_rows or ()
        ]
        return [tuple(row[column] for column in columns) for row in rows]
    return _peek(result, compiled, columns)


def key_texts(keys: Keys, ids: Iterable[Id], schema: str = "") -> list[str] | None:
    """The keys of these ids; None if a part is not of the key's type and cannot be made so.
    `schema`: with which each begins; empty: with none."""
    if schema:
        ids = [(schema, *id) for id in ids]
    texts: list[str] = []
    single = len(keys.types) == 1
    for id in ids:
        parts = tuple(map(_part, id, keys.types))
        if None in parts:
            return None
        try:
            texts.append(keys.text(parts[0] if single else parts))
        except InvalidId:
            if not keys.has_forms:
                raise
            return None  # written by others than the column's type
    return texts


def _part(value: object, kind: type) -> object:
    """The value as exactly that type, for drivers and applications give subclasses. None: it is
    another thing."""
    if type(value) is kind:
        return value
    if kind is uuid.UUID:
        if isinstance(value, uuid.UUID):
            return uuid.UUID(int=value.int)
        return _uuid(value) if isinstance(value, str) else None
    if kind is bytes:
        return bytes(value) if isinstance(value, bytearray | memoryview | bytes) else None
    if kind is datetime.datetime:
        return (
            datetime.datetime.fromisoformat(value.isoformat())
            if isinstance(value, datetime.datetime)
            else None
        )
    if kind is datetime.date:
        return (
            datetime.date(value.year, value.month, value.day)
            if isinstance(value, datetime.date)
            else None
        )
    if kind is str:
        # Not `str(value)`: of an enumeration's member that is a text, the driver sends the text.
        return str.__str__(value) if isinstance(value, str) else None
    return kind(value) if isinstance(value, kind) else None


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


def _given_ids(
    sent: Sent, statement: Insert, context: DefaultExecutionContext, columns: Sequence[Column[Any]]
) -> list[Id] | None:
    """The ids that are among the parameters, or that SQLAlchemy fetched because they were not. What
    lies outside of the primary key and is NULL is nobody's id."""
    rows: Iterable[Sequence[Any]]
    if count := multiple_rows(statement):
        parameters = context.compiled_parameters[0]
        rows = [
            [parameters.get(f"{column.key}_m{index}") for column in columns]
            for index in range(count)
        ]
    else:
        order = [column.key for column in statement.table.primary_key]
        if not set(order).issuperset(column.key for column in columns):
            # SQLAlchemy reserves the columns' keys: a parameter of that name is the column's value.
            if not all(row.keys() >= {column.key for column in columns} for row in sent.rows):
                return None
            given = [tuple(row[column.key] for column in columns) for row in sent.rows]
            return [id for id in given if None not in id]
        places = [order.index(column.key) for column in columns]
        rows = [[row[place] for place in places] for row in context.inserted_primary_key_rows or ()]
    ids = [tuple(row) for row in rows]
    return None if any(None in id for id in ids) else ids


def _peek(
    result: CursorResult[Any], compiled: SQLCompiler, columns: Sequence[Column[Any]]
) -> list[Id] | None:
    """Ids among the rows that the caller asked for by `returning()`: read them all, and put them
    back."""
    strategy = result.cursor_strategy
    places = [_place(compiled, column) for column in columns]
    # Not a server-side cursor: its rows are not here yet.
    if None in places or type(strategy) not in {
        CursorFetchStrategy,
        FullyBufferedCursorFetchStrategy,
    }:
        return None
    assert isinstance(strategy, CursorFetchStrategy)
    rows = strategy.fetchmany(result, result.cursor, _ALL)
    if not rows:
        return []
    description = result.cursor.description
    result.cursor_strategy = FullyBufferedCursorFetchStrategy(
        result.cursor,
        alternate_description=strategy.alternate_cursor_description,
        initial_buffer=rows,
    )
    if len(rows) > MOST_KEYS:
        return None
    known = [place for place in places if place is not None]
    return processed(rows, columns, known, description, result.context.dialect)


def processed(
    rows: Sequence[Any],
    columns: Sequence[Column[Any]],
    places: Sequence[int],
    description: Any,
    dialect: Dialect,
) -> list[Id]:
    """The driver's rows as the columns' types make values of them. `places`: where each column is
    in a row."""
    found: list[list[Any]] = []
    for column, place in zip(columns, places, strict=True):
        process = column.type.dialect_impl(dialect).result_processor(dialect, description[place][1])
        values = [row[place] for row in rows]
        found.append(values if process is None else list(map(process, values)))
    return list(zip(*found, strict=True))


def _place(compiled: SQLCompiler, column: Column[Any]) -> int | None:
    """Where among the returned columns this one is."""
    if not compiled._ordered_columns:  # noqa: SLF001 - there is no public way to ask
        return None
    for index, entry in enumerate(compiled._result_columns):  # noqa: SLF001 - as above
        if any(
            isinstance(each, ColumnElement) and hash(each) == hash(column) for each in entry.objects
        ):
            return index
    return None
