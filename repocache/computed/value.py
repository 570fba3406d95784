"""Computed values to bytes and back, by their declared type; which of them callers may share."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import inspect
import types
import typing
import uuid
from decimal import Decimal
from enum import Enum
from typing import Any, Generic, TypeVar

import msgspec

from repocache.cache.entry import Row
from repocache.errors import CodecError, ConfigurationError

V = TypeVar("V")

_FROZEN = (
    *(int, float, bool, str, bytes, type(None), Decimal, uuid.UUID),
    *(datetime.date, datetime.datetime, datetime.time, datetime.timedelta),
)


class ValueCodec(Generic[V]):
    """Values of one type. A row is an id, and the value.

    `kind`: frozen, since callers share values: a frozen msgspec.Struct or dataclass, an
    enumeration, a number, a text, and so on, or a tuple or frozenset of these.
    `fingerprint`: of its shape, so that nothing of another shape is read.

    Raises ConfigurationError for another.
    """

    def __init__(self, name: str, kind: Any) -> None:
        mutable = _mutable(kind)
        if mutable is not None:
            raise ConfigurationError(
                f"{name}: callers share its values, and {mutable} may be changed by one of them: "
                "give a frozen msgspec.Struct or dataclass, a tuple in the place of a list, or a "
                "number or text"
            )
        try:
            self._decoder = msgspec.msgpack.Decoder(tuple[str, kind])
            schema = msgspec.json.encode(msgspec.json.schema(kind), order="sorted")
        except (TypeError, NameError) as error:
            raise ConfigurationError(f"{name}: its values cannot be kept: {error}") from error
        self._encoder = msgspec.msgpack.Encoder()
        self.fingerprint = hashlib.blake2b(schema, digest_size=8).hexdigest()

    def encode(self, row: Row) -> bytes:
        try:
            return self._encoder.encode((str(row[0]), row[1]))
        except (msgspec.MsgspecError, TypeError, OverflowError, RecursionError) as error:
            raise CodecError(f"a computed value cannot be kept: {error}") from error

    def decode(self, payload: bytes) -> Row:
        try:
            return self._decoder.decode(payload)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise CodecError(f"a computed value cannot be read: {error}") from error


def _mutable(kind: Any) -> str | None:
    """The first type within that may be changed; None: there is none."""
    origin, given = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType, tuple, frozenset, typing.Annotated):
        parts = given[:1] if origin is typing.Annotated else given
        return next((each for part in parts if (each := _mutable(part)) is not None), None)
    if origin is typing.Literal or kind is Ellipsis or kind is None:
        return None
    shown = str(getattr(kind, "__name__", kind))
    if not inspect.isclass(kind):
        return shown
    if issubclass(kind, _FROZEN) or issubclass(kind, Enum):
        return None
    if not _is_frozen(kind):
        return shown
    hints = typing.get_type_hints(kind)
    return next((each for hint in hints.values() if (each := _mutable(hint)) is not None), None)


def _is_frozen(kind: type) -> bool:
    if issubclass(kind, msgspec.Struct):
        return bool(kind.__struct_config__.frozen)
    if dataclasses.is_dataclass(kind):
        return bool(kind.__dataclass_params__.frozen)  # type: ignore[attr-defined]  # as it is
    return issubclass(kind, tuple) and hasattr(kind, "_fields")
