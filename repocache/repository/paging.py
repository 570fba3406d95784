"""Keyset paging: a total order, and the condition that a row comes after a known one. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, UnaryExpression, and_, literal, or_, tuple_
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

    Raises UsageError for anything but a sequence of mapped columns, ascending or descending.
    """
    given: object = order_by
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise UsageError(
            f"find(order_by={_shown(given)}): give a list of columns: {_example(mapper)}"
        )
    steps = [_step(mapper, each) for each in order_by]
    named = {step.attribute for step in steps}
    for column in mapper.primary_key:
        attribute = mapper.get_property_by_column(column).key
        if attribute not in named:
            steps.append(Step(attribute, column, descending=False))
    return steps


def _step(mapper: Mapper[Any], order: Order) -> Step:
    element: Any = order
    descending = False
    if isinstance(order, UnaryExpression) and order.modifier in (
        operators.asc_op,
        operators.desc_op,
    ):
        element = order.element
        descending = order.modifier is operators.desc_op
    # A mapped column's expression is annotated with where it came from.
    annotations = getattr(getattr(element, "expression", None), "_annotations", {})
    parent, key = annotations.get("parententity"), annotations.get("proxy_key", "")
    if key not in mapper.column_attrs or not isinstance(parent, Mapper) or not mapper.isa(parent):
        raise UsageError(
            f"find(order_by=[{_shown(order)}]): give mapped columns of {mapper.class_.__name__}, "
            f"with .asc() or .desc() at most: {_example(mapper)}"
        )
    return Step(key, mapper.column_attrs[key].columns[0], descending)


def _shown(given: object) -> str:
    """As it was written."""
    return repr(given) if isinstance(given, str) else str(given)


def _example(mapper: Mapper[Any]) -> str:
    first = mapper.get_property_by_column(mapper.primary_key[0]).key
    return f"order_by=[{mapper.class_.__name__}.{first}]"


def clauses(steps: Sequence[Step]) -> list[ColumnElement[Any]]:
    """For ORDER BY."""
    return [step.column.desc() if step.descending else step.column.asc() for step in steps]


def after(mapper: Mapper[Any], steps: Sequence[Step], last: object) -> ColumnElement[bool]:
    """WHERE for the rows behind `last`, so written that an index over the columns finds the first
    of them.

    Raises UsageError for what is no entity of the mapper, and for a nullable column, whose NULLs no
    comparison finds.
    """
    if not isinstance(last, mapper.class_):
        raise UsageError(
            f"find(after={type(last).__name__}): give the last {mapper.class_.__name__} of the "
            "page before"
        )
    for step in steps:
        if getattr(step.column, "nullable", False):
            raise UsageError(
                f"find(after=...): {step.attribute} may be NULL, which no comparison finds again; "
                "order by columns that may not"
            )
    values = [literal(getattr(last, step.attribute), step.column.type) for step in steps]
    if len({step.descending for step in steps}) == 1:
        return _beyond(steps[0], tuple_(*(step.column for step in steps)), tuple_(*values))
    return _behind(steps, values)


def _behind(steps: Sequence[Step], values: Sequence[ColumnElement[Any]]) -> ColumnElement[bool]:
    """(a >= x) and (a > x or the rest is behind), for orders whose directions differ."""
    step, value = steps[0], values[0]
    if len(steps) == 1:
        return _beyond(step, step.column, value)
    not_before = step.column <= value if step.descending else step.column >= value
    return and_(not_before, or_(_beyond(step, step.column, value), _behind(steps[1:], values[1:])))


def _beyond(
    step: Step, column: ColumnElement[Any], value: ColumnElement[Any]
) -> ColumnElement[bool]:
    return column < value if step.descending else column > value
