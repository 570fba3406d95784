"""Columns that store a value as it is given: not CHAR, which pads, nor CITEXT, collations, or types
of the application's own that do anything to a value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Boolean, Column, Date, Integer, LargeBinary, String, Text, Unicode, Uuid
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine, UnicodeText

_TEXTS = frozenset({String, Text, Unicode, UnicodeText, postgresql.VARCHAR, postgresql.TEXT})
_PLAIN = (Boolean, Integer, Uuid, LargeBinary, Date)
_OWN = (
    *("process_bind_param", "process_result_value", "bind_processor", "result_processor"),
    *("bind_expression", "column_expression"),
)


def is_trusted(column: Column[Any]) -> bool:
    """On every database that the type has a variant for."""
    kind: TypeEngine[Any] = column.type
    # There is no public way to ask.
    return all(map(_is_plain, (kind, *kind._variant_mapping.values())))  # noqa: SLF001


def _is_plain(kind: TypeEngine[Any]) -> bool:
    if isinstance(kind, TypeDecorator):
        return not _does_anything(kind) and all(map(_is_plain, _within(kind)))
    if isinstance(kind, String):
        return type(kind) in _TEXTS and kind.collation is None
    if isinstance(kind, Uuid) and not kind.as_uuid:
        return False  # a text that is written in several ways
    return isinstance(kind, _PLAIN) and type(kind).__module__.startswith("sqlalchemy.")


def _does_anything(kind: TypeDecorator[Any]) -> bool:
    return any(getattr(type(kind), each) is not getattr(TypeDecorator, each) for each in _OWN)


def _within(kind: TypeDecorator[Any]) -> Iterator[TypeEngine[Any]]:
    """What the type says that it is, on the databases that are supported."""
    dialects: tuple[type[Dialect], ...] = (postgresql.dialect, sqlite.dialect)
    for each in dialects:
        try:
            yield kind.load_dialect_impl(each())
        except Exception:  # noqa: BLE001 - it is for one of them alone
            yield TypeEngine()
