"""The rows of a cached select: as they are kept, and as callers get them."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Any, NamedTuple

from sqlalchemy import CursorResult
from sqlalchemy import Enum as EnumType
from sqlalchemy import Row as SqlRow
from sqlalchemy.engine.result import IteratorResult, SimpleResultMetaData
from sqlalchemy.sql.selectable import SelectBase

_SHARED = (list, dict)
"""Of values that a caller might change under the others."""


class Answered(NamedTuple):
    """The names of the columns, and plain tuples of what they hold: of an enumeration the names."""

    names: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    def served(self, statement: SelectBase) -> Sequence[SqlRow[Any]]:
        """As SQLAlchemy gives them. `statement`: whose answer it is."""
        enums = _enums(statement)
        rows = self.rows if not enums else tuple(_with_members(self.rows, enums))
        if any(type(value) in _SHARED for row in rows for value in row):
            rows = copy.deepcopy(rows)
        result: IteratorResult[Any] = IteratorResult(SimpleResultMetaData(self.names), iter(rows))
        return result.all()


def answered(result: CursorResult[Any]) -> Answered:
    """What is kept of a result."""
    return Answered(tuple(result.keys()), tuple(tuple(map(_kept, row)) for row in result))


def _kept(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, uuid.UUID) and type(value) is not uuid.UUID:
        return uuid.UUID(int=value.int)  # the driver's is of a class of its own
    return value


def _enums(statement: SelectBase) -> dict[int, type[Enum]]:
    """Where columns stand whose values are members."""
    types = [column.type for column in statement.selected_columns]
    return {
        at: each.enum_class
        for at, each in enumerate(types)
        if isinstance(each, EnumType) and each.enum_class is not None
    }


def _with_members(
    rows: Sequence[tuple[Any, ...]], enums: dict[int, type[Enum]]
) -> Iterator[tuple[Any, ...]]:
    for row in rows:
        values = list(row)
        for at, members in enums.items():
            if values[at] is not None:
                values[at] = members[values[at]]
        yield tuple(values)
