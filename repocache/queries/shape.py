"""What a cached statement asks of one table, and with which values.

Owns the texts of shapes and tags, and the way back from a shape's. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple
from urllib.parse import unquote

from repocache.errors import CodecError
from repocache.queries.value_text import digest, quoted

LONGEST_TAG = 250
"""Characters of a tag's text; of a longer one the table's name and a hash are left, at most some
420 characters where both names are the longest that PostgreSQL has and need quoting."""

_NAME = r"[A-Za-z0-9_~%-]+"
_NAMES = rf"(?:{_NAME}(?:,{_NAME})*)?"
_SHAPE = re.compile(rf"({_NAME})\.({_NAME})\(({_NAMES})\)\[(\*|{_NAMES})\]")


def _name(name: str) -> str:
    return quoted(name).replace(".", "%2E")


class TablePlace(NamedTuple):
    """Where a table is. `schema`: that of a table which names none is `public`."""

    schema: str
    table: str

    @property
    def text(self) -> str:
        """As `public.posts`. It is also the text of the table's token."""
        return f"{_name(self.schema)}.{_name(self.table)}"


class AllColumns(Collection[str]):
    """Every column of a table, also one that nobody knows."""

    def __contains__(self, name: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(("*",))

    def __len__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AllColumns)

    def __hash__(self) -> int:
        return hash(AllColumns)

    def __repr__(self) -> str:
        return "ALL"


ALL = AllColumns()


@dataclass(frozen=True)
class Shape:
    """What a statement asks of one table.

    `conditions`: the columns that are compared with a value by `=` or `IN`, of which each row that
    counts has one. `matters`: all others that the answer depends on. Names are those of the
    database.
    """

    place: TablePlace
    conditions: tuple[str, ...] = ()
    matters: frozenset[str] | AllColumns = frozenset()

    def __post_init__(self) -> None:
        object.__setattr__(self, "conditions", tuple(sorted(set(self.conditions))))
        if not isinstance(self.matters, AllColumns):
            object.__setattr__(self, "matters", frozenset(self.matters).difference(self.conditions))

    @cached_property
    def columns(self) -> frozenset[str] | AllColumns:
        """A change of one of these concerns the statement."""
        if isinstance(self.matters, AllColumns):
            return ALL
        return self.matters.union(self.conditions)

    @cached_property
    def text(self) -> str:
        """As `public.posts(author_id)[created_at]`. `Shape.read` is the way back."""
        conditions = ",".join(map(_name, self.conditions))
        matters = (
            "*"
            if isinstance(self.matters, AllColumns)
            else ",".join(map(_name, sorted(self.matters)))
        )
        return f"{self.place.text}({conditions})[{matters}]"

    @classmethod
    def read(cls, text: str) -> Shape:
        """Of what `text` made. Raises CodecError for any other text."""
        match = _SHAPE.fullmatch(text)
        if match is None:
            raise CodecError(f"{text[:200]!r} is the text of no shape")
        schema, table, conditions, matters = match.groups()
        shape = cls(
            TablePlace(unquote(schema), unquote(table)),
            tuple(_names(conditions)),
            ALL if matters == "*" else frozenset(_names(matters)),
        )
        if shape.text != text:
            raise CodecError(
                f"{text[:200]!r} is the text of no shape, which would write itself otherwise"
            )
        return shape

    def tag_text(self, values: Collection[str]) -> str:
        """Of a tag of this shape. `values`: the texts of the values of its condition columns, in
        their order."""
        if not values:
            return self._bounded(self.text)
        pairs = zip(self._quoted_conditions, values, strict=True)
        return self._bounded(
            f"{self.text} {'&'.join([f'{name}={value}' for name, value in pairs])}"
        )

    def said(self, values: Collection[str]) -> str:
        """A tag of this shape for people, however long."""
        pairs = zip(self._quoted_conditions, values, strict=True)
        return " ".join([self.text, *(f"{name}={value}" for name, value in pairs)])

    @cached_property
    def _quoted_conditions(self) -> tuple[str, ...]:
        return tuple(map(_name, self.conditions))

    def _bounded(self, text: str) -> str:
        return text if len(text) <= LONGEST_TAG else f"{self.place.text}#{digest(text)}"


def _names(text: str) -> Iterator[str]:
    return map(unquote, text.split(",")) if text else iter(())


@dataclass(frozen=True)
class Tag:
    """A shape with the values of its condition columns, as texts, in their order."""

    shape: Shape
    values: tuple[str, ...] = ()

    @cached_property
    def text(self) -> str:
        """As `public.posts(author_id)[created_at] author_id=5`. Bounded."""
        return self.shape.tag_text(self.values)
