"""Which Python values a column's SQLAlchemy type gives.

Owns the decision for each type, with its refusals. How the values are encoded is `codec.column`'s
affair.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
import uuid
from decimal import Decimal
from typing import Any

from sqlalchemy import types
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeEngine

from repocache.codec.column import ColumnCodec, ColumnKind
from repocache.codec.postgres import CODECS
from repocache.errors import MappingRefused

PLAIN = (
    *(int, float, bool, str, bytes, Decimal, uuid.UUID),
    *(datetime.datetime, datetime.date, datetime.time, datetime.timedelta),
)
_TEXT = (
    *(
        postgresql.MACADDR,
        postgresql.MACADDR8,
        postgresql.MONEY,
        postgresql.TSVECTOR,
        postgresql.TSQUERY,
    ),
    *(postgresql.JSONPATH, postgresql.REGCLASS, postgresql.REGCONFIG),
)


def declared_kind(name: str, codec: ColumnCodec[Any]) -> ColumnKind:
    """A column whose codec is declared: it is asked for whole values, arrays too."""
    return ColumnKind(name, codec.python_type, codec=codec)


def variant_of(type_: TypeEngine[Any], dialect: Dialect | None) -> TypeEngine[Any]:
    """The type as it is on this database; None: as it is where nothing else is said."""
    # No public way to see them.
    variants: dict[str, TypeEngine[Any]] = dict(type_._variant_mapping)  # noqa: SLF001
    return type_ if dialect is None else variants.get(dialect.name, type_)


def kind_of(name: str, type_: TypeEngine[Any], dialect: Dialect | None = None) -> ColumnKind:
    """The kind of a column's values on this database; None: on any that its type has a variant for,
    which must all be the same.

    Raises MappingRefused, naming the column.
    """
    if dialect is not None:
        return _kind(name, variant_of(type_, dialect), dialect)
    # As above.
    variants: dict[str, TypeEngine[Any]] = dict(type_._variant_mapping)  # noqa: SLF001
    kinds = [_kind(name, each, None) for each in (type_, *variants.values())]
    if all(kind == kinds[0] for kind in kinds):
        return kinds[0]
    if all(
        kind.codec is None and kind.python_type in (object, str, int, bool, float) for kind in kinds
    ):
        # An array of one database is JSON in another: both are lists of what JSON holds.
        return ColumnKind(name, object)
    raise refusal(name, type_, "gives different Python types on different databases")


def _kind(name: str, type_: TypeEngine[Any], dialect: Dialect | None) -> ColumnKind:
    if isinstance(type_, types.TypeDecorator) and not isinstance(type_, types.Interval):
        raise refusal(name, type_, "is a TypeDecorator within another type")
    if isinstance(type_, types.ARRAY):
        return _array_kind(name, type_, dialect)
    if isinstance(type_, postgresql.DOMAIN):
        return _kind(name, variant_of(type_.data_type, dialect), dialect)
    codec = next((codec for known, codec in CODECS.items() if isinstance(type_, known)), None)
    if codec:
        return ColumnKind(name, codec.python_type, codec=codec)
    return ColumnKind(name, _python_type(name, type_))


def _python_type(name: str, type_: TypeEngine[Any]) -> type:
    if isinstance(type_, types.JSON):
        return object
    if isinstance(type_, _TEXT):
        return str
    if isinstance(type_, postgresql.OID):
        return int
    try:
        python_type = type_.python_type
    except NotImplementedError:
        python_type = object
    if python_type in PLAIN or issubclass(python_type, enum.Enum):
        return python_type
    raise refusal(name, type_, "has values that are not known")


def _array_kind(name: str, type_: types.ARRAY[Any], dialect: Dialect | None) -> ColumnKind:
    item = kind_of(name, type_.item_type, dialect)
    return dataclasses.replace(
        item, depth=type_.dimensions, sequence=tuple if type_.as_tuple else list
    )


def refusal(name: str, type_: TypeEngine[Any], why: str) -> MappingRefused:
    """Of a column's type; what can be done is `refusals`' affair."""
    return MappingRefused(f"{name}: {type(type_).__name__} {why}")
