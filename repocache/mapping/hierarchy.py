"""The tables and classes that belong to a mapped class: its own, its parents' and its children's.

Owns where an entity's id stands in each of the tables, for change tracking.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from sqlalchemy import BinaryExpression, Column, ColumnElement, Table
from sqlalchemy.orm import Mapper
from sqlalchemy.sql import operators, visitors

from repocache.errors import MappingRefused

_MEMORY_ONLY = frozenset({"UNLOGGED", "TEMPORARY", "TEMP"})


def family(mapper: Mapper[Any]) -> list[Mapper[Any]]:
    """The mapper with its descendants, parents before children."""
    return list(mapper.self_and_descendants)


def id_columns(mapper: Mapper[Any]) -> tuple[Column[Any], ...]:
    """The primary key: of the topmost table."""
    return tuple(column for column in mapper.primary_key if isinstance(column, Column))


def id_tables(mapper: Mapper[Any]) -> Mapping[Table, tuple[Column[Any], ...]]:
    """Every table that holds a part of an entity, with the columns that hold its id, in the key's
    order.

    Raises MappingRefused if a table has no such columns.
    """
    mappers = [*_line(mapper), *family(mapper)[1:]]
    holders = [_equal_columns(column, mappers) for column in id_columns(mapper)]
    tables: dict[Table, tuple[Column[Any], ...]] = {}
    for each in mappers:
        table = each.local_table
        if not isinstance(table, Table) or table in tables:
            continue
        found = [
            next((column for column in columns if column.table is table), None)
            for columns in holders
        ]
        ids = tuple(column for column in found if column is not None)
        if len(ids) < len(found):
            raise MappingRefused(
                f"{mapper.class_.__name__}: the table {table.fullname} of {each.class_.__name__} "
                "does not hold the id: join it to its parent by the whole primary key"
            )
        tables[table] = ids
    return MappingProxyType(tables)


def _line(mapper: Mapper[Any]) -> list[Mapper[Any]]:
    """Those whose tables hold a part of an entity, from the top: a concrete class has all of it."""
    found: list[Mapper[Any]] = []
    for each in mapper.iterate_to_root():
        found.append(each)
        if each.concrete:
            break
    return found[::-1]


def check_concrete(mapper: Mapper[Any]) -> None:
    """Raise MappingRefused for a class whose rows are several tables'."""
    below = [each.class_.__name__ for each in family(mapper)[1:] if each.concrete]
    if below:
        raise MappingRefused(
            f"{mapper.class_.__name__} has concrete subclasses, and reads their tables as one: "
            f"give repositories to {', '.join(below)}, and none to it"
        )


def lies_in_two_tables(mapper: Mapper[Any]) -> bool:
    """Whether a class's rows have a part in a parent's table."""
    return mapper.inherits is not None and not mapper.single and not mapper.concrete


def _equal_columns(column: Column[Any], mappers: Iterable[Mapper[Any]]) -> dict[Column[Any], None]:
    """The column, and those that the joins of parents with children set equal to it; an ordered
    set."""
    equal = {column: None}
    for mapper in mappers:
        for left, right in _equalities(mapper):
            if left in equal or right in equal:
                equal |= {left: None, right: None}
    return equal


def _equalities(mapper: Mapper[Any]) -> Iterator[tuple[Column[Any], Column[Any]]]:
    for part in visitors.iterate(mapper.inherit_condition):
        if isinstance(part, BinaryExpression) and part.operator is operators.eq:
            left, right = part.left, part.right
            if isinstance(left, Column) and isinstance(right, Column):
                yield left, right


def says_primary_only(tables: Iterable[Table]) -> bool:
    """Whether a table's DDL says that replicas do not have its rows. Tables made elsewhere: see
    `relation`."""
    return any(_MEMORY_ONLY.intersection(map(str.upper, table._prefixes)) for table in tables)  # noqa: SLF001


def own_rows(mapper: Mapper[Any]) -> ColumnElement[bool] | None:
    """The condition for a class that shares its table with others: only rows of it and its
    descendants."""
    if mapper.inherits is None or not mapper.single or mapper.polymorphic_on is None:
        return None
    return mapper.polymorphic_on.in_(
        [each.polymorphic_identity for each in family(mapper) if not each.polymorphic_abstract]
    )


def kind_columns(mapper: Mapper[Any]) -> list[Column[Any]]:
    """What says which class a row is of: a column, or those of an expression."""
    return [each for each in visitors.iterate(mapper.polymorphic_on) if isinstance(each, Column)]
