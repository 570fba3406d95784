"""Values as the database's driver gives them, of a type that only the driver knows: those of a
user's own database type, or what an SQL expression in the select makes.

Owns their encoding. Each says what it is, so that one codec serves whatever comes.
"""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from repocache.codec.column import ColumnCodec

_PLAIN = frozenset({bool, int, float, str, bytes})
_TEXTS: Mapping[str, tuple[type, Callable[[Any], str], Callable[[str], Any]]] = {
    "decimal": (Decimal, str, Decimal),
    "uuid": (uuid.UUID, str, uuid.UUID),
    "datetime": (
        datetime.datetime,
        datetime.datetime.isoformat,
        datetime.datetime.fromisoformat,
    ),
    "date": (datetime.date, datetime.date.isoformat, datetime.date.fromisoformat),
    "time": (datetime.time, datetime.time.isoformat, datetime.time.fromisoformat),
}
"""A datetime is a date, too, and comes before it."""
_MICROSECOND = datetime.timedelta(microseconds=1)


def _encode(value: object) -> Any:
    if value is None or type(value) in _PLAIN:
        return value
    if type(value) is list:
        return [_encode(each) for each in value]
    if type(value) is dict:
        return {"map": [[key, _encode(each)] for key, each in value.items()]}
    if type(value) is datetime.timedelta:
        return {"span": value // _MICROSECOND}
    for name, (kind, write, _) in _TEXTS.items():
        if isinstance(value, kind):
            return {name: write(value)}
    raise TypeError(f"{type(value)} is no value that is cached as the driver gives it")


def _decode(wire: Any) -> object:
    if type(wire) is list:
        return [_decode(each) for each in wire]
    if type(wire) is not dict:
        return wire
    [(name, told)] = wire.items()
    if name == "map":
        return {key: _decode(each) for key, each in told if type(key) is str}
    if name == "span":
        return datetime.timedelta(microseconds=told)
    return _TEXTS[name][2](told)


DRIVER_VALUE: ColumnCodec[object] = ColumnCodec(_encode, _decode)
"""Numbers, texts, bytes, days and times, UUIDs, and lists and dicts of these."""
