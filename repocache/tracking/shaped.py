"""Whom a write to a table concerns, with the tags of the shapes that are known: each is told by the
values of its conditions in the rows, old and new, like a lookup (protocol/queries.md, rules 6 and
8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from sqlalchemy import Column, Table

from repocache.queries.shape import AllColumns, Shape
from repocache.queries.shape_keys import ShapeKeys, column_types
from repocache.tags import known_shapes, shape_id
from repocache.tracking.owners import BareTag, KeyColumns, Owners, is_selective, unsaid_of
from repocache.tracking.trusted import is_trusted


class KnownShapes(Protocol):
    """Those of cached queries that this process has heard of."""

    def of(self, owner: str) -> Sequence[Shape]:
        """Of a table's owner of tags, by its prefix. Another sequence whenever there is one
        more."""
        ...


class NoShapes:
    """Nothing is cached by queries."""

    def of(self, owner: str) -> Sequence[Shape]:
        return ()


def with_shapes(owners: Owners, table: Table, shapes: Sequence[Shape]) -> Owners:
    """`owners` of a write to this table, with the tags of the shapes that its columns tell."""
    tags = owners.tags
    named = {column.name: column for column in table.columns}
    keyed, bare, known = list(owners.keyed), list(owners.bare), []
    for shape in shapes:
        moved_by = _moved_by(shape, named)
        if moved_by is None:
            continue  # of another release: it is told by the owner as a whole
        columns = tuple(named[name] for name in shape.conditions)
        types = column_types(columns)
        if types is None:
            continue
        keys = ShapeKeys(tags, shape, types)
        known.append(shape_id(shape.text))
        if columns:
            keyed.append(KeyColumns(keys, columns, all(map(is_trusted, columns)), moved_by))
        else:
            bare.append(BareTag(keys.bare, moved_by))
    watched = [column for each in keyed for column in [*each.columns, *(each.moved_by or ())]]
    watched += [column for each in bare for column in each.moved_by]
    return replace(
        owners,
        keyed=tuple(keyed),
        lookups=tuple(each for each in keyed if each.is_lookup),
        selective=any(map(is_selective, keyed)),
        written=owners.written - {tags},
        columns=tuple(dict.fromkeys(column for each in keyed for column in each.columns)),
        unsaid=owners.unsaid | unsaid_of(table).intersection(each.key for each in watched),
        known=known_shapes(tags, known),
        bare=tuple(bare),
    )


def _moved_by(shape: Shape, named: Mapping[str, Column[Any]]) -> frozenset[Column[Any]] | None:
    """The columns a change of which moves its tags. None: the table has not all of them."""
    if isinstance(shape.columns, AllColumns):
        return frozenset(named.values()) if named.keys() >= set(shape.conditions) else None
    if not shape.columns <= named.keys():
        return None
    return frozenset(named[name] for name in shape.columns)
