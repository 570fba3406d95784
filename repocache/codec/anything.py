"""Rows of any select, as the driver and the columns' types gave them, to bytes and back.

Owns which types of values can be kept: those that mean the same in every process. Whoever wrote the
bytes, they are read in time that grows as their length (`codec.untyped`).
"""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from repocache.codec.untyped import BIG, check_keys
from repocache.errors import CodecError

_DECIMAL, _MOMENT, _DAY, _TIME, _SPAN, _UUID = range(2, 8)
"""Types of extensions."""
_AS_THEY_ARE = frozenset({type(None), bool, float, str, bytes})
_TICK = datetime.timedelta(microseconds=1)


def pack_rows(value: Any) -> bytes:
    """Of lists, tuples and what they hold. Raises CodecError for a value of a type that cannot be
    kept."""
    try:
        return _ENCODER.encode(_kept(value))
    except (msgspec.MsgspecError, OverflowError, ValueError, RecursionError) as error:
        raise CodecError(f"a row of a query cannot be kept: {error}") from error


def unpack_rows(data: bytes) -> Any:
    """The inverse, with lists in the place of tuples. Raises CodecError, whatever the bytes."""
    try:
        check_keys(data)
        return _DECODER.decode(data)
    except (
        *(msgspec.MsgspecError, ValueError, OverflowError, RecursionError),
        *(InvalidOperation, TypeError),
    ) as error:
        raise CodecError(f"rows of a query cannot be read: {error}") from error


def _kept(value: Any) -> Any:
    kind = type(value)
    if kind in _AS_THEY_ARE:
        return value
    writer = _WRITERS.get(kind)
    if writer is not None:
        return writer(value)
    if isinstance(value, uuid.UUID):  # the driver's is of a class of its own
        return _extension(_UUID, value.bytes)
    raise CodecError(f"a value of type {kind.__name__} cannot be kept with the rows of a query")


def _extension(code: int, data: bytes) -> msgspec.msgpack.Ext:
    return msgspec.msgpack.Ext(code, data)


def _int(value: int) -> Any:
    if -(1 << 63) <= value < 1 << 64:
        return value
    return _extension(BIG, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def _dict(value: dict[Any, Any]) -> dict[str, Any]:
    if not all(type(key) is str for key in value):
        raise CodecError("a dict with keys that are no strings cannot be kept with a query's rows")
    return {key: _kept(item) for key, item in value.items()}


_WRITERS: Mapping[type, Callable[[Any], Any]] = {
    int: _int,
    list: lambda value: [_kept(item) for item in value],
    tuple: lambda value: [_kept(item) for item in value],
    dict: _dict,
    Decimal: lambda value: _extension(_DECIMAL, str(value).encode()),
    datetime.datetime: lambda value: _extension(_MOMENT, value.isoformat().encode()),
    datetime.date: lambda value: _extension(_DAY, value.isoformat().encode()),
    datetime.time: lambda value: _extension(_TIME, value.isoformat().encode()),
    datetime.timedelta: lambda value: _extension(_SPAN, b"%d" % (value // _TICK)),
    uuid.UUID: lambda value: _extension(_UUID, value.bytes),
}
_READERS: Mapping[int, Callable[[bytes], Any]] = {
    BIG: lambda data: int.from_bytes(data, "big", signed=True),
    _DECIMAL: lambda data: Decimal(data.decode()),
    _MOMENT: lambda data: datetime.datetime.fromisoformat(data.decode()),
    _DAY: lambda data: datetime.date.fromisoformat(data.decode()),
    _TIME: lambda data: datetime.time.fromisoformat(data.decode()),
    _SPAN: lambda data: datetime.timedelta(microseconds=int(data)),
    _UUID: lambda data: uuid.UUID(bytes=data),
}


def _read(code: int, data: memoryview) -> Any:
    reader = _READERS.get(code)
    if reader is None:
        raise CodecError(f"an extension of type {code} is not ours")
    return reader(bytes(data))


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(ext_hook=_read)
