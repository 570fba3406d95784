"""Values of which only the data says what they are: those of JSON columns, and what a declared
codec makes.

Owns their bytes: JSON text, or msgpack for what JSON has not (bytes, NaN, infinity). Whoever wrote
them, they are read in time that grows as their length: keys are strings, of which nobody knows the
hashes. Numbers as keys can be chosen so that all of them collide, and are refused before a dict is
made of them.
"""

from __future__ import annotations

from typing import Any

import msgspec

from repocache.errors import CodecError

BIG = 1
"""The type of an extension that is an integer beyond 64 bits."""
_BINARY = b"\x80"
"""JSON text begins with a byte below; msgpack of what JSON has not (a float, bytes, a list, a dict)
with none."""

_MAPS = frozenset(range(0x80, 0x90))
_LISTS = frozenset(range(0x90, 0xA0))
_STRINGS = frozenset({*range(0xA0, 0xC0), 0xD9, 0xDA, 0xDB})
_BODIES = (
    {0xCA: 4, 0xCB: 8}
    | {at: 1 << (at & 3) for at in range(0xCC, 0xD4)}
    | {0xD4 + n: 1 + (1 << n) for n in range(5)}
)
"""Bytes behind the first one, where that says how many."""
_LENGTHS = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xC7: 1, 0xC8: 2, 0xC9: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
"""Bytes of the length, of what has one."""
_EXTENSIONS = frozenset({0xC7, 0xC8, 0xC9})
_COUNTS = {0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}
"""Bytes of the count, of lists and of maps."""
_LONG_MAPS = frozenset({0xDE, 0xDF})


def pack(value: Any, *, is_json: bool) -> bytes:
    """`is_json`: JSON text can say all of it. Raises what msgspec raises for what cannot be
    encoded."""
    return _WRITER.encode(value) if is_json else _ENCODER.encode(widened(value))


def unpack(data: bytes) -> Any:
    """The inverse of `pack`, whatever the bytes. Raises CodecError, and what msgspec raises."""
    return _READER.decode(data) if is_text(data) else unpack_msgpack(data)


def is_text(data: bytes) -> bool:
    """Whether it is JSON, and not msgpack."""
    return data[:1] < _BINARY


def unpack_msgpack(data: bytes) -> Any:
    """Raises CodecError for keys that are no strings, and what msgspec raises."""
    check_keys(data)
    return _DECODER.decode(data)


def widened(value: Any) -> Any:
    """The same with integers beyond 64 bits as extensions."""
    if isinstance(value, dict):
        return {key: widened(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [widened(item) for item in value]
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
        return msgspec.msgpack.Ext(
            BIG, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)
        )
    return value


def check_keys(data: bytes) -> None:
    """Raise CodecError unless all keys of msgpack's maps are strings. Looks at each item once, and
    makes none."""
    at, left, keyed = 0, [1], [False]  # how many items each list or map still has, keys and values
    try:
        while left:
            if not left[-1]:
                left.pop()
                keyed.pop()
                continue
            first, is_key = data[at], keyed[-1] and left[-1] % 2 == 0
            if is_key and first not in _STRINGS:
                raise CodecError(f"a key of a map begins with {first:#x}, and is no string")
            left[-1] -= 1
            at += 1
            if first in _MAPS or first in _LISTS:
                keyed.append(first in _MAPS)
                left.append((first & 0x0F) << keyed[-1])
            elif first in _COUNTS:
                keyed.append(first in _LONG_MAPS)
                left.append(int.from_bytes(data[at : at + _COUNTS[first]], "big") << keyed[-1])
                at += _COUNTS[first]
            elif first in _LENGTHS:
                end = at + _LENGTHS[first]
                at = end + int.from_bytes(data[at:end], "big") + (first in _EXTENSIONS)
            else:
                at += first & 0x1F if first in _STRINGS else _BODIES.get(first, 0)
    except IndexError:
        raise CodecError("the bytes end within a value") from None


def _read_big(code: int, data: memoryview) -> int:
    if code != BIG:
        raise CodecError(f"an extension of type {code} is not ours")
    return int.from_bytes(data, "big", signed=True)


_WRITER = msgspec.json.Encoder()
_READER = msgspec.json.Decoder()
_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(ext_hook=_read_big)
