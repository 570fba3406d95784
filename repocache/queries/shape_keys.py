"""The keys of a shape's tags, by the values of its conditions: `tag--post:0a1b2c3d4e5f:7`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Column

from repocache.errors import CodecError, InvalidId
from repocache.keys import KeyOwner, Keys, is_key_type
from repocache.queries.shape import Shape, Tag
from repocache.queries.value_text import value_text
from repocache.tags import shape_id, tag_owner

_HASHED = "%h"
"""What a value's text begins with that is a hash: no other part of a key does."""


def tag_key(tag: Tag) -> str:
    """The key of a tag."""
    place = tag.shape.place
    return _text(f"{tag_owner(*place).prefix}:{shape_id(tag.shape.text)}", tag.values)


class ShapeKeys(Keys):
    """Of the tags of one shape, as what is written tells them. `owner`: of the table's tags, its
    prefix. `types`: what the columns of its conditions give.

    Raises InvalidId for a value that no condition has.
    """

    __slots__ = ()

    def __init__(self, owner: str, shape: Shape, types: Sequence[type]) -> None:
        super().__init__(KeyOwner(owner), types or (str,))
        self.prefix = f"{owner}:{shape_id(shape.text)}"

    def text(self, id: Any) -> str:
        values = (id,) if self.single else id
        try:
            return _text(self.prefix, list(map(value_text, values)))
        except CodecError as error:
            raise InvalidId(f"{self.prefix}: {error}") from error

    @property
    def has_forms(self) -> bool:
        """There are values that are none."""
        return True

    @property
    def bare(self) -> str:
        """Of a shape without conditions: its only tag."""
        return _text(self.prefix, ())


def column_types(columns: Sequence[Column[Any]]) -> list[type] | None:
    """Of the values of these; None: one of them is no key's."""
    found: list[type] = []
    for column in columns:
        try:
            kind = column.type.python_type
        except NotImplementedError:
            return None
        if not is_key_type(kind):
            return None
        found.append(kind)
    return found


def _text(prefix: str, values: Sequence[str]) -> str:
    return ":".join((prefix, *(each.replace("#", _HASHED) for each in values or ("",))))
