"""Keyset paging: a total order, and the condition that a row comes after a known one. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, UnaryExpression, and_, false, or_
from sqlalchemy.orm import InstrumentedAttribute, Mapper
from sqlalchemy.sql import operators

from repocache.errors import UsageError

Order = InstrumentedAttribute[Any] | UnaryExpression[Any]
"""`User.name`, `User.name.asc()` or `User.name.desc()`."""


class Step(NamedTuple):
    """One column of an order. `attribute`: by which an entity has the value."""

    attribute: str
    column: ColumnElement[Any]
    descending: bool


def total_order(mapper: Mapper[Any], order_by: Sequence[Order]) -> list[Step]:
    """`order_by`, and then the primary key, so that no two rows are equal.

    Raises UsageError for anything but mapped columns, ascending or descending.
    """
    steps = [_step(mapper, each) for each in order_by]
    named = {step.attribute for step in steps}
    for column in mapper.primary_key:
        attribute = mapper.get_property_by_column(column).key
        if attribute not in named:
            steps.append(Step(attribute, column, descending=False))
    return steps


def _step(mapper: Mapper[Any], order: Order) -> Step:
    descending = False
    element: Any = order
    if isinstance(order, UnaryExpression):
        if order.modifier not in (operators.asc_op, operators.desc_op):
            raise UsageError(f"find(order_by=[{order}]): give mapped columns, with .asc() or .desc() at most")
        descending = order.modifier is operators.desc_op
        element = order.element
    key = element.key if isinstance(element, InstrumentedAttribute) else element._annotations.get("proxy_key")  # noqa: SLF001
    if key is None or key not in mapper.column_attrs:
        raise UsageError(f"find(order_by=[{order}]): give mapped columns, with .asc() or .desc() at most")
    return Step(key, mapper.column_attrs[key].columns[0], descending)


def clauses(steps: Sequence[Step]) -> list[ColumnElement[Any]]:
    """For ORDER BY."""
    return [step.column.desc() if step.descending else step.column.asc() for step in steps]


def after(steps: Sequence[Step], last: object) -> ColumnElement[bool]:
    """WHERE for the rows behind `last`: (a > x) or (a = x and b > y) or ...

    Raises UsageError for a nullable column, whose NULLs no comparison finds again.
    """
    alternatives: list[ColumnElement[bool]] = []
    equal: list[ColumnElement[bool]] = []
    for step in steps:
        value = getattr(last, step.attribute)
        if getattr(step.column, "nullable", False):
            raise UsageError(
                f"find(after=...): {step.attribute} may be NULL, which no comparison finds again; "
                "order by columns that may not"
            )
        beyond = step.column < value if step.descending else step.column > value
        alternatives.append(and_(*equal, beyond))
        equal.append(step.column == value)
    return or_(false(), *alternatives)
