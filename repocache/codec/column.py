"""What a cached column's values may be, and how one value is checked, encoded and decoded.

Owns the list of Python types that are cached as they are. What a mapped column's type is, and
codecs for the database's own types, are `mapping`'s affair; whole rows are `codec`'s.
"""

from __future__ import annotations

import datetime
import enum
import math
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Generic, TypeVar

import msgspec

from repocache.codec.untyped import is_text, pack, unpack
from repocache.errors import CodecError, ConfigurationError
from repocache.redaction.foreign import in_brief

T = TypeVar("T")
Builtin = Any
"""None, bool, int, float, str, bytes, and lists and str-keyed dicts of these."""

_DEEPEST = 6
"""PostgreSQL's limit of array dimensions."""
_PASSED = frozenset(
    {object, int, float, bool, str, bytes, Decimal}
    | {datetime.datetime, datetime.date, datetime.timedelta, uuid.UUID}
)
_JSON = frozenset({type(None), bool, int, float, str, list, dict})
_BUILTIN = _JSON | {bytes, tuple}


@dataclass(frozen=True, slots=True)
class ColumnCodec(Generic[T]):
    """How values that only you know are cached: declared for a `TypeDecorator` or a database type
    of your own.

    `encode`: a value (never None) to a Builtin that holds all that matters. `decode`: its inverse,
    making a new value at each call. `python_type`: the exact type of the values, needed for a key
    column and for a field of a view. `immutable`: values are never changed in place, so all callers
    may share one. `version`: count it up when the encoding changes, then what another release
    cached is not read. `wire`: what `encode` returns, as an annotation for msgspec; anything else
    is then noticed before `decode` sees it. Keys of dicts and items of sets in it should be
    strings: whoever writes in Redis can choose numbers whose hashes collide, and stall the reader.

    Raises ConfigurationError for arguments of another form.
    """

    encode: Callable[[T], Builtin]
    decode: Callable[[Builtin], T]
    python_type: type = object
    immutable: bool = False
    version: int = 1
    wire: Any = Any

    def __post_init__(self) -> None:
        for argument, value in (("encode", self.encode), ("decode", self.decode)):
            if not callable(value):
                raise ConfigurationError(
                    f"ColumnCodec({argument}={value!r}): give a function of one value"
                )
        if not isinstance(self.python_type, type):
            raise ConfigurationError(f"ColumnCodec(python_type={self.python_type!r}): give a class")


@dataclass(frozen=True, slots=True)
class ColumnKind:
    """What is known of a column's values beforehand."""

    #: For messages.
    name: str
    #: The exact type of one value; `object`: JSON, that is None, bool, int, float, str, and lists
    #: and str-keyed dicts of these.
    python_type: type
    #: Array dimensions, 0: no array, None: any number.
    depth: int | None = 0
    #: What an array arrives as, `list` or `tuple`.
    sequence: type[list[Any] | tuple[Any, ...]] = list
    #: For one value of a type that is not cached as it is.
    codec: ColumnCodec[Any] | None = None

    @property
    def immutable(self) -> bool:
        """Whether a value may be shared by all callers."""
        if self.depth != 0 and self.sequence is list:
            return False
        return self.codec.immutable if self.codec else self.python_type is not object


class Column:
    """One column's part in a row's codec. Raises ConfigurationError for a kind that cannot be kept.

    `wire`: the annotation that msgspec decodes by. `coded`: `encode` and `decode` have something to
    do. `flat`: the type of a value says all, there are no other values inside.
    """

    __slots__ = ("_codec", "_depth", "_kind", "_said", "coded", "flat", "wire")

    def __init__(self, kind: ColumnKind) -> None:
        codec = kind.codec or _codec_of(kind.python_type)
        if (
            codec is None
            and kind.python_type not in _PASSED
            and not issubclass(kind.python_type, enum.Enum)
        ):
            raise ConfigurationError(
                f"column {kind.name!r}: {kind.python_type.__qualname__} values are not cached as "
                "they are: declare a ColumnCodec for the column, or leave it out of what is loaded"
            )
        self._kind = kind
        self._codec = codec
        # What may be in a value of which only the data says what it is: such a value is packed by
        # itself.
        self._said = _said(codec, kind.python_type)
        # An array of JSON is JSON; in one that arrives as tuples these are its dimensions.
        self._depth = 0 if self._said is _JSON and kind.sequence is list else kind.depth
        self.coded = codec is not None or self._said is not None
        self.flat = self.coded or self._depth == 0
        try:
            self.wire = _nested(
                bytes if self._said else _wire_of(codec, kind), self._depth, kind.sequence
            )
            msgspec.msgpack.Decoder(self.wire)
        except TypeError as error:
            raise ConfigurationError(
                f"column {kind.name!r}: its values cannot be decoded: {error}"
            ) from error

    def check(self, value: Any) -> None:
        """Raise CodecError for a value that would not come back as it is."""
        if value is None or self.coded:
            return
        if self._depth == 0:
            self._check_item(value)
        elif type(value) is self._kind.sequence:
            self._check_items(value, self._depth)
        else:
            raise self._refusal(value)

    def encode(self, value: Any) -> Any:
        """To what msgspec encodes. Raises CodecError."""
        try:
            return self._each(self._encode_item, value)
        except CodecError:
            raise
        except Exception as error:
            # A user's codec may raise anything.
            raise CodecError(
                f"column {self._kind.name!r}: its codec cannot encode: {in_brief(error)}"
            ) from error

    def decode(self, value: Any) -> Any:
        """From what msgspec decoded. Raises what the codec raises."""
        return self._each(self._decode_item, value)

    def _encode_item(self, value: Any) -> Any:
        if self._codec is not None:
            if not isinstance(value, self._codec.python_type):
                raise self._refusal(value)
            value = self._codec.encode(value)
        return (
            value
            if self._said is None
            else pack(value, is_json=self._check_builtin(value, self._said))
        )

    def _decode_item(self, value: Any) -> Any:
        if self._said is not None and value is not None:
            data, value = value, unpack(value)
            if not is_text(data):
                self._check_builtin(value, self._said)
        return value if self._codec is None else self._codec.decode(value)

    def _each(self, function: Callable[[Any], Any], value: Any) -> Any:
        """Apply to every value in an array; subclasses of its sequence are values, a multirange is
        one."""
        if value is None:
            return None
        if self._depth == 0 or type(value) is not self._kind.sequence:
            return function(value)
        return self._kind.sequence(self._each(function, item) for item in value)

    def _check_items(self, values: Any, depth: int | None) -> None:
        for value in values:
            if depth != 1 and type(value) is self._kind.sequence:
                self._check_items(value, depth and depth - 1)
            elif value is not None:
                self._check_item(value)

    def _check_item(self, value: Any) -> None:
        wanted = self._kind.python_type
        if type(value) is not wanted and not (
            # A numeric column of SQLite gives whole floats as int; asyncpg has a UUID class of its
            # own.
            (wanted is float and type(value) is int)
            or (wanted is uuid.UUID and isinstance(value, uuid.UUID))
        ):
            raise self._refusal(value)

    def _check_builtin(self, value: Any, types: frozenset[type]) -> bool:
        """Whether JSON can say all of it. Not by recursion: JSON from outside may be deeper than
        Python's stack."""
        is_json = True
        pending = [value]
        while pending:
            item = pending.pop()
            kind = type(item)
            if kind not in types:
                raise self._refusal(item)
            if kind is dict:
                for key in item:
                    if type(key) is not str:
                        raise self._refusal(key)
                pending.extend(item.values())
            elif kind is list or kind is tuple:
                pending.extend(item)
            elif kind is bytes or (kind is float and not math.isfinite(item)):
                is_json = False
        return is_json

    def _refusal(self, value: Any) -> CodecError:
        wanted = "JSON" if self._kind.python_type is object else self._kind.python_type.__qualname__
        return CodecError(
            f"column {self._kind.name!r}: {type(value).__qualname__} has come instead of {wanted}"
        )


def _codec_of(kind: type) -> ColumnCodec[Any] | None:
    """For standard types of which msgspec would lose something: seconds in a time's offset, an
    enum's own values."""
    if kind is datetime.time:
        return ColumnCodec(
            datetime.time.isoformat, datetime.time.fromisoformat, kind, immutable=True, wire=str
        )
    if issubclass(kind, enum.Enum) and {type(member.value) for member in kind} not in (
        {str},
        {int},
    ):
        return ColumnCodec(
            lambda member: member.name, kind.__getitem__, kind, immutable=True, wire=str
        )
    return None


def _said(codec: ColumnCodec[Any] | None, kind: type) -> frozenset[type] | None:
    """The types in a value without a type of its own; None: its type is known."""
    if codec is None:
        return _JSON if kind is object else None
    return _BUILTIN if codec.wire is Any else None


def _wire_of(codec: ColumnCodec[Any] | None, kind: ColumnKind) -> Any:
    if codec is not None:
        return codec.wire
    return int | float if kind.python_type is float else kind.python_type


def _nested(item: Any, depth: int | None, sequence: type[list[Any] | tuple[Any, ...]]) -> Any:
    """The annotation of an array; with any number of dimensions, each item may be an array
    itself."""
    item = wire = item | None
    for dimension in range(_DEEPEST if depth is None else depth):
        inner = item | wire if depth is None and dimension else wire
        wire = (tuple[inner, ...] if sequence is tuple else list[inner]) | None  # type: ignore[valid-type]
    return wire
