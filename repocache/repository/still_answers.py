"""Whether an entity still answers the select whose cached answer names it (protocol, Tags 7).

1. A list of the books of author 5 is cached; 2. a book moves to author 6; 3. of the two messages
that tell it, the one of the book comes first. Its own entry says that the list is older.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Table
from sqlalchemy.orm import Mapper

from repocache.errors import InvalidId
from repocache.queries.shape import Shape
from repocache.queries.shape_keys import ShapeKeys, column_types
from repocache.queries.sources import place_of
from repocache.repository.query import Query
from repocache.tags import tag_owner


def still_answers(query: Query, mapper: Mapper[Any]) -> Callable[[Any], bool]:
    """Of entities of this class. Where a shape of its table has no conditions, or the class lies in
    several tables, every one does."""
    tables = mapper.tables
    if len(tables) != 1 or not isinstance(tables[0], Table):
        return _always
    table = tables[0]
    place, owner = place_of(table), tag_owner(*place_of(table)).prefix
    shapes = {shape for shape in query.tags.values() if shape is not None and shape.place == place}
    values = [_values(owner, shape, table, mapper) for shape in shapes]
    if not values or None in values:
        return _always
    known = [each for each in values if each is not None]
    return lambda entity: any(_has(query, keys, names, entity) for keys, names in known)


def _values(
    owner: str, shape: Shape, table: Table, mapper: Mapper[Any]
) -> tuple[ShapeKeys, list[str]] | None:
    """The keys of the shape's tags, and the attributes that have its values."""
    columns = [table.columns.get(name) for name in shape.conditions]
    found = [each for each in columns if each is not None]
    types = column_types(found)
    if not found or len(found) < len(columns) or types is None:
        return None
    return ShapeKeys(owner, shape, types), [mapper.get_property_by_column(c).key for c in found]


def _has(query: Query, keys: ShapeKeys, names: list[str], entity: Any) -> bool:
    state = vars(entity)
    if not state.keys() >= set(names):
        return True  # it is not loaded, so that it cannot be told
    values = tuple(state[name] for name in names)
    if None in values:
        return False
    try:
        return keys.text(values[0] if len(values) == 1 else values) in query.tags
    except InvalidId:
        return True


def _always(_entity: Any) -> bool:
    return True
