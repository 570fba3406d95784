"""What a clause says of the rows of single tables.

Owns the recognition of `column = value`, `column IN (values)` and what is like them, joined by AND
and OR. Anything else is taken for satisfied by any row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Boolean, types
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import (
    AsBoolean,
    BinaryExpression,
    BindParameter,
    BooleanClauseList,
    CollectionAggregate,
    ColumnClause,
    False_,
    Grouping,
    True_,
    Tuple,
)
from sqlalchemy.sql.lambdas import LambdaElement

from repocache.errors import CodecError
from repocache.queries.alternatives import ANY_ROW, Alternatives, both, either, equal
from repocache.queries.condition_column import ConditionColumn

ValueOf = Callable[[BindParameter[Any]], Any]
"""What a parameter stands for at this call."""

Find = Callable[[ColumnClause[Any]], tuple[int, ConditionColumn] | None]
"""The number of the table in the statement that a column of FROM is of, and the column as a
condition; None: it is none."""

MOST_VALUES = 1_000
"""Of one comparison: a longer list is not looked at."""


@dataclass(frozen=True, slots=True)
class Equal:
    """`columns` of one table, by its number, have one of the values that `source` stands for: of
    several columns tuples. `many`: `source` stands for a list of them; else for one."""

    table: int
    columns: tuple[ConditionColumn, ...]
    source: BindParameter[Any] | bool
    many: bool = False

    def of(self, table: int, value_of: ValueOf) -> Alternatives:
        if table != self.table:
            return ANY_ROW
        given = self.source if isinstance(self.source, bool) else value_of(self.source)
        values = given if self.many else [given]
        if not isinstance(values, Sequence | set | frozenset) or len(values) > MOST_VALUES:
            return ANY_ROW
        rows = list(values) if len(self.columns) > 1 else [(value,) for value in values]
        try:
            texts = [
                tuple(column.text(part) for column, part in zip(self.columns, row, strict=True))
                for row in rows
                if None not in row  # NULL equals nothing
            ]
        except (CodecError, TypeError, ValueError):
            return ANY_ROW
        return equal([column.column.name for column in self.columns], texts)

    @property
    def binds(self) -> Iterator[BindParameter[Any]]:
        if isinstance(self.source, BindParameter):
            yield self.source


@dataclass(frozen=True, slots=True)
class Every:
    """All of these. Of nothing: any row."""

    parts: tuple[Condition, ...]

    def of(self, table: int, value_of: ValueOf) -> Alternatives:
        found = ANY_ROW
        for part in self.parts:
            found = both(found, part.of(table, value_of))
        return found

    @property
    def binds(self) -> Iterator[BindParameter[Any]]:
        for part in self.parts:
            yield from part.binds


@dataclass(frozen=True, slots=True)
class Some:
    """One of these. Of nothing: no row."""

    parts: tuple[Condition, ...]

    def of(self, table: int, value_of: ValueOf) -> Alternatives:
        return either(part.of(table, value_of) for part in self.parts)

    @property
    def binds(self) -> Iterator[BindParameter[Any]]:
        for part in self.parts:
            yield from part.binds


Condition = Equal | Every | Some
NOTHING_SAID = Every(())


def condition_of(clause: object, find: Find) -> Condition:
    """`clause`: of WHERE or ON, as it is compiled."""
    if isinstance(clause, BooleanClauseList) and clause.operator in (operators.and_, operators.or_):
        parts = tuple(condition_of(part, find) for part in clause.clauses)
        return Every(parts) if clause.operator is operators.and_ else Some(parts)
    if isinstance(clause, Grouping):
        return condition_of(clause.element, find)
    if isinstance(clause, LambdaElement):
        return condition_of(clause._resolved, find)  # noqa: SLF001 - no public way to ask
    if isinstance(clause, AsBoolean) and clause.operator in (operators.is_true, operators.is_false):
        return _truth(clause.element, clause.operator is operators.is_true, find)
    if isinstance(clause, ColumnClause):
        return _truth(clause, True, find)
    if isinstance(clause, BinaryExpression):
        return _comparison(clause, find)
    return NOTHING_SAID


def _comparison(clause: BinaryExpression[Any], find: Find) -> Condition:
    left, right = clause.left, clause.right
    if clause.operator is operators.in_op:
        return _equal(left, right, find, many=True)
    if clause.operator not in (operators.eq, operators.is_):
        return NOTHING_SAID
    if isinstance(right, True_ | False_):
        return _truth(left, isinstance(right, True_), find)
    if clause.operator is operators.is_:
        return NOTHING_SAID
    if isinstance(right, CollectionAggregate) and right.operator is operators.any_op:
        return _equal_any(left, right.element, find)
    if isinstance(left, BindParameter):
        left, right = right, left
    return _equal(left, right, find, many=False)


def _truth(element: object, value: bool, find: Find) -> Condition:
    found = find(element) if isinstance(element, ColumnClause) else None
    if found is None or not isinstance(found[1].column.type, Boolean):
        return NOTHING_SAID
    return Equal(found[0], (found[1],), value)


def _equal(left: object, right: object, find: Find, *, many: bool) -> Condition:
    if not isinstance(right, BindParameter) or right.expanding != many:
        return NOTHING_SAID
    columns = list(left.clauses) if isinstance(left, Tuple) else [left]
    found = [find(each) for each in columns if isinstance(each, ColumnClause)]
    kinds = right.type.types if isinstance(right.type, types.TupleType) else [right.type]
    known = [each for each in found if each is not None]
    if len(known) != len(columns) or len({at for at, _ in known}) != 1:
        return NOTHING_SAID
    names = {column.column.name for _, column in known}
    if len(kinds) != len(known) or len(names) != len(known):
        return NOTHING_SAID
    if not all(column.takes(kind) for (_, column), kind in zip(known, kinds, strict=True)):
        return NOTHING_SAID
    return Equal(known[0][0], tuple(column for _, column in known), right, many)


def _equal_any(left: object, array: object, find: Find) -> Condition:
    while isinstance(array, Grouping):
        array = array.element
    found = find(left) if isinstance(left, ColumnClause) else None
    if found is None or not isinstance(array, BindParameter):
        return NOTHING_SAID
    kind = array.type
    item = kind.item_type if isinstance(kind, types.ARRAY) else kind
    if not found[1].takes(item):
        return NOTHING_SAID
    return Equal(found[0], (found[1],), array, many=True)
