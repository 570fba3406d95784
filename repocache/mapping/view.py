"""Frozen views: one small immutable object made from a row, which all callers share.

Owns the check that a view's fields are columns that fit. Keeping views is the cache's affair.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from operator import itemgetter
from typing import Annotated, Any, NewType, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from repocache.codec.column import ColumnKind
from repocache.errors import CodecError, ConfigurationError
from repocache.mapping.entity import Row
from repocache.mapping.kinds import PLAIN
from repocache.mapping.stored import StoredColumn

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


@dataclasses.dataclass(frozen=True, slots=True)
class _Field:
    name: str
    annotation: Any
    keyword: bool


def view_maker(view: type[V], columns: Mapping[str, ViewColumn], width: int) -> Callable[[Row], V]:
    """Makes such views of rows of that width. `view`: a frozen `msgspec.Struct` or a frozen
    dataclass, its fields named as mapped attributes.

    Raises ConfigurationError, naming the field, for a view that is not frozen, a field that is no
    loaded column, can change, may be None without saying so, or is clearly of another type.
    """
    fields = list(_fields(view))
    if not fields:
        raise ConfigurationError(f"view {view.__name__}: it has no fields")
    for field in fields:
        _check(f"view {view.__name__}.{field.name}", field, columns)
    pick = picker(tuple(columns[field.name].at for field in fields), width)
    makers = [_maker(view.__name__, field, columns[field.name]) for field in fields]
    if any(makers):
        pick = _making(pick, makers)
    make: Callable[..., V] = view
    if any(field.keyword for field in fields):
        names = [field.name for field in fields]
        return lambda row: make(**dict(zip(names, pick(row), strict=True)))
    return lambda row: make(*pick(row))


def _maker(view: str, field: _Field, column: ViewColumn) -> Callable[[Any], Any] | None:
    """Makes the field's value of what is stored; None: it is that value. Raises CodecError if the
    column's type makes anything else than the field is said to be, which all callers share."""
    value = column.stored.value
    if value is None:
        return None
    allowed = tuple(type(None) if each is None else each for each in _options(field.annotation))

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


def _fields(view: type[Any]) -> Iterator[_Field]:
    hints = get_type_hints(view, include_extras=True) if inspect.isclass(view) else {}
    if inspect.isclass(view) and issubclass(view, msgspec.Struct):
        frozen = view.__struct_config__.frozen
        keywords = _keyword_fields(view)
        found = [_Field(name, hints[name], name in keywords) for name in view.__struct_fields__]
    elif dataclasses.is_dataclass(view) and inspect.isclass(view):
        frozen = vars(view)["__dataclass_params__"].frozen
        found = [
            _Field(each.name, hints[each.name], each.kw_only is True)
            for each in dataclasses.fields(view)
            if each.init
        ]
    else:
        raise ConfigurationError(
            f"view {view!r}: give a frozen msgspec.Struct or a frozen dataclass"
        )
    if not frozen:
        raise ConfigurationError(
            f"view {view.__name__} is shared by all callers: declare it with frozen=True"
        )
    yield from found


def _keyword_fields(view: type[msgspec.Struct]) -> frozenset[str]:
    """Positional fields come first in a Struct's signature."""
    parameters = inspect.signature(view).parameters.values()
    return frozenset(
        each.name for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY
    )


def _check(name: str, field: _Field, columns: Mapping[str, ViewColumn]) -> None:
    column = columns.get(field.name)
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
    options = list(_options(field.annotation))
    if column.nullable and not any(option in (None, type(None), Any, object) for option in options):
        raise ConfigurationError(f"{name}: the column may be NULL: annotate it with `| None`")
    if column.stored.make is None and not any(_fits(column.kind, option) for option in options):
        wanted = (
            column.kind.sequence.__name__
            if column.kind.depth != 0
            else column.kind.python_type.__name__
        )
        raise ConfigurationError(f"{name}: the column gives {wanted}, not {field.annotation}")


def _check_made(name: str, field: _Field) -> None:
    """Only of a plain type is it known that a value cannot be changed in place."""
    for option in _options(field.annotation):
        if option in (None, type(None)):
            continue
        if option not in PLAIN and not (inspect.isclass(option) and issubclass(option, Enum)):
            raise ConfigurationError(
                f"{name}: the column's type makes values of its own, and all callers share a view. "
                "Annotate the field with a plain type, as str, Decimal or an Enum, or say in "
                "Settings(codecs={...}) or MappingOptions(codecs={...}) that its values are "
                "immutable"
            )


def _options(annotation: Any) -> Iterator[Any]:
    """The members of a union, without what wraps them."""
    if get_origin(annotation) in (Union, types.UnionType):
        for each in get_args(annotation):
            yield from _options(each)
    elif get_origin(annotation) is Annotated:
        yield from _options(get_args(annotation)[0])
    elif isinstance(annotation, NewType):
        yield from _options(annotation.__supertype__)
    else:
        yield annotation


def _fits(kind: ColumnKind, annotation: Any) -> bool:
    """Whether a value may have this annotation; what is not a plain class is trusted."""
    wanted = get_origin(annotation) or annotation
    given = kind.sequence if kind.depth != 0 else kind.python_type
    if wanted is Any or not inspect.isclass(wanted) or given is object:
        return True
    return issubclass(given, wanted) or (given is int and wanted is float)
