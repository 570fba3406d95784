"""What is cached of a relationship to many: the ids that it leads to, in its order, under the id of
the entity that has it.

Owns the verdict on a relationship and the plan of its rows: each a parent's id with a list of
children's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import (
    ARRAY,
    Column,
    ColumnElement,
    Select,
    Table,
    UnaryExpression,
    func,
    select,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.orm import RelationshipProperty
from sqlalchemy.orm.interfaces import MANYTOMANY, ONETOMANY

from repocache.errors import MappingRefused
from repocache.keys import KeyOwner, KeyPart, Keys
from repocache.mapping.entity import Row
from repocache.mapping.hierarchy import kind_columns, own_rows
from repocache.mapping.joins import equal_columns
from repocache.mapping.key_columns import values_of
from repocache.mapping.layout import RowLayout
from repocache.mapping.plan import EntityPlan
from repocache.mapping.referring import referring_columns
from repocache.mapping.stored import StoredColumn


@dataclass(frozen=True, slots=True, eq=False)
class KeyListPlan:
    """Make it with `key_list_plan`.

    `keys`: of the lists, by the parent's id. `ids`: the plan of what is cached: its "entity" is the
    list of the children's ids. `fits`: whether a child, as its own entry has it, belongs to this
    parent; what only an association table knows, it does not. `moved_by`: as of `Owned`.
    """

    relationship: RelationshipProperty[Any]
    keys: Keys
    ids: EntityPlan[Any]
    fits: Callable[[object, Any], bool]
    moved_by: frozenset[Column[Any]]


def key_list_plan(
    parent: EntityPlan[Any],
    child: EntityPlan[Any],
    owner: KeyOwner,
    name: str,
    relationship: RelationshipProperty[Any],
) -> KeyListPlan:
    """`owner`: of the lists' keys. `name`: of the declaration, in messages.

    Raises MappingRefused for a relationship whose rows are not told by keys of one table.
    """
    joins: list[tuple[ColumnElement[bool] | None, EntityPlan[Any]]] = [
        (relationship.primaryjoin, parent)
    ]
    if relationship.secondary is not None:
        joins.append((relationship.secondaryjoin, child))
    if relationship.direction not in (ONETOMANY, MANYTOMANY) or not all(
        _is_plain(join, plan) for join, plan in joins
    ):
        raise MappingRefused(
            f"{name}: {relationship} does not lead to many by foreign keys to the primary key "
            "alone: leave the key list out, it is read by a statement then"
        )
    holders = _referring(relationship.synchronize_pairs or (), parent)
    if len(holders) != len(parent.id_columns):
        raise MappingRefused(f"{name}: {relationship} does not tell whose its rows are")
    table = holders[0].table
    many = relationship.secondary is not None
    members = (
        _referring(relationship.secondary_synchronize_pairs or (), child)
        if many
        else child.id_columns
    )
    order = _order(relationship, name, table)
    if {column.table for column in (*holders, *members)} != {table}:
        raise MappingRefused(
            f"{name}: rows of {child.model.__name__} lie in two tables: leave the key list out"
        )
    assert isinstance(table, Table)
    names = () if many else _attributes(child, holders, name)
    others = [] if own_rows(child.mapper) is None else kind_columns(child.mapper)
    ordering = [each for each in order if isinstance(each, Column)] + [
        each.element
        for each in order
        if isinstance(each, UnaryExpression) and isinstance(each.element, Column)
    ]
    keys = Keys(owner, parent.key)
    return KeyListPlan(
        relationship,
        keys,
        _ids(
            child,
            keys,
            _Source(
                table,
                tuple(referring_columns(name, holders, parent)),
                tuple(referring_columns(name, members, child)),
                order,
                many=many,
            ),
        ),
        _fit(names),
        frozenset([*holders, *members, *others, *ordering]),
    )


@dataclass(frozen=True, slots=True)
class _Source:
    """The table that has the pairs, and in which columns: the parent's id, the child's, each in its
    key's order. `many`: it is an association table."""

    table: Table
    holders: tuple[StoredColumn, ...]
    members: tuple[StoredColumn, ...]
    order: tuple[ColumnElement[Any], ...]
    many: bool


def _ids(child: EntityPlan[Any], keys: Keys, source: _Source) -> EntityPlan[Any]:
    order = (*source.order, *(each.compared for each in source.members))
    lists = [_list_of(each, order) for each in source.members]
    layout = RowLayout((*source.holders, *lists), {}, tuple(range(len(source.holders))), None)
    rows: Select[Any] = select(*layout.expressions).select_from(source.table)
    condition = None if source.many else own_rows(child.mapper)
    if condition is not None:
        rows = rows.where(condition)
    listed = rows.group_by(*(each.compared for each in source.holders))
    values = [_value_of(*each) for each in zip(source.members, child.key, strict=True)]
    return child.beside(keys, layout, listed, _members_of(len(source.holders), values))


def _list_of(member: StoredColumn, order: Sequence[ColumnElement[Any]]) -> StoredColumn:
    type_: ARRAY[Any] = ARRAY(member.type)
    ordered = aggregate_order_by(member.compared, *order)
    column = func.pg_catalog.array_agg(ordered, type_=type_)
    return StoredColumn(
        replace(member.kind, depth=1), column, column, type_, type_, classes=member.classes
    )


def _value_of(member: StoredColumn, part: KeyPart) -> Callable[[Any], Any] | None:
    """Makes a part of the child's id of what is stored of it; None: it is that."""
    if member.make is None:
        return None
    layout = RowLayout((member,), {}, (0,), None)
    take = values_of(layout, (0,), (part,))
    return lambda stored: take((stored,))


def _members_of(
    count: int, values: Sequence[Callable[[Any], Any] | None]
) -> Callable[[Row], list[Any]]:
    """The children's ids in a row: of several columns as tuples."""
    if len(values) == 1:
        [value] = values
        return lambda row: list(row[count] if value is None else map(value, row[count]))

    def members(row: Row) -> list[Any]:
        parts = [
            each if value is None else map(value, each)
            for value, each in zip(values, row[count:], strict=True)
        ]
        return list(zip(*parts, strict=True))

    return members


def _fit(names: Sequence[str]) -> Callable[[object, Any], bool]:
    def fits(entity: object, id: Any) -> bool:
        values = vars(entity)
        found = tuple([values.get(name) for name in names])
        return not names or found == (id if len(names) > 1 else (id,))

    return fits


def _is_plain(join: ColumnElement[bool] | None, plan: EntityPlan[Any]) -> bool:
    """Whether it compares the primary key with columns, and says nothing else."""
    pairs = equal_columns(join)
    key = set(plan.id_columns)
    return (
        pairs is not None
        and len(pairs) == len(key)
        and all(not key.isdisjoint(pair) for pair in pairs)
    )


def _referring(
    pairs: Sequence[tuple[ColumnElement[Any], ColumnElement[Any]]], plan: EntityPlan[Any]
) -> tuple[Column[Any], ...]:
    """The columns that refer to the plan's id, in its order. `pairs`: what is referred to, and by
    what."""
    by_key = {old: new for old, new in pairs if isinstance(new, Column)}
    return tuple(by_key[column] for column in plan.id_columns if column in by_key)


def _attributes(
    child: EntityPlan[Any], holders: Sequence[Column[Any]], name: str
) -> tuple[str, ...]:
    attributes = child.layout.classes[child.mapper].attributes
    found = []
    for column in holders:
        property_ = child.mapper.get_property_by_column(column)
        if property_.key not in attributes:
            raise MappingRefused(
                f"{name}: {child.model.__name__}.{property_.key} is not loaded, which tells whose "
                "each is: load it, or leave the key list out"
            )
        found.append(property_.key)
    return tuple(found)


def _order(
    relationship: RelationshipProperty[Any], name: str, table: object
) -> tuple[ColumnElement[Any], ...]:
    given = relationship.order_by or ()
    for each in given:
        column = each.element if isinstance(each, UnaryExpression) else each
        if not isinstance(column, Column) or column.table is not table:
            raise MappingRefused(
                f"{name}: {relationship} is ordered by what is no column of {table}, so that a "
                "change of it tells no key: leave the key list out, or order it in the application"
            )
    return tuple(given)
