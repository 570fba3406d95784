"""Which columns and values may be a condition: as PostgreSQL finds them equal."""

from __future__ import annotations

import datetime
import decimal
import enum
import uuid
from typing import Any

import pytest
from sqlalchemy import (
    CHAR,
    JSON,
    BigInteger,
    Boolean,
    Column,
    Connection,
    Date,
    DateTime,
    Double,
    Enum,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    SmallInteger,
    String,
    Table,
    Text,
    Time,
    Uuid,
    any_,
    bindparam,
    insert,
    literal,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY, CITEXT, DOMAIN, INET, MACADDR, TIMESTAMP
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.types import TypeDecorator, TypeEngine

from repocache.queries.outlines import shapes_of
from repocache.queries.sources import Sources
from repocache.testing import Endpoints
from tests.queries.touched import touched

UTC = datetime.UTC
WEST = datetime.timezone(datetime.timedelta(hours=-5))
ID = uuid.UUID("abcdef12-1234-5678-1234-567812345678")


class Colour(enum.Enum):
    RED = "r"
    GREEN = "g"


class Lower(TypeDecorator[str]):
    """Of a text the small letters alone."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        return None if value is None else value.lower()


class Hashed(TypeDecorator[str]):
    """Nobody gets back what he gave."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        return None if value is None else f"hash {value}"


class Cents(TypeDecorator[int]):
    """An integer, kept as a number of two digits."""

    impl = Numeric(10, 2)
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Any) -> Any:
        return None if value is None else decimal.Decimal(value) / 100

    def process_result_value(self, value: Any, dialect: Any) -> int | None:
        return None if value is None else int(value * 100)


D = decimal.Decimal
FIT: list[tuple[TypeEngine[Any], list[Any]]] = [
    (Integer(), [0, 1, -1, 10, 100, 2**31 - 1]),
    (SmallInteger(), [0, 7]),
    (BigInteger(), [0, 10**17, 2**63 - 1]),
    (Boolean(), [True, False]),
    (String(), ["", "a", "A", "a ", "a&b=c", "é", "e\u0301", "x" * 300, "x" * 300 + "y"]),
    (Text(collation="C"), ["a", "A"]),
    (String(3), ["a", "abc"]),
    (Uuid(), [ID, uuid.UUID(int=0)]),
    (Uuid(as_uuid=False), [str(ID), str(uuid.UUID(int=0))]),
    (Date(), [datetime.date(2024, 2, 29), datetime.date.max]),
    (
        DateTime(timezone=True),
        [
            datetime.datetime(2024, 1, 1, 12, tzinfo=UTC),
            datetime.datetime(2024, 1, 1, 7, tzinfo=WEST),
            datetime.datetime(2024, 1, 1, 12, 0, 0, 1, tzinfo=UTC),
        ],
    ),
    (DateTime(), [datetime.datetime(2024, 1, 1, 12), datetime.datetime(2024, 1, 1, 12, 1)]),  # noqa: DTZ001
    (TIMESTAMP(precision=0), [datetime.datetime(2024, 1, 1, 12)]),  # noqa: DTZ001
    (Numeric(), [D("1"), D("1.0"), D("1.00"), D("1e1"), D(10), D("0.1"), D("-0"), D(0), 7]),
    (Numeric(10, 2), [D("1"), D("1.0"), D("1.10")]),
    (LargeBinary(), [b"", b"a", b"\x00\xff"]),
    (Enum(Colour), [Colour.RED, Colour.GREEN]),
    (Enum("r", "g", native_enum=False), ["r", "g"]),
    (DOMAIN("short", String(5)), ["a", "b"]),
    (DOMAIN("moment", DateTime(timezone=True)), [datetime.datetime(2024, 1, 1, 12, tzinfo=UTC)]),
    (Lower(), ["a", "b"]),
    (Cents(), [100, 101]),
]
UNFIT: list[tuple[TypeEngine[Any], str]] = [
    (Float(), "rounded|look different"),
    (Double(), "rounded|look different"),
    (Float(asdecimal=True), "rounded|look different"),
    (CHAR(5), "padded|several texts"),
    (CITEXT(), "look different"),
    (DOMAIN("folded", CITEXT()), "look different"),
    (DOMAIN("folded", Text().with_variant(CITEXT(), "postgresql")), "look different"),
    (DOMAIN("outer", DOMAIN("inner", CHAR(3))), "padded|several texts"),
    (String(collation="folding"), "collation 'folding'"),
    (DOMAIN("collated", Text(), collation="folding"), "collation 'folding'"),
    (MACADDR(), "look different"),
    (INET(), "look different"),
    (Time(), "look different"),
    (JSON(), "look different"),
    (ARRAY(Integer), "look different"),
]
REFUSED_VALUES: list[tuple[TypeEngine[Any], Any]] = [
    (Numeric(10, 2), D("1.005")),
    (Numeric(), D("NaN")),
    (TIMESTAMP(precision=0), datetime.datetime(2024, 1, 1, 12, 0, 0, 600_000)),  # noqa: DTZ001
    (TIMESTAMP(precision=3), datetime.datetime(2024, 1, 1, 12, 0, 0, 600)),  # noqa: DTZ001
    (DateTime(timezone=True), datetime.datetime(2024, 1, 1, 12)),  # noqa: DTZ001
    (DateTime(), datetime.datetime(2024, 1, 1, 12, tzinfo=UTC)),
    (Date(), datetime.datetime(2024, 1, 1)),  # noqa: DTZ001
    (Uuid(as_uuid=False), str(ID).upper()),
    (Uuid(as_uuid=False), "nothing"),
    (Enum(Colour), "RED"),
    (Lower(), "A"),
    (Hashed(), "a"),
    (Integer(), True),
    (Boolean(), 1),
    (Integer(), "5"),
    (String(), 5),
]


def _table(kind: TypeEngine[Any]) -> Table:
    return Table("thing", MetaData(), Column("id", Integer, primary_key=True), Column("v", kind))


def _conditions(table: Table, value: Any) -> tuple[str, ...]:
    statement = select(table.c.id).where(table.c.v == bindparam("given"))
    shapes = shapes_of(statement, Sources([table]), {"given": value}).shapes
    return tuple(name for shape in shapes for name in shape.conditions)


# Of DOMAIN, in SQLAlchemy 2.1.
pytestmark = pytest.mark.filterwarnings("ignore:Type object .* does not refer to an OperatorClass")


async def test_rows_that_are_found_move_the_tag(repocache_endpoints: Endpoints) -> None:
    """Each value is written, and looked for by each."""
    engine = create_async_engine(repocache_endpoints.primary)
    async with engine.connect() as connection:
        for kind, values in FIT:
            found = await connection.run_sync(_found_and_moved, kind, values)
            assert found >= len(values), kind
            await connection.rollback()
    await engine.dispose()


def _found_and_moved(connection: Connection, kind: TypeEngine[Any], values: list[Any]) -> int:
    table = _table(kind)
    table.metadata.create_all(connection)
    for at, written in enumerate(values):
        connection.execute(insert(table).values(id=at, v=written))
    rows = [dict(row._mapping) for row in connection.execute(select(table))]
    found = 0
    for sought in values:
        statement = select(table.c.id).where(table.c.v == sought)
        [tag] = shapes_of(statement, Sources([table])).tags
        assert tag.shape.conditions == ("v",), (kind, sought)
        ids = set(connection.scalars(statement))
        for row in rows:
            moved = touched([tag.shape], None, row) == {tag.text}
            assert moved == (row["id"] in ids), (kind, sought, row)
            found += moved
    return found


@pytest.mark.parametrize("kind, why", UNFIT, ids=lambda value: str(value)[:30])
def test_other_columns_matter(kind: TypeEngine[Any], why: str) -> None:
    table = _table(kind)
    found = shapes_of(select(table.c.id).where(table.c.v == literal("a", kind)), Sources([table]))
    assert [tag.text for tag in found.tags] == ["public.thing()[id,v]"]
    [coarse] = found.coarse
    assert any(each in coarse.why for each in why.split("|"))


@pytest.mark.parametrize("kind, value", REFUSED_VALUES, ids=str)
def test_other_values_say_nothing(kind: TypeEngine[Any], value: object) -> None:
    assert _conditions(_table(kind), value) == ()


@pytest.mark.parametrize("many", [False, True])
def test_a_value_of_another_type_says_nothing(many: bool) -> None:
    """It is cast to that first, which rounds it."""
    table, other = _table(Numeric(10, 2)), Numeric(10, 0)
    condition: Any = table.c.v == literal(D("1.5"), other)
    if many:
        condition = table.c.v == any_(literal([D("1.5")], ARRAY(other)))
    found = shapes_of(select(table.c.id).where(condition), Sources([table]))
    assert [tag.text for tag in found.tags] == ["public.thing()[id,v]"]


async def test_a_value_that_is_rounded_finds_another(repocache_endpoints: Endpoints) -> None:
    """Why some values say nothing: on the way to the database they become others."""
    table = _table(Numeric(10, 2))
    engine = create_async_engine(repocache_endpoints.primary)
    async with engine.connect() as connection:
        await connection.run_sync(table.metadata.create_all)
        await connection.execute(insert(table).values(id=1, v=D("1.01")))
        sought = select(table.c.id).where(table.c.v == D("1.005"))
        assert (await connection.scalars(sought)).all() == [1]
    await engine.dispose()
