"""Every type of column: what a cached entity has is what `session.get()` loads, to the type."""

import datetime
import enum
import uuid
from decimal import Decimal
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
from typing import Any

import asyncpg
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.dialects.postgresql import Range
from sqlalchemy.dialects.postgresql.ranges import MultiRange
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeEngine

from repocache.codec.row import RowCodec
from repocache.errors import CodecError, MappingRefused
from repocache.mapping.kinds import kind_of
from repocache.mapping.options import MappingOptions
from repocache.mapping.plan import EntityPlan
from repocache.mapping.rules import MappingRules
from repocache.testing import Endpoints
from tests.mapping.compare import assert_alike, dialect_of, entity_pair, load_rows
from tests.mapping.conftest import MakeTables


class Colour(enum.Enum):
    RED = "red"
    GREEN = (0, 255, 0)


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


NOW = datetime.datetime(2024, 2, 29, 12, 34, 56, 789012, tzinfo=datetime.UTC)
NAIVE = NOW.replace(tzinfo=None)
TODAY = NOW.date()
JSON = {"a": [1, 2.5, None, True, {"b": "é"}], "big": 2**70, "empty": {}}
ZONE = datetime.timezone(datetime.timedelta(hours=-3, minutes=-30, seconds=-15))

EVERYWHERE: dict[str, tuple[TypeEngine[Any], list[Any]]] = {
    "small": (sa.SmallInteger(), [-(2**15), 0]),
    "whole": (sa.Integer(), [2**31 - 1]),
    "big": (sa.BigInteger(), [-(2**63), 2**63 - 1]),
    "real": (sa.Float(), [1.5, -0.0, float("inf")]),
    "double": (sa.Double(), [0.1]),
    "truth": (sa.Boolean(), [True, False]),
    "words": (sa.String(50), ["", "é\n𝄞"]),
    "text": (sa.Text(), ["x" * 5000]),
    "unicode": (sa.Unicode(9), ["ß"]),
    "raw": (sa.LargeBinary(), [b"", b"\x00\xff"]),
    "naive": (sa.DateTime(), [NAIVE, datetime.datetime(1, 1, 1), datetime.datetime(9999, 12, 31)]),  # noqa: DTZ001
    "day": (sa.Date(), [TODAY]),
    "hour": (sa.Time(), [datetime.time(1, 2, 3, 4), datetime.time.max]),
    "span": (
        sa.Interval(),
        [datetime.timedelta(days=3, microseconds=1), datetime.timedelta(days=-1)],
    ),
    "uid": (sa.Uuid(), [uuid.UUID(int=2**127 + 5)]),
    "uid_text": (sa.Uuid(as_uuid=False), [str(uuid.UUID(int=7))]),
    "colour": (sa.Enum(Colour, name="colour"), list(Colour)),
    "level": (sa.Enum(Level, name="level", native_enum=False), list(Level)),
    "label": (sa.Enum("a", "b", name="label"), ["a", "b"]),
    "json": (sa.JSON(), [JSON, [], "text", 5, False]),
    "either": (sa.ARRAY(sa.String()).with_variant(sa.JSON(), "sqlite"), [["a", None], []]),
}
POSTGRES: dict[str, tuple[TypeEngine[Any], list[Any]]] = {
    "money_exact": (
        sa.Numeric(),
        [Decimal("1.10"), Decimal("NaN"), Decimal("-0.00"), Decimal(2**90)],
    ),
    "money_float": (sa.Numeric(10, 2, asdecimal=False), [1.25]),
    "float_exact": (sa.Float(asdecimal=True), [Decimal("1.5")]),
    "nan": (pg.DOUBLE_PRECISION(), [float("-inf")]),
    "aware": (
        sa.DateTime(timezone=True),
        [NOW, datetime.datetime.max.replace(tzinfo=datetime.UTC)],
    ),
    "aware_hour": (
        sa.Time(timezone=True),
        [datetime.time(1, tzinfo=datetime.UTC), datetime.time(1, 2, tzinfo=ZONE)],
    ),
    "span_pg": (pg.INTERVAL(), [datetime.timedelta(days=400, seconds=5)]),
    "jsonb": (pg.JSONB(), [JSON, None, sa.JSON.NULL]),
    "citext": (pg.CITEXT(), ["AbC"]),
    "mac": (pg.MACADDR(), ["08:00:2b:01:02:03"]),
    "mac8": (pg.MACADDR8(), ["08:00:2b:01:02:03:04:05"]),
    "cash": (pg.MONEY(), ["$1,000.50"]),
    "search": (pg.TSVECTOR(), ["'a':1 'b':2"]),
    "oid": (pg.OID(), [2**32 - 1]),
    "inet": (
        pg.INET(),
        [IPv4Address("10.0.0.1"), IPv4Interface("10.0.0.1/8"), IPv6Interface("::1/64")],
    ),
    "inet6": (pg.INET(), [IPv6Address("::1")]),
    "cidr": (pg.CIDR(), [IPv4Network("10.0.0.0/8"), IPv6Network("fe80::/10")]),
    "hstore": (pg.HSTORE(), [{"a": None, "b": ""}, {}]),
    "ints": (pg.ARRAY(sa.Integer()), [[], [1, None], [[1, 2], [3, 4]]]),
    "ints_2d": (pg.ARRAY(sa.BigInteger(), dimensions=2), [[[1], [2]]]),
    "tuple": (pg.ARRAY(sa.Text(), as_tuple=True), [("a", "b"), (("a",), ("b",))]),
    "numbers": (pg.ARRAY(sa.Numeric()), [[Decimal("1.10"), None]]),
    "moments": (pg.ARRAY(sa.DateTime(timezone=True)), [[NOW]]),
    "uids": (pg.ARRAY(sa.Uuid()), [[uuid.UUID(int=1)]]),
    "colours": (pg.ARRAY(sa.Enum(Colour, name="colour")), [[Colour.GREEN, Colour.RED]]),
    "jsons": (pg.ARRAY(pg.JSONB()), [[{"a": 1}, [1], None]]),
    "inets": (pg.ARRAY(pg.INET()), [[IPv4Address("10.0.0.1"), None]]),
    "range": (
        pg.INT4RANGE(),
        [Range(1, 5), Range(None, 5), Range(empty=True), Range(None, None, bounds="()")],
    ),
    "range8": (pg.INT8RANGE(), [Range(2**40, 2**41)]),
    "num_range": (
        pg.NUMRANGE(),
        [Range(Decimal("1.10"), Decimal(2), bounds="(]"), Range(Decimal(1), None)],
    ),
    "day_range": (pg.DATERANGE(), [Range(TODAY, TODAY + datetime.timedelta(1))]),
    "ts_range": (pg.TSRANGE(), [Range(NAIVE, None)]),
    "tz_range": (pg.TSTZRANGE(), [Range(NOW, NOW, bounds="[]")]),
    "ranges": (pg.INT4MULTIRANGE(), [MultiRange([Range(1, 3), Range(7, 9)]), MultiRange()]),
    "tz_ranges": (pg.TSTZMULTIRANGE(), [MultiRange([Range(None, NOW)])]),
    "range_array": (pg.ARRAY(pg.INT4RANGE()), [[Range(1, 2), None]]),
    "domain": (pg.DOMAIN("positive", sa.Integer(), check="VALUE > 0"), [5]),
}
LONGEST = 4


def model_of(columns: dict[str, tuple[TypeEngine[Any], list[Any]]]) -> type[Any]:
    class Base(DeclarativeBase):
        pass

    attributes: dict[str, Any] = {
        name: mapped_column(type_, nullable=True) for name, (type_, _) in columns.items()
    }
    annotations = {"id": Mapped[int]}
    return type(
        "Thing",
        (Base,),
        {
            "__tablename__": "thing",
            "__annotations__": annotations,
            "id": mapped_column(primary_key=True),
            **attributes,
        },
    )


def values_of(columns: dict[str, tuple[TypeEngine[Any], list[Any]]], at: int) -> dict[str, Any]:
    return {name: values[at] for name, (_, values) in columns.items() if at < len(values)}


async def check(
    model: type[Any], columns: dict[str, tuple[TypeEngine[Any], list[Any]]], tables: MakeTables
) -> None:
    engine = await tables(model.metadata)
    plan = EntityPlan.of(model, "thing")
    async with AsyncSession(engine) as session, session.begin():
        session.add_all([model(id=at, **values_of(columns, at)) for at in range(LONGEST)])
    for at in range(LONGEST):
        assert_alike(*await entity_pair(engine, plan, at))
        (row,) = (await load_rows(engine, plan, [at])).values()
        assert_alike(plan.entity(row), plan.entity(plan.codec().decode(plan.codec().encode(row))))


async def test_every_type_of_both_databases(make_tables: MakeTables) -> None:
    await check(model_of(EVERYWHERE), EVERYWHERE, make_tables)


# SQLAlchemy 2.1 deprecates types that do not say their operators, and forgot some of its own.
@pytest.mark.filterwarnings("ignore:Type object:sqlalchemy.exc.SADeprecationWarning")
async def test_every_type_of_postgresql(postgres: MakeTables) -> None:
    await check(model_of(POSTGRES), POSTGRES, postgres)


async def test_infinity_is_what_asyncpg_makes_of_it(postgres: MakeTables) -> None:
    columns: dict[str, tuple[TypeEngine[Any], list[Any]]] = {
        "aware": (sa.DateTime(timezone=True), []),
        "naive": (sa.DateTime(), []),
        "day": (sa.Date(), []),
    }
    model = model_of(columns)
    engine = await postgres(model.metadata)
    async with engine.begin() as connection:
        await connection.exec_driver_sql(
            "INSERT INTO thing VALUES (1, 'infinity', '-infinity', 'infinity')"
        )
    made, loaded = await entity_pair(engine, EntityPlan.of(model, "thing"), 1)
    assert_alike(made, loaded)
    assert made.day == datetime.date.max


async def test_addresses_may_be_texts(repocache_endpoints: Endpoints) -> None:
    columns: dict[str, tuple[TypeEngine[Any], list[Any]]] = {
        "inet": (pg.INET(), []),
        "cidr": (pg.CIDR(), []),
    }
    model = model_of(columns)
    engine = create_async_engine(repocache_endpoints.primary, native_inet_types=False)
    async with engine.begin() as connection:
        await connection.run_sync(model.metadata.create_all)
        await connection.exec_driver_sql("INSERT INTO thing VALUES (1, '10.0.0.1', '10.0.0.0/8')")
    made, loaded = await entity_pair(engine, EntityPlan.of(model, "thing"), 1)
    assert_alike(made, loaded)
    assert type(made.inet) is str
    await engine.dispose()


@pytest.mark.parametrize(
    "value",
    [
        asyncpg.Range(1, 5),
        asyncpg.Range(1, 5, lower_inc=False, upper_inc=True),
        asyncpg.Range(None, None),
        asyncpg.Range(empty=True),
    ],
)
def test_the_ranges_of_asyncpg_itself_are_kept(value: asyncpg.Range) -> None:
    codec = RowCodec([kind_of("Thing.range", pg.INT4RANGE())])
    (came,) = codec.decode(codec.encode((value,)))
    assert type(came) is asyncpg.Range
    assert came == value


def test_a_range_of_foreign_bounds_is_refused() -> None:
    codec = RowCodec([kind_of("Thing.range", pg.INT4RANGE())])
    data = codec.encode((Range(1, 5, bounds="(]"),))
    assert codec.decode(data) == (Range(1, 5, bounds="(]"),)
    with pytest.raises(CodecError):
        codec.decode(data.replace(b"(]", b"(("))


@pytest.mark.parametrize(
    "type_",
    [
        sa.PickleType(),
        pg.BIT(3),
        sa.ARRAY(sa.PickleType()),
        sa.PickleType().with_variant(sa.Integer(), "sqlite"),
        sa.DateTime().with_variant(sa.Integer(), "sqlite"),
    ],
    ids=repr,
)
def test_a_type_that_is_not_known_is_refused(type_: TypeEngine[Any]) -> None:
    model = model_of({"odd": (type_, [])})
    with pytest.raises(
        MappingRefused,
        match=r"Thing.odd: .*codecs=\{'odd': ColumnCodec\(...\)\}.*not_loaded=\('odd',\)",
    ):
        EntityPlan.of(model, "thing")
    EntityPlan.of(model, "thing", MappingOptions(not_loaded=("odd",)))


def test_a_variant_for_another_database_is_no_reason_to_refuse() -> None:
    columns: dict[str, tuple[TypeEngine[Any], list[Any]]] = {
        "day": (sa.DateTime().with_variant(sa.Integer(), "sqlite"), []),
        "bag": (sa.Integer().with_variant(sa.PickleType(), "sqlite"), []),
    }
    model = model_of(columns)
    plan = EntityPlan.of(model, "thing", rules=MappingRules(dialect_of("postgresql+asyncpg")))
    assert [kind.python_type for kind in plan.layout.kinds] == [int, datetime.datetime, int]
    with pytest.raises(MappingRefused, match=r"Thing.bag: PickleType"):
        EntityPlan.of(model, "thing", rules=MappingRules(dialect_of("sqlite")))
