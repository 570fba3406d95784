"""Frozen views: one small immutable object made from a row, which all callers share.

Owns the check that a view's fields are columns that fit. Keeping views is the cache's affair.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from operator import itemgetter
from typing import Any, TypeVar, get_origin

from repocache.codec.column import ColumnKind
from repocache.errors import CodecError, ConfigurationError
from repocache.mapping.entity import Row
from repocache.mapping.kinds import PLAIN
from repocache.mapping.stored import StoredColumn
from repocache.mapping.view_shape import ShapeField, ViewShape, view_shape

V = TypeVar("V")


@dataclasses.dataclass(frozen=True, slots=True)
class ViewColumn:
    """What a view may be made of: where the attribute stands in the row, its kind, whether it may
    be None."""

    at: int
    stored: StoredColumn
    nullable: bool

    @property
    def kind(self) -> ColumnKind:
        return self.stored.kind


def view_maker(view: type[V], columns: Mapping[str, ViewColumn], width: int) -> Callable[[Row], V]:
    """Makes such views of rows of that width. `view`: a frozen `msgspec.Struct`, dataclass or
    Pydantic model, its fields named as mapped attributes.

    Raises ConfigurationError, naming the field, for a view that is not frozen, a field that is no
    loaded column, can change, may be None without saying so, or is clearly of another type.
    """
    shape: ViewShape[V] = view_shape(view)
    for field in shape.fields:
        _check(shape, field, columns)
    pick = picker(tuple(columns[field.name].at for field in shape.fields), width)
    makers = [_maker(shape.name, field, columns[field.name]) for field in shape.fields]
    if any(makers):
        pick = _making(pick, makers)
    make = shape.make
    return lambda row: make(pick(row))


def _maker(view: str, field: ShapeField, column: ViewColumn) -> Callable[[Any], Any] | None:
    """Makes the field's value of what is stored; None: it is that value. Raises CodecError if the
    column's type makes anything else than the field is said to be, which all callers share."""
    value = column.stored.value
    if value is None:
        return None
    allowed = tuple(type(None) if each is None else each for each in field.options)

    def make(stored: Any) -> Any:
        made = value(stored)
        if type(made) not in allowed:
            raise CodecError(
                f"view {view}.{field.name}: the column's type has made {type(made).__name__}, "
                f"not {field.annotation}"
            )
        return made

    return make


def _making(
    pick: Callable[[Row], Row], makers: Sequence[Callable[[Any], Any] | None]
) -> Callable[[Row], Row]:
    def made(row: Row) -> Row:
        return tuple(
            [
                each if make is None else make(each)
                for make, each in zip(makers, pick(row), strict=True)
            ]
        )

    return made


def picker(indices: tuple[int, ...], width: int) -> Callable[[Row], Row]:
    """Takes these values out of rows of that width, always as a tuple."""
    if indices == tuple(range(width)):
        return tuple
    if len(indices) == 1:
        (at,) = indices
        return lambda row: (row[at],)
    return itemgetter(*indices)


def _check(shape: ViewShape[Any], field: ShapeField, columns: Mapping[str, ViewColumn]) -> None:
    name, column = f"view {shape.name}.{field.name}", columns.get(field.name)
    if column is None:
        raise ConfigurationError(
            f"{name}: no column is loaded by this name, but {', '.join(sorted(columns))}"
        )
    if column.stored.make is not None:
        _check_made(name, field)
    elif not column.kind.immutable:
        raise ConfigurationError(
            f"{name}: its value can be changed in place, and a view is shared by all callers. "
            "Leave the field out, or read the entity"
        )
    options = field.options
    if column.nullable and not any(option in (None, type(None), Any, object) for option in options):
        raise ConfigurationError(f"{name}: the column may be NULL: annotate it with `| None`")
    if shape.validates:
        options = [each for each in options if _is_plain(each)] or [Any]
    if column.stored.make is None and not any(_fits(column.kind, option) for option in options):
        wanted = (
            column.kind.sequence.__name__
            if column.kind.depth != 0
            else column.kind.python_type.__name__
        )
        raise ConfigurationError(f"{name}: the column gives {wanted}, not {field.annotation}")


def _check_made(name: str, field: ShapeField) -> None:
    """Only of a plain type is it known that a value cannot be changed in place."""
    for option in field.options:
        if option in (None, type(None)):
            continue
        if option not in PLAIN and not (inspect.isclass(option) and issubclass(option, Enum)):
            raise ConfigurationError(
                f"{name}: the column's type makes values of its own, and all callers share a view. "
                "Annotate the field with a plain type, as str, Decimal or an Enum, or say in "
                "Settings(codecs={...}) or MappingOptions(codecs={...}) that its values are "
                "immutable"
            )


def _is_plain(option: Any) -> bool:
    """Not a type of which a model makes, and checks, values of its own, as Pydantic's."""
    found = get_origin(option) or option
    module = getattr(found, "__module__", "").partition(".")[0]
    return inspect.isclass(found) and module in sys.stdlib_module_names


def _fits(kind: ColumnKind, annotation: Any) -> bool:
    """Whether a value may have this annotation; what is not a plain class is trusted."""
    wanted = get_origin(annotation) or annotation
    given = kind.sequence if kind.depth != 0 else kind.python_type
    if wanted is Any or not inspect.isclass(wanted) or given is object:
        return True
    return issubclass(given, wanted) or (given is int and wanted is float)
