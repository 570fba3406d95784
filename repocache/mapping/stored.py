"""What is stored of a column whose type makes values of its own (a `TypeDecorator`, a database type
of the user's), and what makes the entity's value of it.

Owns the way down to the type that the driver knows, and the way back. Pure; which kind that type's
values are is `kinds`' affair.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Column, ColumnElement, PickleType, type_coerce, types
from sqlalchemy.dialects.postgresql import DOMAIN
from sqlalchemy.engine import Dialect
from sqlalchemy.types import NullType, TypeDecorator, TypeEngine, UserDefinedType

from repocache.codec.column import ColumnCodec, ColumnKind
from repocache.codec.driver_value import DRIVER_VALUE
from repocache.errors import CodecError, MappingRefused
from repocache.mapping.kinds import declared_kind, kind_of, refusal, variant_of
from repocache.redaction.foreign import in_brief

Making = Callable[[Any], Any]
Step = Callable[[Any, Dialect], Any]

_PICKLES = frozenset({"pickle", "cloudpickle", "dill", "_pickle", "cPickle"})


@dataclass(frozen=True, slots=True, eq=False)
class StoredColumn:
    """Make it with `stored_column`."""

    #: The kind of what is stored.
    kind: ColumnKind
    #: As it is mapped.
    column: ColumnElement[Any]
    #: What a select names, to be given what is stored.
    expression: ColumnElement[Any]
    #: By which what is stored is compared and sent.
    type: TypeEngine[Any]
    #: That the database knows.
    leaf: TypeEngine[Any]
    #: Makes the entity's value of what is stored, a new one at each call; None: it is that value.
    make: Making | None = None
    #: Makes what is stored of the entity's value; None: it is that value. Raises what the type
    #: raises.
    bind: Making | None = None
    #: What the column would give for a value that is written to it; None: that value. Raises what
    #: the type raises.
    normal: Making | None = None
    #: Why no value of it can be looked for; empty: it can.
    unfit: str = ""
    #: The classes of the types on the way, from the outermost.
    classes: tuple[str, ...] = ()
    #: A codec is declared for the values themselves.
    declared: bool = False
    #: What values of `leaf` are compared by: itself, and of a domain what it is over, to the last.
    beneath: tuple[TypeEngine[Any], ...] = ()

    @property
    def bottom(self) -> TypeEngine[Any]:
        """That is no domain."""
        return self.beneath[-1]

    @property
    def compared(self) -> ColumnElement[Any]:
        """For conditions on what is stored."""
        return self.column if self.type is self.column.type else type_coerce(self.column, self.type)

    @property
    def value(self) -> Making | None:
        """Makes the entity's value of what is stored; None: it is that value. Raises CodecError."""
        return None if self.make is None else _told(self.kind.name, self.classes[0], self.make)


class Selected(TypeDecorator[Any]):
    """Of a select that names a column as its own type's `column_expression` does, and gives what
    the driver gives for it."""

    impl = NullType
    cache_ok = True

    def __init__(self, kind: TypeEngine[Any]) -> None:
        super().__init__()
        self.kind = kind

    def column_expression(self, column: ColumnElement[Any]) -> ColumnElement[Any] | None:
        made = self.kind.column_expression(column)
        return None if made is None else type_coerce(made, NullType())


def stored_column(
    name: str,
    column: ColumnElement[Any],
    dialect: Dialect | None = None,
    codec: ColumnCodec[Any] | None = None,
) -> StoredColumn:
    """`name`: of the attribute, in messages. `dialect`: of the database that rows come from.
    `codec`: that is declared for the values themselves.

    Raises MappingRefused for a type of which nothing is known.
    """
    found = _stored(name, column, dialect, codec)
    return replace(found, beneath=tuple(_beneath(found.leaf, dialect)))


def _stored(
    name: str,
    column: ColumnElement[Any],
    dialect: Dialect | None,
    codec: ColumnCodec[Any] | None,
) -> StoredColumn:
    if isinstance(column.type, NullType) and codec is None and column.foreign_keys:
        raise _nowhere(name, column)
    type_ = variant_of(column.type, dialect)
    way = tuple(_way(type_, dialect))
    leaf = way[-1]
    own = isinstance(leaf, UserDefinedType)
    if codec is not None:
        return _declared(name, column, way, dialect, codec)
    if isinstance(leaf, types.ARRAY) and isinstance(leaf.item_type, TypeDecorator):
        return _array(name, column, way, dialect)
    if len(way) == 1 and not own:
        return StoredColumn(kind_of(name, column.type, dialect), column, column, column.type, leaf)
    for each in way:
        if _pickles(each):
            raise refusal(name, each, "makes its values by pickle, which runs what it reads")
    if dialect is None:
        raise refusal(name, type_, "makes values of its own, and no database is named")
    known = type_.dialect_impl(dialect)
    if own or _has_expression(known) or _overrides(way, "result_processor"):
        return _as_the_driver_has_it(name, column, way, dialect)
    makes, binds = _makes(known), _binds(known)
    kind = kind_of(name, leaf, dialect)
    return StoredColumn(
        kind,
        column,
        type_coerce(column, leaf),
        leaf,
        leaf,
        _all_of(makes, dialect) if makes else None,
        _all_of(binds, dialect) if binds else None,
        _normal(known, dialect, kind),
        _unfit(way),
        _classes(way),
    )


def _nowhere(name: str, column: ColumnElement[Any]) -> MappingRefused:
    told = ", ".join(sorted(each.target_fullname for each in column.foreign_keys))
    return MappingRefused(
        f"{name} has the type of what its foreign key refers to, {told}, and that is not in the "
        "metadata: import the module that has this table first, or give the column a type"
    )


def _declared(
    name: str,
    column: ColumnElement[Any],
    way: tuple[TypeEngine[Any], ...],
    dialect: Dialect | None,
    codec: ColumnCodec[Any],
) -> StoredColumn:
    """The values themselves are stored, as SQLAlchemy gives them."""
    kind = declared_kind(name, codec)
    stored = StoredColumn(
        kind, column, column, column.type, way[-1], classes=_classes(way), declared=True
    )
    if len(way) == 1 or dialect is None:
        return stored
    normal = _normal(way[0].dialect_impl(dialect), dialect, kind)
    return replace(stored, normal=normal, unfit=_unfit(way))


def _as_the_driver_has_it(
    name: str, column: ColumnElement[Any], way: tuple[TypeEngine[Any], ...], dialect: Dialect
) -> StoredColumn:
    known = gives = way[0].dialect_impl(dialect)
    selected: TypeEngine[Any] = NullType()
    if _has_expression(known):
        selected = Selected(known)
        made = known.column_expression(column)
        gives = known if made is None else made.type.dialect_impl(dialect)
    return StoredColumn(
        ColumnKind(name, object, codec=DRIVER_VALUE),
        column,
        type_coerce(column, selected),
        column.type,
        way[-1],
        gives.result_processor(dialect, None),
        unfit="has values that only SQL or a result processor of its type makes",
        classes=_classes((*way, way[-1])),
    )


def _array(
    name: str, column: ColumnElement[Any], way: tuple[TypeEngine[Any], ...], dialect: Dialect | None
) -> StoredColumn:
    """An array of values that are made one by one."""
    [leaf] = way if len(way) == 1 else [None]
    if not isinstance(leaf, types.ARRAY):
        raise refusal(name, way[0], "makes a value of its own of an array of such")
    item = stored_column(name, Column("item", leaf.item_type), dialect)
    if item.kind.codec is DRIVER_VALUE:
        raise refusal(name, leaf, "is an array of what only its own SQL or type makes")
    sequence = tuple if leaf.as_tuple else list
    stored = type(leaf)(item.type, as_tuple=leaf.as_tuple, dimensions=leaf.dimensions)
    make = item.make

    def each(value: Any) -> Any:
        assert make is not None
        return sequence(map(each, value)) if type(value) is sequence else make(value)

    return StoredColumn(
        replace(item.kind, depth=leaf.dimensions, sequence=sequence),
        column,
        type_coerce(column, stored),
        stored,
        stored,
        None if make is None else (lambda value: None if value is None else each(value)),
        unfit="is an array",
        classes=item.classes,
    )


def _way(type_: TypeEngine[Any], dialect: Dialect | None) -> Iterator[TypeEngine[Any]]:
    """From the type to the one that the driver knows."""
    while True:
        type_ = variant_of(type_, dialect)
        yield type_
        if not isinstance(type_, TypeDecorator) or isinstance(type_, types.Interval):
            return
        type_ = type_.impl_instance if dialect is None else type_.load_dialect_impl(dialect)


def _beneath(leaf: TypeEngine[Any], dialect: Dialect | None) -> Iterator[TypeEngine[Any]]:
    """A domain compares as what it is over does."""
    while True:
        yield leaf
        if not isinstance(leaf, DOMAIN):
            return
        *around, leaf = _way(leaf.data_type, dialect)
        yield from around


def _classes(way: tuple[TypeEngine[Any], ...]) -> tuple[str, ...]:
    return tuple(f"{type(each).__module__}.{type(each).__qualname__}" for each in way[:-1])


def _makes(known: TypeEngine[Any]) -> list[Step]:
    """From what is stored to the value."""
    found: list[Step] = [
        each.process_result_value
        for each in _decorators(known)
        if type(each).process_result_value is not TypeDecorator.process_result_value
    ]
    return found[::-1]


def _binds(known: TypeEngine[Any]) -> list[Step]:
    """From the value to what is stored."""
    return [
        each.process_bind_param
        for each in _decorators(known)
        if type(each).process_bind_param is not TypeDecorator.process_bind_param
    ]


def _normal(known: TypeEngine[Any], dialect: Dialect, kind: ColumnKind) -> Making | None:
    steps = [*_binds(known), *_makes(known)]
    if not steps:
        return None
    binds, makes = _all_of(_binds(known), dialect), _all_of(_makes(known), dialect)

    def normal(value: Any) -> Any:
        stored = binds(value)
        if kind.python_type is uuid.UUID and isinstance(stored, str):
            stored = uuid.UUID(stored)  # as the driver takes it
        return makes(stored)

    return normal


def _decorators(known: TypeEngine[Any]) -> Iterator[TypeDecorator[Any]]:
    """Of a type as it is for a database: those that values pass, from the outermost."""
    while isinstance(known, TypeDecorator) and not isinstance(known, types.Interval):
        yield known
        known = known.impl_instance


def _all_of(steps: list[Step], dialect: Dialect) -> Making:
    if len(steps) == 1:
        [step] = steps
        return lambda value: step(value, dialect)

    def run(value: Any) -> Any:
        for step in steps:
            value = step(value, dialect)
        return value

    return run


def _told(name: str, kind: str, make: Making) -> Making:
    def value(stored: Any) -> Any:
        try:
            return make(stored)
        except Exception as error:
            # A user's type may raise anything.
            raise CodecError(
                f"{name}: {kind} cannot make its value of what is stored: {in_brief(error)}"
            ) from error

    return value


def _unfit(way: tuple[TypeEngine[Any], ...]) -> str:
    if any(each._has_bind_expression or each._has_column_expression for each in way):  # noqa: SLF001
        return "is written or read by an SQL expression of its type"
    if _overrides(way, "bind_processor"):
        return "has a type with a bind processor of its own"
    return ""


def _has_expression(type_: TypeEngine[Any]) -> bool:
    return bool(type_._has_column_expression)  # noqa: SLF001 - there is no public way to ask


def _overrides(way: tuple[TypeEngine[Any], ...], method: str) -> bool:
    return any(
        getattr(type(each), method) is not getattr(TypeDecorator, method)
        for each in way
        if isinstance(each, TypeDecorator) and not isinstance(each, types.Interval)
    )


def _pickles(type_: TypeEngine[Any]) -> bool:
    """Whether its code names a module that unpickles: what lies in a cache may be somebody
    else's."""
    if isinstance(type_, PickleType):
        return True
    for name in ("process_result_value", "result_processor"):
        code = getattr(getattr(type(type_), name, None), "__code__", None)
        if code is not None and _PICKLES.intersection(code.co_names):
            return True
    return False
