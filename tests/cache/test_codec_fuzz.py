"""Whatever the bytes: a row of the right types, or CodecError."""

import datetime
import enum
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from repocache.cache.entry import RowRequest, Source
from repocache.cache.policies import CacheAside
from repocache.cache.signature import UNSIGNED, Signature, Signing
from repocache.cache.values import Values
from repocache.codec.column import ColumnCodec, ColumnKind
from repocache.codec.row import RowCodec
from repocache.errors import CodecError
from repocache.events import Event, ValueRefused
from repocache.keys import KeyOwner, Keys


class Mixed(enum.Enum):
    PAIR = (1, 2)
    WORD = "word"


def point(wire: Any) -> tuple[int, int]:
    return wire[0], wire["y"]


KINDS = [
    ColumnKind("int", int),
    ColumnKind("float", float),
    ColumnKind("decimal", Decimal),
    ColumnKind("aware", datetime.datetime),
    ColumnKind("time", datetime.time),
    ColumnKind("interval", datetime.timedelta),
    ColumnKind("uuid", uuid.UUID),
    ColumnKind("enum", Mixed),
    ColumnKind("json", object),
    ColumnKind("array", Decimal, None),
    ColumnKind("point", object, codec=ColumnCodec(list, point)),
]
CODEC = RowCodec(KINDS)
ROW = (
    *(
        1 << 70,
        1.5,
        Decimal("1.10"),
        datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC),
        datetime.time(1, 2),
    ),
    *(datetime.timedelta(1), uuid.UUID(int=5), Mixed.PAIR, {"a": [1, None]}, [[Decimal(1)]], None),
)
GOOD = [CODEC.encode(ROW), CODEC.encode((2, *ROW[1:]))]
MARKS = st.sampled_from([b"", b"\xc1", b"\xfe"])


def decode(data: bytes) -> None:
    """Only CodecError may come; a row that comes has the columns' types."""
    try:
        row = CODEC.decode(data)
    except CodecError:
        return
    for kind, value in zip(KINDS, row, strict=True):
        plain = kind.depth == 0 and kind.codec is None and kind.python_type is not float
        assert value is None or not plain or isinstance(value, kind.python_type)


@given(mark=MARKS, data=st.binary(max_size=300))
@example(mark=b"\xc1", data=b"\xdd\xff\xff\xff\xff")
@example(mark=b"\xc1", data=b"\x9b" + b"\xc0" * 8 + b"\xdf\xff\xff\xff\xff")
@example(mark=b"\xc1", data=b"\x9b" + b"\xc0" * 8 + b"\x91" * 100_000)
@example(mark=b"\xfe", data=b"\x91" * 100_000)
@example(mark=b"\xfe", data=b"\x9b\xc7\x01\x02\x05" + b"\xc0" * 10)
@example(mark=b"", data=b"")
def test_foreign_bytes(mark: bytes, data: bytes) -> None:
    decode(mark + data)


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text()
    | st.binary(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(
    mark=MARKS,
    values=st.lists(anything, min_size=len(KINDS), max_size=len(KINDS)),
    kept=st.integers(0, len(KINDS)),
)
def test_rows_of_other_values(mark: bytes, values: list[Any], kept: int) -> None:
    good = msgspec.msgpack.decode(GOOD[1][1:])
    decode(mark + msgspec.msgpack.encode([*good[:kept], *values[kept:]]))


@given(st.sampled_from(GOOD), st.integers(0, 200), st.integers(0, 255))
def test_a_changed_byte(data: bytes, at: int, byte: int) -> None:
    at %= len(data)
    decode(data[:at] + bytes([byte]) + data[at + 1 :])


class AnyId:
    """Whatever the row's id is, it is the key's."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


KEYS = Keys(KeyOwner("user"), [int])
SIGNATURES = [UNSIGNED, Signing("app", ("a secret of sixteen",)).signature("f1")]


async def nothing(wanted: Sequence[RowRequest]) -> Mapping[Any, Any]:
    return {}


def told(signature: Signature, value: bytes) -> None:
    """A cell, or None and an event; no exception, whatever lies there."""
    events: list[Event] = []
    source = Source(KEYS, "f1", CacheAside(), CODEC, nothing, lambda row: row[0], signature)
    for id in (AnyId(), 7):
        events.clear()
        cell = Values(source, 400, events.append).decode("user:7", value, id)
        assert [type(event) for event in events] == ([] if cell else [ValueRefused])
        if cell is not None:
            assert cell.row is None or len(cell.row) == len(KINDS)
            assert cell.size >= 0


@given(
    mark=MARKS,
    data=st.binary(max_size=500),
    good=st.sampled_from([b"", *GOOD]),
    at=st.integers(0, 300),
)
@example(mark=b"", data=b"N", good=b"", at=0)
def test_whatever_lies_under_a_key(mark: bytes, data: bytes, good: bytes, at: int) -> None:
    """Foreign bytes, and values of which a part is another."""
    spoilt = good[:at] + data + good[at + len(data) :]
    for signature in SIGNATURES:
        for value in (data, b"V" + mark + data, b"V" + spoilt, b"N" + data, b"L" + data):
            told(signature, value)
            told(signature, signature.sign("user:7", value))


@pytest.mark.parametrize("data", GOOD)
def test_a_cut_or_longer_row_is_refused(data: bytes) -> None:
    CODEC.decode(data)
    for end in range(len(data)):
        with pytest.raises(CodecError):
            CODEC.decode(data[:end])
    with pytest.raises(CodecError):
        CODEC.decode(data + b"\xc0")


@pytest.mark.parametrize("data", [b"{}", b"\x80\x04\x95", b"null", b"\x00", b"\x9b"])
def test_another_format_is_named(data: bytes) -> None:
    with pytest.raises(CodecError, match="does not begin with"):
        CODEC.decode(data)


def test_a_row_of_other_columns_is_refused() -> None:
    other = RowCodec([ColumnKind("a", str), *KINDS[1:]])
    with pytest.raises(CodecError):
        CODEC.decode(other.encode(("x", *ROW[1:])))


PRIME = (1 << 61) - 1
"""All its multiples have the hash 0."""


def packed_map(keys: list[Any]) -> bytes:
    """Also of keys that msgspec would not write."""
    items = b"".join(msgspec.msgpack.encode(key) + b"\xc0" for key in keys)
    return b"\xde" + len(keys).to_bytes(2, "big") + items


NO_STRINGS = [
    *(
        msgspec.msgpack.Ext(1, PRIME.to_bytes(9, "big")),
        7,
        -7,
        1 << 63,
        1.5,
        None,
        True,
        b"bytes",
        [1, 2],
    ),
    datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC),
]
JSON = RowCodec([ColumnKind("c", object)])
DECLARED = RowCodec([ColumnKind("c", object, codec=ColumnCodec(list, lambda wire: wire))])


BEFORE = ("is no string", "not such a row: ValidationError", "is no string")
"""Why these are refused: the keys, or the type of the value, before a dict is made."""


def under_both(value: bytes) -> list[bytes]:
    """Rows with this msgpack in the place of the value: as a value of its own, and beside a wide
    integer."""
    return [b"\xc1\x91" + msgspec.msgpack.encode(value), b"\xc1\x91" + value, b"\xfe\x91" + value]


@pytest.mark.parametrize("key", NO_STRINGS, ids=lambda key: type(key).__name__)
@pytest.mark.parametrize("codec", [JSON, DECLARED], ids=["json", "declared"])
def test_keys_that_are_no_strings_are_refused(codec: RowCodec, key: Any) -> None:
    """Whose hashes anybody can choose: a dict of n of them takes n * n steps."""
    bad = packed_map(["a", key])
    for value in (bad, b"\x92\xc0" + bad, b"\x81\xa1a" + bad, b"\xdd\x00\x00\x00\x01" + bad):
        for data, why in zip(under_both(value), BEFORE, strict=True):
            with pytest.raises(CodecError, match=why):
                codec.decode(data)


def test_strings_as_keys_come_back_from_msgpack_too() -> None:
    """NaN, and bytes, are what JSON has not."""
    lengths = (1, 31, 32, 255, 256, 65_536)
    for json in (
        {"a" * length: float("inf") for length in lengths},
        [{"a": [float("inf"), 1 << 90]}],
    ):
        assert JSON.decode(JSON.encode((json,))) == (json,)
    value: list[Any] = [
        {"a": b"bytes" * 100, "b": [1 << 80, None, 1.5, True, "x" * 300, list(range(300))]}
    ]
    assert DECLARED.decode(DECLARED.encode((value,))) == (value,)


@pytest.mark.parametrize(
    "inner", [b"bytes", datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)], ids=repr
)
def test_what_no_json_column_holds_is_refused(inner: Any) -> None:
    data = b"\xc1\x91" + msgspec.msgpack.encode(msgspec.msgpack.encode([inner, float("inf")]))
    with pytest.raises(CodecError):
        JSON.decode(data)


def effort(run: Callable[[], object]) -> float:
    """CPU seconds, the best of several."""

    def once() -> float:
        begun = time.process_time()
        run()
        return time.process_time() - begun

    return min(once() for _ in range(5))


@pytest.mark.parametrize(
    "make",
    [
        lambda n: (
            b"\xc1\x91"
            + msgspec.msgpack.encode(msgspec.json.encode({str(at): at for at in range(n)}))
        ),
        lambda n: RowCodec([ColumnKind("c", object)], 1 << 30).encode(
            ({str(at): float("inf") for at in range(n)},)
        ),
        lambda n: RowCodec([ColumnKind("c", object)], 1 << 30).encode(([10**4000] * (n // 400),)),
        lambda n: b"\xfe\x91" + msgspec.msgpack.encode(["x"] * n),
    ],
    ids=["text", "msgpack", "long numbers", "wide"],
)
def test_the_effort_grows_as_the_length(make: Callable[[int], bytes]) -> None:
    """Of sixteen times the length: linear is 16 times the effort, quadratic 256; memory and its
    collector add some."""

    def decoded(data: bytes) -> None:
        try:
            RowCodec([ColumnKind("c", object)], 1 << 30).decode(data)
        except CodecError:
            return

    small, large = make(10_000), make(160_000)
    assert effort(lambda: decoded(large)) < 96 * effort(lambda: decoded(small))
