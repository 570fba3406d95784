"""What is cached of a count: how many rows refer to an entity, under its id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any

from sqlalchemy import Column, Select, Table, func, select
from sqlalchemy.orm import InstrumentedAttribute, Mapper

from repocache.codec.column import ColumnKind
from repocache.errors import ConfigurationError, MappingRefused
from repocache.keys import KeyOwner, Keys
from repocache.mapping.hierarchy import kind_columns, own_rows
from repocache.mapping.kinds import kind_of
from repocache.mapping.layout import RowLayout
from repocache.mapping.plan import EntityPlan


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
    if mapper.inherits is not None and not mapper.single:
        raise MappingRefused(f"{name}: rows of {mapper.class_.__name__} lie in two tables")
    kinds = tuple(kind_of(f"{name}: {each}", each.type) for each in columns)
    if tuple(kind.python_type for kind in kinds) != parent.id_types:
        wanted = ", ".join(kind.__name__ for kind in parent.id_types)
        raise ConfigurationError(
            f"{name}: its columns do not hold the id of {parent.model.__name__}, which is "
            f"({wanted})"
        )
    rows: Select[Any] = select(*columns, func.count()).select_from(table)
    condition = own_rows(mapper)
    others = [] if condition is None else kind_columns(mapper)
    if condition is not None:
        rows = rows.where(condition)
    layout = RowLayout(
        (*columns, func.count()),
        (*kinds, ColumnKind(f"{name}: count", int)),
        {},
        tuple(range(len(columns))),
        None,
    )
    counted = replace(parent, model=mapper.class_, mapper=mapper)
    ids = counted.beside(owner.prefix, layout, rows.group_by(*columns), itemgetter(len(columns)))
    moved_by = frozenset([*columns, *mapper.primary_key, *others])
    return CountPlan(Keys(owner, parent.id_types), ids, moved_by)  # type: ignore[arg-type]
