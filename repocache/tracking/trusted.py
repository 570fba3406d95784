"""Columns that store a value as it is given: not CHAR, which pads, nor CITEXT, collations, or types
of the application's own."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, Date, Integer, LargeBinary, String, Text, Unicode, Uuid
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeEngine, UnicodeText

_TEXTS = frozenset({String, Text, Unicode, UnicodeText, postgresql.VARCHAR, postgresql.TEXT})
_PLAIN = (Integer, Uuid, LargeBinary, Date)


def is_trusted(column: Column[Any]) -> bool:
    """On every database that the type has a variant for."""
    kind: TypeEngine[Any] = column.type
    # There is no public way to ask.
    return all(map(_is_plain, (kind, *kind._variant_mapping.values())))  # noqa: SLF001


def _is_plain(kind: TypeEngine[Any]) -> bool:
    if isinstance(kind, String):
        return type(kind) in _TEXTS and kind.collation is None
    return isinstance(kind, _PLAIN) and type(kind).__module__.startswith("sqlalchemy.")
