"""Rows that go, or change, with deleted ones by foreign keys' actions: which they are is asked
before they do.

Owns the statements that ask. Who is reached by whose deletion is `tables`'.

1. A row is about to be deleted; 2. its children are read; 3. somebody adds another child; 4. the
deletion takes that one along, and nobody tells its key. So what is deleted is locked first, and its
children are read by a later statement: who adds one waits for the parent's lock. The deletion would
lock the same rows a moment later, and no others: it is asked about only if its WHERE can be said
again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import (
    ARRAY,
    Column,
    ColumnElement,
    Select,
    Subquery,
    Table,
    TextClause,
    bindparam,
    func,
    literal,
    select,
    text,
    true,
    tuple_,
)
from sqlalchemy.engine import Dialect

from repocache.keys import Keys
from repocache.mapping.relation import named_by_sql
from repocache.tracking.places import Reference
from repocache.transactions.changes import MOST_KEYS

MOST_ASKED = 1_000
"""Beyond so many deleted rows in one statement nobody is asked about: owners are moved as a
whole."""

Execute = Callable[[Select[Any], Sequence[Any]], Sequence[Any]]
"""Runs a select of one row for these ids."""


class Told(NamedTuple):
    """An owner, and the columns of a reached table that have its ids. `by_schema`: as of
    `Owned`."""

    keys: Keys
    columns: tuple[Column[Any], ...]
    by_schema: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Reached:
    """The rows that a deletion reaches by one foreign key. `told`: whose ids they have. `below`:
    what goes with them."""

    reference: Reference
    told: tuple[Told, ...]
    below: tuple[Reached, ...]

    @property
    def columns(self) -> tuple[Column[Any], ...]:
        return tuple(dict.fromkeys(column for each in self.told for column in each.columns))


@dataclass(frozen=True, slots=True, eq=False)
class Cascade:
    """What a deletion in a table leads to. `whole`: owners whose changed rows no question tells."""

    table: Table
    reached: tuple[Reached, ...] = ()
    whole: frozenset[str] = frozenset()

    @property
    def owners(self) -> frozenset[str]:
        """Prefixes of all."""
        return self.whole.union(told.keys.prefix for told in self.told)

    @property
    def told(self) -> tuple[Told, ...]:
        return tuple(told for each in _all(self.reached) for told in each.told)

    @property
    def tables(self) -> tuple[Table, ...]:
        """That are read, the deleted rows' own first."""
        return tuple(
            dict.fromkeys([self.table, *(each.reference.table for each in _all(self.reached))])
        )

    def named_by(self, columns: Sequence[Column[Any]]) -> bool:
        """Whether values of these columns, compared with those of rows, name rows to be deleted.

        They hold the primary key. More than one are compared as a tuple, which knows no type's
        `bind_expression`.
        """
        names = {column.name for column in columns}
        key = {column.name for column in self.table.primary_key}
        whole = bool(key) and key <= names and len(named_in(self.table, columns)) == len(columns)
        if not whole or len(columns) == 1:
            return whole
        return not any(each.type._has_bind_expression for each in columns)  # noqa: SLF001


class Level(NamedTuple):
    """The rows that are reached through so many foreign keys, and the statement that reads them:
    one row, with arrays of their columns."""

    reached: tuple[Reached, ...]
    rows: Select[Any]


class Questions:
    """About the deletion of rows of one table, built once. `columns`: that name the deleted rows
    (`named_by`)."""

    def __init__(self, cascade: Cascade, columns: Sequence[Column[Any]]) -> None:
        among = _among(named_in(cascade.table, columns), bindparam("ids", expanding=True))
        # In the order in which a flush deletes: who locks rows one by one does so too, and no
        # circle of waits arises.
        deleted = (
            select(literal(1)).where(among).order_by(*cascade.table.primary_key).with_for_update()
        )
        self._lock = select(func.count()).select_from(deleted.subquery())
        self._levels: list[Level] = []
        level = [(each, _within(each.reference, cascade.table, among)) for each in cascade.reached]
        while level:
            self._levels.append(Level(tuple(each for each, _ in level), _rows(level)))
            level = [
                (below, _within(below.reference, each.reference.table, condition))
                for each, condition in level
                for below in each.below
            ]

    def ask(self, ids: Sequence[Any], execute: Execute) -> Mapping[str, list[tuple[Any, ...]]]:
        """By owner the ids of the rows that the deletion of these will reach. One statement locks
        these, and one reads each level below."""
        execute(self._lock, ids)
        found: dict[str, list[tuple[Any, ...]]] = {}
        for level in self._levels:
            values = iter(execute(level.rows, ids))
            for each in level.reached:
                arrays = {column: next(values) or () for column in each.columns}
                if not each.columns:
                    next(values)
                for told in each.told:
                    rows = zip(*(arrays[column] for column in told.columns), strict=True)
                    found.setdefault(told.keys.prefix, []).extend(rows)
        return found


def rights_statement(tables: Iterable[Table], dialect: Dialect, schema: str = "") -> TextClause:
    """Asks whether the role may lock and read these tables, and none of their rows is hidden from
    it. `schema`: of those that name none; empty: the search path says."""
    names = [named_by_sql(table, dialect, schema) for table in tables]
    return text(
        "SELECT coalesce(pg_catalog.bool_and(class.oid IS NOT NULL AND NOT class.relrowsecurity"
        " AND pg_catalog.has_table_privilege(class.oid, 'SELECT')"
        " AND pg_catalog.has_any_column_privilege(class.oid, 'UPDATE')), false)"
        " FROM pg_catalog.unnest(CAST(:names AS text[])) AS asked (name)"
        " LEFT JOIN pg_catalog.pg_class AS class ON class.oid = "
        "CAST(pg_catalog.to_regclass(asked.name) AS oid)"
    ).bindparams(names=names)


def _rows(level: Sequence[tuple[Reached, ColumnElement[bool]]]) -> Select[Any]:
    parts: list[Subquery] = []
    for each, condition in level:
        rows = (
            select(*(each.columns or (literal(1),)))
            .select_from(each.reference.table)
            .where(condition)
        )
        # What goes itself is locked, so that nobody adds to what is below it.
        rows = rows.with_for_update() if each.below else rows.limit(MOST_KEYS + 1)
        parts.append(select(*map(_array_of, rows.subquery().columns)).subquery())
    joined: Any = parts[0]
    for part in parts[1:]:
        joined = joined.join(part, true())
    return select(*(column for part in parts for column in part.columns)).select_from(joined)


def _array_of(column: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.pg_catalog.array_agg(column, type_=ARRAY(column.type))


def _within(key: Reference, table: Table, condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """Rows that refer to those of a condition on the table. The key may name a partition of it, or
    the tree that it is one of."""
    # The parents are another level's, also where they lie in the same table.
    parents = (
        select(*named_in(table, [old for _, old in key.pairs])).where(condition).correlate(None)
    )
    return _among(named_in(key.table, key.columns), parents)


def named_in(table: Table, columns: Iterable[Column[Any]]) -> list[Column[Any]]:
    """The table's columns of these names; fewer, if it has not all."""
    named = {column.name: column for column in table.columns}
    return [named[column.name] for column in columns if column.name in named]


def _among(columns: Sequence[Column[Any]], values: Any) -> ColumnElement[bool]:
    return columns[0].in_(values) if len(columns) == 1 else tuple_(*columns).in_(values)


def _all(reached: Sequence[Reached]) -> Iterator[Reached]:
    for each in reached:
        yield each
        yield from _all(each.below)
