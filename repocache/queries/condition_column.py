"""Which columns may be a shape's condition, and with which values.

Owns the verdict that two values which the database finds equal have one text in a tag: by the type
that the database knows, whatever is around it. A column that may not be one only matters.
"""

from __future__ import annotations

import datetime
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    CHAR,
    NCHAR,
    Boolean,
    Column,
    Date,
    DateTime,
    Enum,
    Float,
    Integer,
    LargeBinary,
    Numeric,
    String,
    Uuid,
)
from sqlalchemy.dialects.postgresql import CITEXT, DOMAIN
from sqlalchemy.engine import Dialect
from sqlalchemy.types import NullType, TypeEngine

from repocache.errors import CodecError, MappingRefused
from repocache.keys import is_key_type
from repocache.mapping.key_columns import key_parts
from repocache.mapping.stored import StoredColumn, stored_column
from repocache.queries.value_text import value_text

_KINDS = (Boolean, Integer, Numeric, String, Uuid, Date, DateTime, LargeBinary)
_DETERMINISTIC = re.compile(
    r"default|C|POSIX|ucs_basic|unicode|C\.utf-?8|pg_c_utf8|pg_unicode_fast"
    r"|[a-z]{2,3}_[A-Z]{2}(\.[\w-]+)?(@\w+)?|(und|[a-z]{2,3})(-\w+)*-x-icu",
    re.IGNORECASE,
)
"""Collations that PostgreSQL comes with. One of the application's own may find different texts
equal."""


@dataclass(frozen=True, slots=True, eq=False)
class ConditionColumn:
    """A column that may be a condition. Make it with `condition_column`.

    `column`: of the known table. `text`: of a value that it is compared with; raises CodecError
    for one that it may not be compared with here.
    """

    column: Column[Any]
    text: Callable[[Any], str]

    def takes(self, kind: TypeEngine[Any]) -> bool:
        """Whether a value of this type is compared as the column's own type would be: one of
        another may make another value of it."""
        own = self.column.type
        if kind is own or isinstance(kind, NullType):
            return True
        own, kind = _at_bottom(own), _at_bottom(kind)
        if kind._variant_mapping or own._variant_mapping:  # noqa: SLF001 - no public way to ask
            return False
        if _is_plain(kind, Integer) and _is_plain(own, Integer | Numeric):
            return True
        if _is_text(kind) and _is_text(own):
            return True
        return type(kind) is type(own) and repr(kind) == repr(own)


def condition_column(column: Column[Any], dialect: Dialect) -> ConditionColumn | str:
    """The column as a condition, or why it cannot be one."""
    try:
        stored = stored_column(column.name, column, dialect)
        why = stored.unfit or _unfit(stored)
        if why:
            return f"{type(column.type).__name__} {why}"
        if stored.make is not None or stored.bind is not None:
            return ConditionColumn(column, _made_text(stored))
        [part] = key_parts([stored])
    except MappingRefused as error:
        return str(error)
    return ConditionColumn(column, _plain_text(stored, part.type, part.form))


def _unfit(stored: StoredColumn) -> str:
    """Why values of it may be equal and look different; empty: they may not."""
    collations = [getattr(each, "collation", None) for each in stored.beneath]
    leaf = stored.bottom
    if isinstance(leaf, CHAR | NCHAR):
        return "is padded with blanks"
    if isinstance(leaf, CITEXT):
        return "may find values equal that look different"
    if not isinstance(leaf, _KINDS) or not _is_its_own(leaf):
        return "may find values equal that look different"
    if isinstance(leaf, Float) or (isinstance(leaf, Numeric) and not leaf.asdecimal):
        return "gives numbers that are rounded"
    unknown = [each for each in collations if each and not _DETERMINISTIC.fullmatch(each)]
    return f"has the collation {unknown[0]!r}, which may find texts equal" if unknown else ""


def _at_bottom(kind: TypeEngine[Any]) -> TypeEngine[Any]:
    while isinstance(kind, DOMAIN):
        kind = kind.data_type
    return kind


def _is_its_own(kind: TypeEngine[Any]) -> bool:
    return type(kind).__module__.startswith("sqlalchemy.")


def _is_plain(kind: TypeEngine[Any], of: Any) -> bool:
    return isinstance(kind, of) and _is_its_own(kind)


def _is_text(kind: TypeEngine[Any]) -> bool:
    return _is_plain(kind, String) and not isinstance(kind, Enum | CHAR | NCHAR)


def _plain_text(
    stored: StoredColumn, python_type: type, form: Callable[[Any], Any] | None
) -> Callable[[Any], str]:
    """Of a value that the driver takes as it is."""

    def text(value: Any) -> str:
        if python_type is Decimal and type(value) is int:
            value = Decimal(value)
        if not _has_type(value, python_type):
            raise CodecError(f"{type(value).__name__} is not {python_type.__name__}")
        if form is not None and _formed(form, value) != value:
            raise CodecError("the database writes it in another form")
        _check_exact(stored.bottom, value)
        return value_text(value)

    return text


def _made_text(stored: StoredColumn) -> Callable[[Any], str]:
    """Of a value that the column's type makes another of, if the row that has it gives it back."""
    normal, bind = stored.normal, stored.bind

    def text(value: Any) -> str:
        given = value if normal is None else _formed(normal, value)
        if not is_key_type(type(value)) or type(given) is not type(value) or given != value:
            raise CodecError("a row that has it gives another value for it")
        _check_exact(stored.bottom, value if bind is None else bind(value))
        return value_text(value)

    return text


def _formed(form: Callable[[Any], Any], value: Any) -> Any:
    try:
        return form(value)
    except Exception as error:
        # A type of the application's own may raise anything.
        raise CodecError(f"the column does not take it: {type(error).__name__}") from error


def _has_type(value: object, wanted: type) -> bool:
    return type(value) is wanted or (wanted is uuid.UUID and isinstance(value, uuid.UUID))


def _check_exact(leaf: TypeEngine[Any], value: object) -> None:
    """A value is cast to the column's type before it is compared, which may round it."""
    scale = getattr(leaf, "scale", None)
    if isinstance(value, Decimal) and value.is_finite() and scale is not None:
        exponent = value.normalize().as_tuple().exponent
        if isinstance(exponent, int) and -exponent > scale:
            raise CodecError("the column rounds it")
    precision = getattr(leaf, "precision", None)
    if isinstance(value, datetime.datetime) and precision is not None:
        unit = 10 ** max(0, 6 - int(precision))
        if value.microsecond % unit:
            raise CodecError("the column rounds it")
