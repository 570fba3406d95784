"""What is cached of a count: how many rows refer to an entity, under its id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any

from sqlalchemy import Column, Select, Table, func, select
from sqlalchemy.orm import InstrumentedAttribute, Mapper

from repocache.codec.column import ColumnKind
from repocache.errors import MappingRefused
from repocache.keys import KeyOwner, Keys
from repocache.mapping.hierarchy import kind_columns, lies_in_two_tables, own_rows
from repocache.mapping.layout import RowLayout
from repocache.mapping.plan import EntityPlan
from repocache.mapping.referring import referring_columns
from repocache.mapping.stored import StoredColumn


@dataclass(frozen=True, slots=True, eq=False)
class CountPlan:
    """Make it with `count_plan`. `keys`: of the counts, by the id that the rows refer to. `ids`:
    the plan of what is cached: its "entity" is the count. `moved_by`: as of `Owned`."""

    keys: Keys
    ids: EntityPlan[Any]
    moved_by: frozenset[Column[Any]]


def count_plan(
    parent: EntityPlan[Any],
    owner: KeyOwner,
    name: str,
    attributes: Sequence[InstrumentedAttribute[Any]],
) -> CountPlan:
    """`owner`: of the counts' keys. `name`: of the declaration, in messages. `attributes`: those of
    the counted class that hold the parent's id, in its order.

    Raises ConfigurationError for others, and MappingRefused if they are not columns of one table.
    """
    mapper = attributes[0].parent
    columns = tuple(
        column
        for each in attributes
        for column in getattr(each.property, "columns", ())
        if isinstance(column, Column)
    )
    tables = {column.table for column in columns}
    if not isinstance(mapper, Mapper) or len(columns) != len(attributes) or len(tables) != 1:
        raise MappingRefused(
            f"{name}: give plain columns of one table, as in Count(Comment.post_id)"
        )
    [table] = tables
    assert isinstance(table, Table)
    if lies_in_two_tables(mapper):
        raise MappingRefused(f"{name}: rows of {mapper.class_.__name__} lie in two tables")
    stored = tuple(referring_columns(name, columns, parent))
    rows: Select[Any] = select(*(each.expression for each in stored), func.count()).select_from(
        table
    )
    condition = own_rows(mapper)
    others = [] if condition is None else kind_columns(mapper)
    if condition is not None:
        rows = rows.where(condition)
    counted = func.count()
    number = StoredColumn(
        ColumnKind(f"{name}: count", int), counted, counted, counted.type, counted.type
    )
    layout = RowLayout((*stored, number), {}, tuple(range(len(columns))), None)
    keys = Keys(owner, parent.key)
    of_class = replace(parent, model=mapper.class_, mapper=mapper)
    grouped = rows.group_by(*(each.compared for each in stored))
    ids = of_class.beside(keys, layout, grouped, itemgetter(len(columns)))
    moved_by = frozenset([*columns, *mapper.primary_key, *others])
    return CountPlan(keys, ids, moved_by)  # type: ignore[arg-type]
