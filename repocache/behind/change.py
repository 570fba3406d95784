"""What is to be done to one row: values that are set, and numbers that are added on top. Pure.

Owns how changes of a row become one, and their bytes. What a column takes is `columns`' affair.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

import msgspec

from repocache.errors import CodecError

Number = int | Decimal
_Packed = tuple[str, dict[str, bytes], dict[str, str]]
_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(list[_Packed])


@dataclass(frozen=True, slots=True)
class RowChange:
    """`sets`: encoded values by attribute. `adds`: numbers by attribute, added to what is set, or
    to what the row has."""

    sets: Mapping[str, bytes] = field(default_factory=dict)
    adds: Mapping[str, Number] = field(default_factory=dict)

    def then(self, later: RowChange) -> RowChange:
        """Both as one: of two values the later one counts, also against what was added before."""
        adds = {name: number for name, number in self.adds.items() if name not in later.sets}
        for name, number in later.adds.items():
            adds[name] = adds.get(name, 0) + number
        return RowChange({**self.sets, **later.sets}, adds)

    @property
    def names(self) -> frozenset[str]:
        """Of all attributes that it changes."""
        return frozenset((*self.sets, *self.adds))

    @property
    def size(self) -> int:
        """Bytes, about."""
        return 32 + sum(len(each) + 16 for each in self.sets.values()) + 24 * len(self.adds)


def together(changes: Iterable[tuple[str, RowChange]]) -> dict[str, RowChange]:
    """By key, in the order in which each came first; those of one key as one."""
    found: dict[str, RowChange] = {}
    for key, change in changes:
        before = found.get(key)
        found[key] = change if before is None else before.then(change)
    return found


def pack(changes: Mapping[str, RowChange]) -> bytes:
    """By key. Numbers are text: sums may have more than 64 bits, and decimals all their digits."""
    return _ENCODER.encode(
        [
            (key, each.sets, {name: str(number) for name, number in each.adds.items()})
            for key, each in changes.items()
        ]
    )


def unpack(data: bytes) -> list[tuple[str, RowChange]]:
    """What `pack` made. Raises CodecError, whatever the bytes."""
    try:
        return [
            (key, RowChange(sets, {name: _number(text) for name, text in adds.items()}))
            for key, sets, adds in _DECODER.decode(data)
        ]
    except (msgspec.MsgspecError, ValueError, ArithmeticError, RecursionError) as error:
        raise CodecError(f"the bytes are no changes: {type(error).__name__}") from error


def _number(text: str) -> Number:
    return int(text) if text.lstrip("-").isdecimal() else Decimal(text)
