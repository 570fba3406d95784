"""What goes into a row's codec comes out as it was, and what would not is refused."""

import datetime
import enum
import math
import uuid
from collections.abc import Callable
from decimal import Decimal
from ipaddress import IPv4Address
from typing import Any

import msgspec
import pytest
from asyncpg.pgproto.pgproto import UUID as AsyncpgUUID  # noqa: N811
from hypothesis import given
from hypothesis import strategies as st

from repocache.codec.column import ColumnCodec, ColumnKind
from repocache.codec.row import RowCodec
from repocache.errors import CodecError, ConfigurationError
from tests.cache.exactly import exactly


class Text(enum.Enum):
    A = "a"
    B = "b"


class Number(enum.IntEnum):
    ONE = 1
    TWO = 2


class Mixed(enum.Enum):
    PAIR = (1, 2)
    NOTHING = None
    WORD = "word"


class Point(msgspec.Struct):
    x: int
    y: int


class Cents(int):
    """A type that only its codec knows."""


POINT: ColumnCodec[Point] = ColumnCodec(lambda p: [p.x, p.y], lambda wire: Point(*wire))
CENTS: ColumnCodec[Cents] = ColumnCodec(int, Cents, Cents, immutable=True, wire=int)

utc = st.just(datetime.UTC)
offsets = st.timedeltas(
    datetime.timedelta(hours=-15, seconds=-59), datetime.timedelta(hours=15, seconds=59)
)
zones = offsets.map(
    lambda offset: datetime.timezone(offset - datetime.timedelta(microseconds=offset.microseconds))
)
# NaN has no equal; a test of its own follows.
decimals = st.decimals(allow_nan=False)
floats = st.floats(allow_nan=False)
json = st.recursive(
    st.none() | st.booleans() | st.integers() | floats | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
SCALARS: dict[type, st.SearchStrategy[Any]] = {
    int: st.integers() | st.integers(-(2**63), 2**64 - 1),
    float: floats,
    bool: st.booleans(),
    str: st.text(),
    bytes: st.binary(),
    Decimal: decimals,
    datetime.datetime: st.datetimes() | st.datetimes(timezones=utc),
    datetime.date: st.dates(),
    datetime.time: st.times() | st.times(timezones=zones),
    datetime.timedelta: st.timedeltas(),
    uuid.UUID: st.uuids(),
    Text: st.sampled_from(Text),
    Number: st.sampled_from(Number),
    Mixed: st.sampled_from(Mixed),
    object: json,
}


def back(kind: ColumnKind, value: Any) -> Any:
    codec = RowCodec([ColumnKind("before", int), kind, ColumnKind("after", str)])
    before, value, after = codec.decode(codec.encode((1, value, "x")))
    assert (before, after) == (1, "x")
    return value


@pytest.mark.parametrize("python_type", SCALARS, ids=lambda each: each.__name__)
@given(data=st.data())
def test_every_type_comes_back_as_it_was(python_type: type, data: st.DataObject) -> None:
    value = data.draw(st.none() | SCALARS[python_type])
    assert exactly(back(ColumnKind("c", python_type), value)) == exactly(value)


@pytest.mark.parametrize("sequence", [list, tuple])
@pytest.mark.parametrize("python_type", SCALARS, ids=lambda each: each.__name__)
@given(data=st.data())
def test_arrays_of_every_type_come_back(
    python_type: type, sequence: type[list[Any] | tuple[Any, ...]], data: st.DataObject
) -> None:
    if python_type is object:
        # An array of JSON lists has more dimensions only in name: what is in it is JSON either way.
        sequence, depth = list, 1
    else:
        depth = data.draw(st.integers(1, 3))
    items: st.SearchStrategy[Any] = st.none() | SCALARS[python_type]
    for _ in range(depth):
        items = st.lists(items, max_size=3).map(sequence)
    value = data.draw(items)
    for declared in (depth, None):
        kind = ColumnKind("c", python_type, declared, sequence)
        assert exactly(back(kind, value)) == exactly(value)


@pytest.mark.parametrize("python_type", [int, Decimal, Mixed, datetime.time])
def test_any_number_of_dimensions_ends_at_six(python_type: type) -> None:
    value: list[Any] = [next(iter(Mixed)) if python_type is Mixed else python_type(1)]
    for _ in range(5):
        value = [value, [None]]
    assert exactly(back(ColumnKind("c", python_type, None), value)) == exactly(value)


@pytest.mark.parametrize(
    "text", ["NaN", "sNaN", "-NaN", "Infinity", "-Infinity", "1.10", "-0", "1E+5", "0E-20"]
)
def test_a_decimal_keeps_its_exponent(text: str) -> None:
    assert exactly(back(ColumnKind("c", Decimal), Decimal(text))) == exactly(Decimal(text))


@pytest.mark.parametrize("python_type", [float, object])
def test_a_float_may_be_no_number(python_type: type) -> None:
    assert math.isnan(back(ColumnKind("c", python_type), math.nan))


@pytest.mark.parametrize("zone", [None, datetime.UTC])
@pytest.mark.parametrize("moment", [datetime.datetime.max, datetime.datetime.min])  # noqa: DTZ901
def test_what_stands_for_infinity_comes_back(
    moment: datetime.datetime, zone: datetime.timezone | None
) -> None:
    moment = moment.replace(tzinfo=zone)
    assert exactly(back(ColumnKind("c", datetime.datetime), moment)) == exactly(moment)


def test_an_aware_datetime_comes_back_in_utc() -> None:
    east = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=2)))
    came = back(ColumnKind("c", datetime.datetime), east)
    assert came == east
    assert came.tzinfo is datetime.UTC


def test_the_uuid_of_asyncpg_comes_back_as_the_standard_one() -> None:
    value = uuid.uuid4()
    came = back(ColumnKind("c", uuid.UUID), AsyncpgUUID(value.hex))
    assert came == value
    assert type(came) is uuid.UUID


def test_a_whole_number_in_a_float_column_stays_whole() -> None:
    assert type(back(ColumnKind("c", float), 1)) is int


def test_a_big_integer_takes_its_neighbours_along() -> None:
    kinds = [ColumnKind(python_type.__name__, python_type) for python_type in SCALARS]
    row = (
        *(
            2**80,
            -0.0,
            True,
            "x",
            b"\xff",
            Decimal("1.10"),
            datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC),
        ),
        *(datetime.date(2020, 1, 1), datetime.time(1), datetime.timedelta(-1, 1), uuid.uuid4()),
        *(Text.A, Number.TWO, Mixed.PAIR, {"a": [-(2**70), None]}),
    )
    codec = RowCodec(kinds)
    assert exactly(codec.decode(codec.encode(row))) == exactly(row)


@pytest.mark.parametrize("codec, value", [(POINT, Point(1, -2)), (CENTS, Cents(3))])
def test_a_declared_codec_keeps_a_type_of_your_own(codec: ColumnCodec[Any], value: object) -> None:
    assert back(ColumnKind("c", object, codec=codec), value) == value
    assert type(back(ColumnKind("c", object, codec=codec), value)) is type(value)
    assert back(ColumnKind("c", object, codec=codec), None) is None


def test_a_declared_codec_serves_arrays_too() -> None:
    value = [[Cents(1), None], [], None]
    assert exactly(back(ColumnKind("c", object, None, codec=CENTS), value)) == exactly(value)


@pytest.mark.parametrize(
    "kind, value",
    [
        (ColumnKind("c", int), "1"),
        (ColumnKind("c", int), True),
        (ColumnKind("c", str), Decimal(1)),
        (ColumnKind("c", bool), 1),
        (ColumnKind("c", datetime.date), datetime.datetime(2020, 1, 1)),  # noqa: DTZ001
        (ColumnKind("c", datetime.time), datetime.datetime(2020, 1, 1)),  # noqa: DTZ001
        (ColumnKind("c", Text), Number.ONE),
        (ColumnKind("c", Mixed), Text.A),
        (ColumnKind("c", object), Decimal(1)),
        (ColumnKind("c", object), {"at": [datetime.date(2020, 1, 1)]}),
        (ColumnKind("c", object), {1: "a"}),
        (ColumnKind("c", object), {"a": b"bytes"}),
        (ColumnKind("c", object), {"a": (1, 2)}),
        (ColumnKind("c", str), "\ud800"),
        (ColumnKind("c", int, 1), 5),
        (ColumnKind("c", int, 1), [["deep"]]),
        (ColumnKind("c", int, 1), [[1]]),
        (ColumnKind("c", int, None), 5),
        (ColumnKind("c", int, 1), (1,)),
        (ColumnKind("c", Decimal, None), [[Decimal(1), 1.5]]),
        (ColumnKind("c", object, codec=CENTS), Point(1, 2)),
        (ColumnKind("c", object, codec=POINT), Cents(3)),
        (
            ColumnKind("c", object, codec=ColumnCodec(lambda value: value, lambda value: value)),
            Decimal(1),
        ),
    ],
)
def test_a_value_that_would_change_is_refused(kind: ColumnKind, value: object) -> None:
    codec = RowCodec([kind])
    with pytest.raises(CodecError):
        codec.encode((value,))


def test_a_refusal_names_the_column_and_both_types() -> None:
    with pytest.raises(CodecError, match="column 'price': float has come instead of Decimal"):
        RowCodec([ColumnKind("price", Decimal)]).encode((1.5,))


def test_what_is_inside_is_checked_in_every_row() -> None:
    codec = RowCodec([ColumnKind("c", object), ColumnKind("d", int, 1)])
    codec.encode(({"a": 1}, [1]))
    with pytest.raises(CodecError):
        codec.encode(({"a": Decimal(1)}, [1]))
    with pytest.raises(CodecError):
        codec.encode(({"a": 1}, ["1"]))


def test_more_shapes_than_are_remembered_are_still_checked() -> None:
    codec = RowCodec([ColumnKind(str(at), int) for at in range(10)])
    for pattern in range(600):
        row = tuple(None if pattern >> at & 1 else at for at in range(10))
        assert codec.decode(codec.encode(row)) == row
        assert len(codec._shapes) <= 256
    with pytest.raises(CodecError):
        codec.encode(("x",) * 10)


def test_a_value_nested_too_deeply_is_refused() -> None:
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(CodecError):
        RowCodec([ColumnKind("c", object)]).encode((deep,))


@pytest.mark.parametrize("row", [(), (1,), (1, 2, 3)])
def test_a_row_of_another_width_is_refused(row: tuple[int, ...]) -> None:
    codec = RowCodec([ColumnKind("a", int), ColumnKind("b", int)])
    with pytest.raises(CodecError, match="for 2 columns"):
        codec.encode(row)


def test_the_size_is_bounded() -> None:
    codec = RowCodec([ColumnKind("c", bytes)], max_bytes=100)
    size = len(codec.encode((b"x" * 90,)))
    codec.encode((b"x" * (90 + 100 - size),))
    with pytest.raises(CodecError, match="oversized"):
        codec.encode((b"x" * (91 + 100 - size),))


@pytest.mark.parametrize(
    "build, words",
    [
        (lambda: RowCodec([]), "at least one"),
        (lambda: RowCodec([ColumnKind("c", int)], max_bytes=0), "max_bytes"),
        (lambda: RowCodec([ColumnKind("where", complex)]), "'where'.*declare a ColumnCodec"),
        (lambda: RowCodec([ColumnKind("where", IPv4Address)]), "'where'"),
        (
            lambda: RowCodec(
                [
                    ColumnKind(
                        "c",
                        object,
                        codec=ColumnCodec(str, str, wire=complex | list[int] | set[int]),
                    )
                ]
            ),
            "'c'",
        ),
        (
            lambda: RowCodec([ColumnKind("c", object, codec=ColumnCodec(str, str, wire="int"))]),
            "'c'",
        ),
        (lambda: ColumnCodec(5, str), "encode=5"),  # type: ignore[arg-type]
        (lambda: ColumnCodec(str, None), "decode=None"),  # type: ignore[arg-type]
        (lambda: ColumnCodec(str, str, list[int]), "python_type=list"),
    ],
)
def test_what_cannot_be_kept_is_refused_when_built(build: Callable[[], object], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        build()
