"""Tables by their schema and name: Table objects of several MetaData may be one table of the
database.

Owns which of them speaks for a place, and the foreign keys between places. What the database says
(`tracking.catalog`) adds tables, names and foreign keys to those of the metadata. Pure; what the
keys' actions do to owners is `tracking.tables`'.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Column, ForeignKey, Table
from sqlalchemy.exc import NoReferenceError
from sqlalchemy.sql.expression import TableClause

from repocache.tracking.catalog import NOTHING, Catalog, Place

PUBLIC = "public"


def place_of(table: TableClause, schema: str = PUBLIC) -> Place:
    """Schema and name. Without a schema it is PostgreSQL's `public`: if the search path says
    otherwise, too much is taken for one table, and too much is invalidated, not too little.
    """
    return table.schema or schema, table.name


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
    """Table objects, and those that they refer to, however far. The first of a place that was given
    speaks for it. `schema`: of those that name none."""

    def __init__(
        self, tables: Iterable[Table], catalog: Catalog = NOTHING, schema: str = PUBLIC
    ) -> None:
        self._catalog = catalog
        self._schema = schema
        self._all = list(dict.fromkeys(tables))
        known = set(self._all)
        for table in self._all:
            found = set(_referred(table)) - known
            known |= found
            self._all.extend(found)
        self._all.extend(catalog.tables)
        self._first: dict[Place, Table] = {}
        self._columns: dict[Place, dict[str, Column[Any]]] = {}
        self._titles: dict[Place, set[str]] = {}
        for table in self._all:
            place = self.place(table)
            self._first.setdefault(place, table)
            self._titles.setdefault(place, set()).update((table.name, table.fullname))
            columns = self._columns.setdefault(place, {})
            for column in table.columns:
                columns.setdefault(column.name, column)

    @property
    def all(self) -> Sequence[Table]:
        """Every Table object."""
        return self._all

    @property
    def tables(self) -> tuple[Table, ...]:
        """One for each place."""
        return tuple(self._first.values())

    @property
    def names(self) -> Iterable[Place]:
        """Schema and name of all that is known, partitions too."""
        own = (place_of(each, self._schema) for each in self._all)
        return dict.fromkeys([*own, *self._catalog.same])

    def titles(self, place: Place) -> frozenset[str]:
        """What the tables at this place are called, with their schemas and without."""
        return frozenset(self._titles.get(place, ()))

    def place(self, table: TableClause) -> Place:
        """The place that stands for where the table is."""
        return self._catalog.at(place_of(table, self._schema))

    def first(self, table: Table) -> Table | None:
        """That speaks for where it is; None: nothing is known of it."""
        return self.at(place_of(table, self._schema))

    def at(self, place: Place) -> Table | None:
        return self._first.get(self._catalog.at(place))

    def table(self, table: Table) -> Table:
        return self._first[self.place(table)]

    def column(self, column: Column[Any]) -> Column[Any]:
        """The column of its name that speaks for all of that place."""
        return self._columns[self.place(column.table)][column.name]

    def columns(self, table: Table) -> Iterable[Column[Any]]:
        """Of all Table objects of the place, one for each name."""
        return self._columns[self.place(table)].values()

    def references(self) -> Mapping[Table, list[Reference]]:
        """The foreign keys that refer to each table, whichever of the Table objects declares them.
        Where the database knows one, its actions count and not the metadata's."""
        found: dict[tuple[Table, frozenset[tuple[Column[Any], Column[Any]]]], Reference] = {}
        certain = set(self._catalog.tables)
        for table in self._all:
            for key in table.foreign_key_constraints:
                pairs = tuple(
                    (self.column(element.parent), old)
                    for element in key.elements
                    if (old := self._target(element)) is not None
                )
                if len(pairs) == len(key.elements):
                    child, parent = self.table(table), self.table(pairs[0][1].table)
                    reference = Reference(child, parent, pairs, key.ondelete, key.onupdate)
                    same = found.setdefault((child, frozenset(pairs)), reference)
                    if table in certain:
                        same = replace(same, ondelete=key.ondelete, onupdate=key.onupdate)
                    found[child, frozenset(pairs)] = same
        children: dict[Table, list[Reference]] = {}
        for reference in found.values():
            children.setdefault(reference.referred_table, []).append(reference)
        return children

    def _target(self, element: ForeignKey) -> Column[Any] | None:
        """The column that it refers to; None: of a table that nobody knows."""
        with suppress(NoReferenceError):
            return self.column(element.column)
        # Named by a text, and in another MetaData.
        *schema, name, column = element.target_fullname.split(".")
        default = element.parent.table.metadata.schema or self._schema
        table = self.at((".".join(schema) or default, name))
        if table is None:
            return None
        # By its name, or by the key that a foreign key may give in its place.
        named = self._columns[self.place(table)].get(column)
        return table.columns.get(column) if named is None else named


def _referred(table: Table) -> Iterable[Table]:
    for element in table.foreign_keys:
        with suppress(NoReferenceError):  # it may be known by its name, or nobody knows it
            yield element.column.table
