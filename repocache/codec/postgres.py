"""Codecs for PostgreSQL's own types: ranges, multiranges, network addresses, hstore.

Owns their encoding. Which column gets which codec is decided in `kinds`.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Generic, TypeVar

import asyncpg
import msgspec
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql.ranges import MultiRange
from sqlalchemy.types import TypeEngine

from repocache.codec.column import ColumnCodec

T = TypeVar("T")
AnyRange = postgresql.Range[Any]
_BOUNDS = frozenset({"[)", "(]", "()", "[]"})


class RangeWire(msgspec.Struct, Generic[T], omit_defaults=True):
    """A range as it is encoded. A map, not a list: in an array of ranges a list is one more
    dimension."""

    lower: T | None = None
    upper: T | None = None
    bounds: str = "[)"
    empty: bool = False
    driver: bool = False


class MultiRangeWire(msgspec.Struct, Generic[T]):
    """As RangeWire: a map, so that it is no array."""

    ranges: list[RangeWire[T]]


def encode_range(value: AnyRange | asyncpg.Range) -> RangeWire[Any]:
    """SQLAlchemy's range, or asyncpg's where no type of SQLAlchemy has turned it into one."""
    if isinstance(value, asyncpg.Range):
        bounds = ("[" if value.lower_inc else "(") + ("]" if value.upper_inc else ")")
        return RangeWire(value.lower, value.upper, bounds, value.isempty, driver=True)
    return RangeWire(value.lower, value.upper, value.bounds, value.empty)


def decode_range(wire: RangeWire[Any]) -> AnyRange | asyncpg.Range:
    """The inverse. Raises ValueError for bounds that no range has."""
    lower, upper = wire.bounds[:1], wire.bounds[1:]
    if wire.bounds not in _BOUNDS:
        raise ValueError(f"{wire.bounds!r} are no bounds")
    if wire.driver:
        return asyncpg.Range(
            wire.lower, wire.upper, lower_inc=lower == "[", upper_inc=upper == "]", empty=wire.empty
        )
    bounds: Any = wire.bounds
    return postgresql.Range(wire.lower, wire.upper, bounds=bounds, empty=wire.empty)


def range_codec(item: Any) -> ColumnCodec[Any]:
    """For ranges over values of this type."""
    return ColumnCodec(encode_range, decode_range, immutable=True, wire=RangeWire[item])


def multirange_codec(item: Any) -> ColumnCodec[Any]:
    """For multiranges over values of this type."""

    def encode(value: list[AnyRange]) -> MultiRangeWire[Any]:
        return MultiRangeWire([encode_range(each) for each in value])

    def decode(wire: MultiRangeWire[Any]) -> list[AnyRange]:
        return MultiRange([decode_range(each) for each in wire.ranges])

    return ColumnCodec(encode, decode, python_type=MultiRange, wire=MultiRangeWire[item])


_ADDRESSES: Mapping[str, Any] = {
    each.__name__: each
    for each in (
        *(str, ipaddress.IPv4Address, ipaddress.IPv4Interface, ipaddress.IPv4Network),
        *(ipaddress.IPv6Address, ipaddress.IPv6Interface, ipaddress.IPv6Network),
    )
}


def encode_address(value: object) -> str:
    """What asyncpg gives for inet and cidr: an address, an interface or a network; text if it was
    told so."""
    name = type(value).__name__
    if _ADDRESSES.get(name) is not type(value):
        raise TypeError(f"{type(value)} is no network address")
    return f"{name} {value}"


def decode_address(wire: str) -> object:
    """The inverse. Raises KeyError or ValueError for other text."""
    name, _, text = wire.partition(" ")
    return _ADDRESSES[name](text)


ADDRESS: ColumnCodec[object] = ColumnCodec(encode_address, decode_address, immutable=True, wire=str)
HSTORE: ColumnCodec[dict[str, str | None]] = ColumnCodec(
    lambda value: value, lambda wire: wire, python_type=dict, wire=dict[str, str | None]
)
CODECS: Mapping[type[TypeEngine[Any]], ColumnCodec[Any]] = {
    postgresql.INT4RANGE: range_codec(int),
    postgresql.INT8RANGE: range_codec(int),
    postgresql.NUMRANGE: range_codec(Decimal),
    postgresql.DATERANGE: range_codec(datetime.date),
    postgresql.TSRANGE: range_codec(datetime.datetime),
    postgresql.TSTZRANGE: range_codec(datetime.datetime),
    postgresql.INT4MULTIRANGE: multirange_codec(int),
    postgresql.INT8MULTIRANGE: multirange_codec(int),
    postgresql.NUMMULTIRANGE: multirange_codec(Decimal),
    postgresql.DATEMULTIRANGE: multirange_codec(datetime.date),
    postgresql.TSMULTIRANGE: multirange_codec(datetime.datetime),
    postgresql.TSTZMULTIRANGE: multirange_codec(datetime.datetime),
    postgresql.INET: ADDRESS,
    postgresql.CIDR: ADDRESS,
    postgresql.HSTORE: HSTORE,
}
