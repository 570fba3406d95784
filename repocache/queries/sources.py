"""What a statement may read: the tables that are known, with what the database says of them.

Owns the way from a table in a statement to the places whose writes concern it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Column, Table, inspect
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import Mapper
from sqlalchemy.sql.expression import TableClause

from repocache.errors import QueryRefused
from repocache.queries.condition_column import ConditionColumn, condition_column
from repocache.queries.shape import TablePlace


def place_of(table: TableClause) -> TablePlace:
    """Schema and name; without a schema it is PostgreSQL's `public`."""
    return TablePlace(table.schema or "public", table.name)


@dataclass(frozen=True, eq=False)
class Sources:
    """Everything that is known of one database.

    `tables`: of all its metadata, views among them. `beneath`: the tables, however far, that a view
    shows. `same`: the table whose part another is, as of a partition. `functions`: the names that
    `immutable_functions` gives. `dialect`: of the database; by default PostgreSQL's.
    """

    tables: Iterable[Table]
    beneath: Mapping[TablePlace, Collection[TablePlace]] = field(default_factory=dict)
    same: Mapping[TablePlace, TablePlace] = field(default_factory=dict)
    functions: frozenset[str] = frozenset()
    dialect: Dialect = field(default_factory=PGDialect_asyncpg)
    _columns: dict[TablePlace, dict[str, Column[Any]]] = field(default_factory=dict, init=False)
    _verdicts: dict[tuple[TablePlace, str], ConditionColumn | str] = field(
        default_factory=dict, init=False
    )

    def __post_init__(self) -> None:
        for table in self.tables:
            columns = self._columns.setdefault(self.place(table), {})
            for column in table.columns:
                columns.setdefault(column.name, column)

    def place(self, table: TableClause) -> TablePlace:
        """The place that stands for where the table is, known or not."""
        place = place_of(table)
        return TablePlace(*self.same.get(place, place))

    def is_known(self, place: TablePlace) -> bool:
        return place in self._columns

    def is_view(self, place: TablePlace) -> bool:
        return place in self.beneath

    def condition(self, place: TablePlace, name: str) -> ConditionColumn | str:
        """The column of a known place as a condition, or why it cannot be one."""
        verdict = self._verdicts.get((place, name))
        if verdict is None:
            column = self._columns[place].get(name)
            verdict = (
                f"{place.text} has no column {name} in the metadata"
                if column is None
                else condition_column(column, self.dialect)
            )
            self._verdicts[place, name] = verdict
        return verdict

    def whole(self, place: TablePlace) -> frozenset[TablePlace]:
        """The places to which a write may change the rows of this one, whatever it writes."""
        beneath = [TablePlace(*each) for each in self.beneath.get(place, ())]
        return frozenset([TablePlace(*self.same.get(each, each)) for each in beneath] or [place])

    def declared(self, tables: Iterable[object]) -> frozenset[TablePlace]:
        """The places of tables that the application names: mapped classes, Tables, or texts as
        "post" and "shop.post". Raises QueryRefused for any other."""
        found: set[TablePlace] = set()
        for each in tables:
            for place in self._named(each):
                if not self.is_known(place):
                    raise QueryRefused(
                        f"tables={each!r}: it is not among the tables of the metadata: give a "
                        'mapped class, a Table, or its name as "post" or "shop.post"'
                    )
                found |= self.whole(place)
        return frozenset(found)

    def _named(self, given: object) -> list[TablePlace]:
        if isinstance(given, str):
            schema, _, name = given.rpartition(".")
            place = TablePlace(schema or "public", name)
            return [TablePlace(*self.same.get(place, place))]
        mapper = inspect(given, raiseerr=False)
        tables = mapper.tables if isinstance(mapper, Mapper) else [given]
        return [
            self.place(table) if isinstance(table, TableClause) else TablePlace("", repr(given))
            for table in tables
        ]
