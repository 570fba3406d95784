"""Rows to bytes and back: a msgpack array behind one byte that says its format. Never pickle.

Owns whole rows, their format and their size. What one column's values may be is `column`'s affair.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import msgspec

from repocache.codec.column import Column, ColumnKind
from repocache.codec.untyped import unpack_msgpack, widened
from repocache.errors import CodecError, ConfigurationError
from repocache.redaction.foreign import in_brief

Row = tuple[Any, ...]

CODEC_VERSION = 2
"""Counts changes of the format: part of the fingerprint of what is cached."""

_PLAIN = b"\xc1"
"""Before a row that fits msgpack. Neither msgpack nor text in UTF-8 begins so."""
_WIDE = b"\xfe"
"""Before a row with integers beyond 64 bits, which are extensions."""
_SHAPES = 256


class RowCodec:
    """Rows of these columns to bytes and back. Blind to what the columns mean.

    A value comes back equal and of the same type; so does what asyncpg gives for "infinity",
    `datetime.max`. Two exceptions: an aware datetime comes back in UTC, as asyncpg delivers it, and
    asyncpg's own UUID as `uuid.UUID`.

    `max_bytes`: a longer result is refused. Raises ConfigurationError for a column that cannot be
    kept.
    """

    __slots__ = ("_coded", "_columns", "_decoder", "_encoder", "_max_bytes", "_shapes", "_wire")

    def __init__(self, columns: Sequence[ColumnKind], max_bytes: int = 1 << 20) -> None:
        if not columns:
            raise ConfigurationError("columns: a row has at least one")
        if max_bytes < 1:
            raise ConfigurationError(f"max_bytes={max_bytes}: give a positive number of bytes")
        self._columns = tuple(Column(kind) for kind in columns)
        self._coded = tuple((at, column) for at, column in enumerate(self._columns) if column.coded)
        self._max_bytes = max_bytes
        self._wire = _tuple_of(column.wire for column in self._columns)
        self._encoder = msgspec.msgpack.Encoder(uuid_format="bytes")
        self._decoder = msgspec.msgpack.Decoder(self._wire)
        self._shapes: set[tuple[type, ...]] = set()

    def encode(self, row: Row) -> bytes:
        """Raises CodecError for a value that would not come back as it is, and beyond
        `max_bytes`."""
        shape = tuple(map(type, row))
        if shape not in self._shapes:
            self._admit(row, shape)
        values: Sequence[Any] = row
        if self._coded:
            values = list(row)
            for at, column in self._coded:
                values[at] = column.encode(values[at])
        try:
            data = self._pack(values)
        except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
            raise CodecError(f"the row cannot be encoded: {in_brief(error)}") from error
        if len(data) > self._max_bytes:
            raise CodecError(
                f"oversized: {len(data)} bytes are more than max_bytes={self._max_bytes}"
            )
        return data

    def decode(self, data: bytes) -> Row:
        """Raises CodecError, whatever the bytes."""
        try:
            row = self._unpack(data)
            if not self._coded:
                return row
            values = list(row)
            for at, column in self._coded:
                values[at] = column.decode(values[at])
        except CodecError:
            raise
        except Exception as error:
            # A user's codec may raise anything for what its `encode` never made.
            raise CodecError(f"the bytes are not such a row: {in_brief(error)}") from error
        return tuple(values)

    def _pack(self, values: Sequence[Any]) -> bytes:
        try:
            return _PLAIN + self._encoder.encode(values)
        except OverflowError:
            return _WIDE + self._encoder.encode(widened(values))

    def _unpack(self, data: bytes) -> Row:
        mark = data[:1]
        if mark == _PLAIN:
            return self._decoder.decode(data[1:])
        if mark == _WIDE:
            return msgspec.convert(unpack_msgpack(data[1:]), self._wire)
        raise CodecError(f"a row does not begin with {mark!r}")

    def _admit(self, row: Row, shape: tuple[type, ...]) -> None:
        """Check every value against its column; remember the types if they alone say that such a
        row is right."""
        if len(row) != len(self._columns):
            raise CodecError(f"{len(row)} values have come for {len(self._columns)} columns")
        pairs = [
            (column, value)
            for column, value in zip(self._columns, row, strict=True)
            if value is not None
        ]
        try:
            for column, value in pairs:
                column.check(value)
        except RecursionError as error:
            raise CodecError("a value is nested too deeply") from error
        if all(column.flat for column, _ in pairs):
            if len(self._shapes) == _SHAPES:
                self._shapes.clear()
            self._shapes.add(shape)


def _tuple_of(items: Iterable[Any]) -> type[Row]:
    annotation: Any = tuple
    return cast(type[Row], annotation[tuple(items)])
