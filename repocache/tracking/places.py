"""Tables by their schema and name: Table objects of several MetaData may be one table of the database.

Owns which of them speaks for a place, and the foreign keys between places. Pure; what the keys' actions do to owners is
`tracking.tables`'.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, ForeignKey, Table
from sqlalchemy.exc import NoReferenceError
from sqlalchemy.sql.expression import TableClause

Place = tuple[str, str]


def place_of(table: TableClause) -> Place:
    """Schema and name. Without a schema it is PostgreSQL's `public`: if the search path says otherwise, too much is
    taken for one table, and too much is invalidated, not too little.
    """
    return table.schema or "public", table.name


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """A foreign key. `pairs`: each of its columns with the one that it refers to."""

    table: Table
    referred_table: Table
    pairs: tuple[tuple[Column[Any], Column[Any]], ...]
    ondelete: str | None
    onupdate: str | None

    @property
    def columns(self) -> tuple[Column[Any], ...]:
        return tuple(column for column, _ in self.pairs)


class Places:
    """Table objects, and those that they refer to, however far. The first of a place that was given speaks for it."""

    def __init__(self, tables: Iterable[Table]) -> None:
        self._all = list(dict.fromkeys(tables))
        known = set(self._all)
        for table in self._all:
            found = set(_referred(table)) - known
            known |= found
            self._all.extend(found)
        self._first: dict[Place, Table] = {}
        for table in self._all:
            self._first.setdefault(place_of(table), table)

    @property
    def tables(self) -> tuple[Table, ...]:
        """One for each place."""
        return tuple(self._first.values())

    def at(self, place: Place) -> Table | None:
        return self._first.get(place)

    def table(self, table: Table) -> Table:
        return self._first[place_of(table)]

    def column(self, column: Column[Any]) -> Column[Any]:
        """The column of its name in the table that speaks for the place; itself, if that has none."""
        found = _named(column.name, self.table(column.table))
        return column if found is None else found

    def references(self) -> Mapping[Table, list[Reference]]:
        """The foreign keys that refer to each table, whichever of the Table objects declares them."""
        found: dict[Table, list[Reference]] = {}
        for table in self._all:
            for key in table.foreign_key_constraints:
                pairs = tuple(
                    (self.column(element.parent), old)
                    for element in key.elements
                    if (old := self._target(element)) is not None
                )
                if len(pairs) == len(key.elements):
                    parent = pairs[0][1].table
                    reference = Reference(self.table(table), parent, pairs, key.ondelete, key.onupdate)
                    found.setdefault(parent, []).append(reference)
        return found

    def _target(self, element: ForeignKey) -> Column[Any] | None:
        """The column that it refers to; None: of a table that nobody knows."""
        with suppress(NoReferenceError):
            return self.column(element.column)
        # Named by a text, and in another MetaData.
        *schema, name, column = element.target_fullname.split(".")
        default = element.parent.table.metadata.schema or "public"
        table = self._first.get((".".join(schema) or default, name))
        return None if table is None else _named(column, table)


def _referred(table: Table) -> Iterable[Table]:
    for element in table.foreign_keys:
        with suppress(NoReferenceError):  # it may be known by its name, or nobody knows it
            yield element.column.table


def _named(name: str, table: Table) -> Column[Any] | None:
    """By its name, or by the key that a foreign key may give in its place."""
    by_name = {column.name: column for column in table.columns}
    return by_name.get(name, table.columns.get(name))
