"""What a relationship's join says, if it is nothing but foreign keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import BinaryExpression, BooleanClauseList, Column
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import Grouping


def equal_columns(join: object) -> list[tuple[Column[Any], Column[Any]]] | None:
    """The pairs of columns that a join sets equal; None: it says anything else besides, as that a
    column is true."""
    found = []
    for part in _conjuncts(join):
        if not isinstance(part, BinaryExpression) or part.operator is not operators.eq:
            return None
        left, right = part.left, part.right
        if not isinstance(left, Column) or not isinstance(right, Column):
            return None
        found.append((left, right))
    return found


def _conjuncts(clause: object) -> Iterator[object]:
    if isinstance(clause, BooleanClauseList) and clause.operator is operators.and_:
        for part in clause.clauses:
            yield from _conjuncts(part)
    elif isinstance(clause, Grouping):
        yield from _conjuncts(clause.element)
    else:
        yield clause
