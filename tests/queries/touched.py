"""Which tags a written row moves.

Owns rule 8 of cached queries: those of old and new values, of shapes one of whose columns has
changed. Pure; a write calls it for each row.
"""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Collection, Iterable, Mapping
from decimal import Decimal
from typing import Any

from repocache.errors import CodecError
from repocache.queries.shape import AllColumns, Shape
from repocache.queries.value_text import value_text

Image = Mapping[str, Any]
"""Values of a row by the names of its columns, as SQLAlchemy gives them for what the database has
stored: not as the application gave them, where a type or the database makes another value."""

_BY_VALUE = frozenset(
    {int, str, bytes, bool, uuid.UUID, datetime.date, datetime.datetime, type(None)}
)
_BY_TEXT = frozenset({float, Decimal, datetime.time, datetime.timedelta})


def touched(
    shapes: Iterable[Shape],
    before: Image | None,
    after: Image | None,
    set_columns: frozenset[str] | None = None,
) -> set[str]:
    """The texts of the tags of these shapes, all of one table, that this write of a row moves.

    `before`: None for an insert. `after`: None for a delete. For an update neither is; where only
    its columns' new values are known and no condition column was set, both may be the same object.
    `set_columns`: those that an update may have changed, also by `onupdate`, generated columns and
    triggers; None: any may have.

    A column that an image lacks and a shape needs, and both images None, cost the table's token,
    `TablePlace.text`.
    """
    found: set[str] = set()
    images = [image for image in (before, after) if image is not None]
    changed = None if before is None or after is None else _changed(before, after, set_columns)
    for shape in shapes:
        if changed is not None and not changed.concerns(shape.columns):
            continue
        if not images:
            found.add(shape.place.text)
        for image in images:
            _add_tag(shape, image, found)
    return found


def _add_tag(shape: Shape, image: Image, found: set[str]) -> None:
    values = []
    for name in shape.conditions:
        if name not in image:
            found.add(shape.place.text)
            return
        value = image[name]
        if value is None:
            return  # NULL equals nothing
        try:
            values.append(value_text(value))
        except CodecError:
            return  # no condition has such a value
    found.add(shape.tag_text(values))


class _Changed:
    """The columns that an update may have changed."""

    def __init__(self, differing: frozenset[str], open_: Collection[str]) -> None:
        self._differing = differing
        self._open = open_

    def concerns(self, columns: Collection[str]) -> bool:
        if isinstance(columns, AllColumns):
            return bool(self._differing) or len(self._open) > 0
        return any(name in self._differing or name in self._open for name in columns)


def _changed(before: Image, after: Image, set_columns: frozenset[str] | None) -> _Changed:
    if before is after:
        return _Changed(frozenset(), AllColumns() if set_columns is None else set_columns)
    both = before.keys() & after.keys()
    differing = frozenset(name for name in both if not _is_same(before[name], after[name]))
    if set_columns is None:
        return _Changed(differing, _AllBut(both))
    return _Changed(differing, set_columns - both)


class _AllBut(AllColumns):
    def __init__(self, names: Collection[str]) -> None:
        self._names = names

    def __contains__(self, name: object) -> bool:
        return name not in self._names


def _is_same(old: object, new: object) -> bool:
    """Whether nobody can tell one from the other: `==` takes 1 for True, and 1.0 for 1.00."""
    kind = type(old)
    if type(new) is not kind:
        return False
    if kind in _BY_VALUE:
        return old == new
    if kind in _BY_TEXT:
        return repr(old) == repr(new)
    if isinstance(old, dict) and isinstance(new, dict):
        return old.keys() == new.keys() and all(_is_same(old[key], new[key]) for key in old)
    if isinstance(old, list | tuple) and isinstance(new, list | tuple):
        return len(old) == len(new) and all(map(_is_same, old, new))
    return old is new
