"""What a mapped class lets be written behind, and what a change makes of a row of it. Pure.

Owns which columns may be set and added to. How rows are written is `writing`'s affair.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Generic, TypeVar

from sqlalchemy import Column, Float, Integer, Numeric, Table

from repocache.behind.change import Number, RowChange
from repocache.codec.row import RowCodec
from repocache.errors import (
    CachedEntityRefused,
    CodecError,
    ConfigurationError,
    UsageError,
)
from repocache.keys import Keys, shown
from repocache.mapping.entity import Row
from repocache.mapping.plan import EntityPlan
from repocache.mapping.stored import StoredColumn
from repocache.transactions.cached_marker import cached_by

M = TypeVar("M")
HIGHEST = (1 << 63) - 1
LONGEST = 1 << 20
"""Bytes of one value that is set."""


@dataclass(frozen=True, slots=True)
class WrittenColumn:
    """One attribute. `at`: where it stands in a row. `start`: what a row that is made has there, if
    nothing sets it; None: NULL. `unfit`: why it cannot be added to, empty: it can."""

    name: str
    at: int
    stored: StoredColumn
    column: Column[Any]
    codec: RowCodec
    start: Any
    unfit: str

    @property
    def is_required(self) -> bool:
        """Whether a row cannot be made without it."""
        column = self.column
        given = column.default is not None or column.server_default is not None
        return not (column.nullable or given)

    def encode(self, value: Any) -> bytes:
        """An entity's value. Raises UsageError for one that the column does not take."""
        if value is None and not self.column.nullable:
            raise UsageError(f"{self.stored.kind.name}: None, and the column takes no NULL")
        try:
            bind = self.stored.bind
            return self.codec.encode((value if bind is None or value is None else bind(value),))
        except CodecError as error:
            raise UsageError(f"{self.stored.kind.name}: {error}") from error

    def decode(self, data: bytes) -> Any:
        """As a row has it. Raises CodecError."""
        return self.codec.decode(data)[0]

    def sent(self, value: Any) -> Any:
        """What a row has, as a statement takes it."""
        make = self.stored.value
        return value if make is None or value is None else make(value)

    def added(self, value: Any, number: Number) -> Any:
        """`value`: as a row has it; NULL counts as 0."""
        total = number if value is None else value + number
        return Decimal(total) if isinstance(self.column.type, Numeric) else total

    def check(self, number: object) -> Number:
        """A number to be added. Raises UsageError."""
        name = self.stored.kind.name
        if self.unfit:
            raise UsageError(f"add: {name} {self.unfit}")
        if isinstance(self.column.type, Numeric):
            scale = self.column.type.scale
            if type(number) is int or (isinstance(number, Decimal) and number.is_finite()):
                exponent = Decimal(number).normalize().as_tuple().exponent
                if scale is None or (isinstance(exponent, int) and -exponent <= scale):
                    return number
                raise UsageError(
                    f"add: {name}={number}: the column has {scale} places behind the point, and "
                    "sums of what is rounded depend on how they are grouped: round it before"
                )
            raise UsageError(f"add: {name}={shown(number)}: give an int or a finite Decimal")
        if type(number) is not int or abs(number) > HIGHEST:
            raise UsageError(f"add: {name}={shown(number)}: give an int of at most 64 bits")
        return number


class WrittenColumns(Generic[M]):
    """Those of one mapped class. `table`: its only one. `keys`: of its ids."""

    def __init__(self, plan: EntityPlan[M], keys: Keys) -> None:
        """Raises ConfigurationError for a class that cannot be written behind."""
        self.plan = plan
        self.keys = keys
        self.table = _table(plan)
        self.ids = tuple(plan.layout.ids)
        names = {at: name for name, at in plan.layout.classes[plan.mapper].attributes.items()}
        self.by_name: dict[str, WrittenColumn] = {
            names[at]: _written(names[at], at, stored)
            for at, stored in enumerate(plan.layout.stored)
            if at not in self.ids and at in names
        }
        self._id_names = tuple(names[at] for at in self.ids)
        self._known = {*self.by_name, *self._id_names}
        held = {each.column for each in self.by_name.values()}
        self._beyond = any(  # a column that cached entities do without
            not (column.primary_key or column in held or column.nullable)
            and column.default is None
            and column.server_default is None
            for column in self.table.columns
        )

    def adding(self, values: Mapping[str, object]) -> RowChange:
        """Raises UsageError for what is no number, or no column that is added to."""
        if not values:
            raise UsageError(f"add: name what is added to, as in add(id, {self._example()}=1)")
        return RowChange(
            adds={name: self._column("add", name).check(each) for name, each in values.items()}
        )

    def setting(self, entity: M) -> tuple[Any, RowChange]:
        """The id, and the columns that the entity has. Raises UsageError, CachedEntityRefused,
        InvalidId."""
        model = self.plan.model
        if type(entity) is not model:
            raise UsageError(f"put({shown(entity)}): give a {model.__name__}")
        if cached_by(entity) is not None:
            raise CachedEntityRefused(
                f"put: this {model.__name__} was read, and what it has may have changed since: put "
                f"a new {model.__name__}(...) with the columns that are to be set, or add to them"
            )
        values = vars(entity)
        parts = tuple(values.get(name) for name in self._id_names)
        id = parts[0] if self.keys.single else self.keys.make(parts)
        self.keys.check(id)
        sets = {
            name: each.encode(values[name])
            for name, each in self.by_name.items()
            if name in values and each.column.computed is None
        }
        return id, RowChange(sets=sets)

    def applied(self, row: Row | None, id: Any, change: RowChange) -> Row | None:
        """The row once the change is written; None: there will be none. Raises CodecError."""
        if row is None:
            if not self.makes_rows(change.names):
                return None
            made = [None] * len(self.plan.layout.stored)
            for at, part in zip(self.ids, (id,) if self.keys.single else id, strict=True):
                bind = self.plan.layout.stored[at].bind
                made[at] = part if bind is None else bind(part)
            for each in self.by_name.values():
                made[each.at] = each.start
        else:
            made = list(row)
        for name, data in change.sets.items():
            made[self._decoded(name).at] = self._decoded(name).decode(data)
        for name, number in change.adds.items():
            each = self._decoded(name)
            made[each.at] = each.added(made[each.at], number)
        return tuple(made)

    def values(self, change: RowChange) -> tuple[dict[str, Any], dict[str, Number]]:
        """What is set, as statements take it, and what is added to what the row has. Raises
        CodecError for an attribute, or bytes, that this release does not know."""
        sets: dict[str, Any] = {}
        adds: dict[str, Number] = {}
        for name, data in change.sets.items():
            each = self._decoded(name)
            value = each.decode(data)
            if name in change.adds:
                value = each.added(value, change.adds[name])
            sets[name] = each.sent(value)
        for name, number in change.adds.items():
            if name not in sets:
                adds[name] = self._decoded(name).added(None, number)
        return sets, adds

    def makes_rows(self, names: frozenset[str]) -> bool:
        """Whether a row can be made of these alone."""
        return not self._beyond and not any(
            each.is_required and name not in names for name, each in self.by_name.items()
        )

    def _decoded(self, name: str) -> WrittenColumn:
        try:
            return self.by_name[name]
        except KeyError:
            raise CodecError(
                f"{self.plan.model.__name__} has no column {name!r} in this release"
            ) from None

    def _column(self, call: str, name: str) -> WrittenColumn:
        if name not in self.by_name:
            why = "is of the id" if name in self._known else "is no column of it"
            raise UsageError(
                f"{call}: {self.plan.model.__name__}.{name} {why}: it has "
                f"{', '.join(self.by_name) or 'none'}"
            )
        return self.by_name[name]

    def _example(self) -> str:
        return next((name for name, each in self.by_name.items() if not each.unfit), "hits")


def _table(plan: EntityPlan[Any]) -> Table:
    name, mapper = plan.model.__name__, plan.mapper
    if mapper.inherits is not None or mapper.polymorphic_on is not None:
        raise ConfigurationError(
            f"{name}: a class of a hierarchy cannot be written behind: its rows are of several "
            "classes or tables; give one that has a table to itself"
        )
    [table] = plan.tables
    if plan.reads or any(not isinstance(each, Column) for each in plan.columns):
        raise ConfigurationError(
            f"{name}: computed attributes cannot be shown with what is pending: leave them out by "
            "MappingOptions(not_loaded=(...))"
        )
    if set(plan.id_columns) != set(table.primary_key.columns):
        raise ConfigurationError(
            f"{name}: its id is not the primary key of {table.name!r}, by which rows are found: "
            "map the table's own key"
        )
    return table


def _written(name: str, at: int, stored: StoredColumn) -> WrittenColumn:
    column = stored.column
    assert isinstance(column, Column)
    start, unfit = _start(column, stored.bind), _unfit(column)
    return WrittenColumn(name, at, stored, column, RowCodec([stored.kind], LONGEST), start, unfit)


def _unfit(column: Column[Any]) -> str:
    kind = column.type
    if column.computed is not None:
        return "is computed by the database"
    if isinstance(kind, Float) or (isinstance(kind, Numeric) and not kind.asdecimal):
        return (
            "is of floats, whose sum depends on the order in which they come: map it as "
            "Numeric, or as an integer"
        )
    if type(kind).__module__.startswith("sqlalchemy") and isinstance(kind, Integer | Numeric):
        given = _constant(column)
        return f"begins at {given}: a counter begins at 0" if given not in (None, 0) else ""
    return f"is a {type(kind).__name__}, no integer or Numeric: put() sets it"


def _constant(column: Column[Any]) -> object:
    """What a new row has there, where that is not 0; None: NULL."""
    default: Any = column.default
    if default is not None:
        return default.arg if default.is_scalar else "what a function says"
    given = getattr(column.server_default, "arg", None)
    text = getattr(given, "text", given)
    if text is None:
        return None
    try:
        return 0 if Decimal(str(text).strip("'")) == 0 else text
    except ArithmeticError:
        return text


def _start(column: Column[Any], bind: Callable[[Any], Any] | None) -> Any:
    default: Any = column.default
    if default is not None and default.is_scalar:
        value = default.arg
        return value if bind is None or value is None else bind(value)
    return None
