"""The plan itself: ids, fingerprint, the statements that load rows, where rows may be read."""

import datetime
import enum
import subprocess
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from asyncpg.pgproto.pgproto import UUID as AsyncpgUUID  # noqa: N811
from sqlalchemy import ForeignKey, create_mock_engine
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeEngine

from repocache.codec.column import ColumnCodec
from repocache.codec.row import CODEC_VERSION
from repocache.errors import MappingRefused
from repocache.mapping.options import MappingOptions
from repocache.mapping.plan import EntityPlan
from repocache.mapping.relation import Relation, is_primary_only, relations_statement
from tests.mapping.compare import load_rows
from tests.mapping.conftest import MakeTables


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "user"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Order(Base):
    __tablename__ = "order"

    tenant: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    day: Mapped[datetime.date] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(sa.String(3), primary_key=True)


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


def keyed_by(type_: TypeEngine[Any]) -> type[Any]:
    class Local(DeclarativeBase):
        pass

    id = mapped_column(type_, primary_key=True, autoincrement=False)
    return type("Thing", (Local,), {"__tablename__": "thing", "id": id})


KEYS: list[tuple[TypeEngine[Any], type, Sequence[Any]]] = [
    (sa.SmallInteger(), int, [1, -5, 2**15 - 1]),
    (sa.Integer(), int, [1, 2]),
    (sa.BigInteger(), int, [2**63 - 1, -(2**63)]),
    (sa.String(), str, ["", "a", "é", "a,b", '"{}\\']),
    (sa.String(5), str, ["a", "aaaaa"]),
    (sa.Text(), str, ["x" * 500]),
    (sa.Uuid(), uuid.UUID, [uuid.UUID(int=1), uuid.UUID(int=2**127)]),
    (sa.LargeBinary(), bytes, [b"", b"\x00\xff"]),
    (sa.Date(), datetime.date, [datetime.date(2020, 1, 2), datetime.date(1, 1, 1)]),
    (sa.Boolean(), bool, [True, False]),
    (sa.DateTime(), datetime.datetime, [datetime.datetime(2020, 1, 2, 3, 4, 5, 6)]),  # noqa: DTZ001
    (sa.Enum(Level, name="level"), Level, list(Level)),
    (sa.Uuid(as_uuid=False), str, [str(uuid.UUID(int=2**127 + 10))]),
]


@pytest.mark.parametrize("type_, python_type, ids", KEYS, ids=repr)
async def test_every_type_of_key_finds_its_rows(
    type_: TypeEngine[Any], python_type: type, ids: Sequence[Any], make_tables: MakeTables
) -> None:
    model = keyed_by(type_)
    engine = await make_tables(model.metadata)
    async with AsyncSession(engine) as session, session.begin():
        session.add_all([model(id=id) for id in ids])
    plan = EntityPlan.of(model, "thing")
    assert plan.id_types == (python_type,)
    rows = await load_rows(engine, plan, ids)
    assert set(rows) == set(ids)
    assert {type(id) for id in rows} == {python_type}


async def test_a_composite_key_of_all_types_finds_its_rows(make_tables: MakeTables) -> None:
    engine = await make_tables(Base.metadata)
    day = datetime.date(2020, 1, 2)
    ids = [(uuid.UUID(int=tenant), number, day, "a") for tenant in (1, 2) for number in (1, 2)]
    async with AsyncSession(engine) as session, session.begin():
        session.add_all([Order(tenant=id[0], number=id[1], day=id[2], code=id[3]) for id in ids])
    plan = EntityPlan.of(Order, "order")
    assert plan.id_types == (uuid.UUID, int, datetime.date, str)
    absent = (uuid.UUID(int=1), 2, day, "b")
    assert set(await load_rows(engine, plan, [*ids[:3], ids[0], absent])) == set(ids[:3])


@pytest.mark.parametrize("bad", [2**31, 2**63, -(2**63) - 1, 10**40])
async def test_an_integer_that_no_row_has_fails_nobody_else(
    bad: int, make_tables: MakeTables
) -> None:
    engine = await make_tables(Base.metadata)
    async with AsyncSession(engine) as session, session.begin():
        session.add_all([User(id=1, name="a")])
    plan = EntityPlan.of(User, "user")
    assert set(await load_rows(engine, plan, [bad, 1])) == {1}
    assert await load_rows(engine, plan, [bad]) == {}
    assert await load_rows(engine, plan, []) == {}


@pytest.mark.parametrize("bad", ["a\0b", "\ud800", "abcdef", "abc "])
async def test_a_text_that_no_row_has_fails_nobody_else(bad: str, make_tables: MakeTables) -> None:
    engine = await make_tables(Base.metadata)
    id = (uuid.UUID(int=1), 1, datetime.date(2020, 1, 2), "abc")
    async with AsyncSession(engine) as session, session.begin():
        session.add_all([Order(tenant=id[0], number=id[1], day=id[2], code=id[3])])
    plan = EntityPlan.of(Order, "order")
    assert set(await load_rows(engine, plan, [(*id[:3], bad), id])) == {id}
    assert await load_rows(engine, plan, [(*id[:3], bad)]) == {}


async def test_postgresql_finds_them_by_the_index(postgres: MakeTables) -> None:
    engine = await postgres(Base.metadata)
    for model, ids in (
        (User, [1, 2]),
        (Order, [(uuid.UUID(int=1), 1, datetime.date(2020, 1, 2), "a")]),
    ):
        plan: EntityPlan[Any] = EntityPlan.of(model, "prefix")
        statement = plan.statement_for(engine.dialect)
        async with engine.connect() as connection:
            await connection.exec_driver_sql("SET enable_seqscan = off")
            explained = sa.text("EXPLAIN " + str(statement.select.compile(dialect=engine.dialect)))
            parameters = statement.parameters(ids)
            driver = await connection.exec_driver_sql(explained.text, tuple(parameters.values()))
            assert f"{model.__tablename__}_pkey" in "\n".join(driver.scalars())


def test_one_statement_text_serves_any_number_of_ids() -> None:
    dialect = create_mock_engine("postgresql+asyncpg://", print).dialect
    for model, ids in (
        (User, [1, 2, 3]),
        (Order, [(uuid.UUID(int=1), n, None, "a") for n in range(3)]),
    ):
        plan: EntityPlan[Any] = EntityPlan.of(model, "prefix")
        statement = plan.statement_for(dialect)
        assert set(statement.select.compile(dialect=dialect).params) == set(
            statement.parameters(ids)
        )
        assert {len(values) for values in statement.parameters(ids).values()} == {3}


def test_another_database_gets_an_expanding_in() -> None:
    statement = EntityPlan.of(Order, "order").statement_for(
        create_mock_engine("sqlite://", print).dialect
    )
    assert "IN (__[POSTCOMPILE_ids])" in str(statement.select)


def test_a_row_is_a_plain_tuple_with_standard_uuids() -> None:
    plan = EntityPlan.of(Order, "order")
    tenant = uuid.UUID(int=5)
    row = plan.row([AsyncpgUUID(tenant.hex), 1, datetime.date(2020, 1, 2), "a"])
    assert type(row) is tuple
    assert type(row[0]) is uuid.UUID
    assert plan.id_of_row(row) == row == (tenant, 1, datetime.date(2020, 1, 2), "a")
    assert EntityPlan.of(User, "user").id_of_row((7, "a")) == 7


class Guid(sa.types.TypeDecorator[uuid.UUID]):
    impl = sa.Uuid
    cache_ok = True


@pytest.mark.parametrize(
    "type_, words",
    [
        (sa.CHAR(3), "several texts for one key"),
        (sa.NCHAR(3), "several texts for one key"),
        (pg.CITEXT(), "several texts for one key"),
        (sa.String(collation="NOCASE"), "several texts for one key"),
        (sa.String(collation="utf8mb4_general_ci"), "several texts for one key"),
        (pg.DOMAIN("mail", pg.CITEXT()), "several texts for one key"),
        (pg.DOMAIN("outer", pg.DOMAIN("inner", sa.CHAR(3))), "several texts for one key"),
        (pg.DOMAIN("folded", sa.Text(), collation="de_ci"), "several texts for one key"),
        (pg.DOMAIN("folded", sa.String(collation="de_ci")), "several texts for one key"),
        (pg.DOMAIN("short", sa.String(5)), None),
        (sa.Float(), "must give one of int, str, UUID"),
        (sa.Interval(), "must give one of"),
        (sa.Enum("a", "b"), None),
        (pg.ARRAY(sa.Integer()), "must give one of"),
        (sa.String(collation="C"), None),
    ],
    ids=repr,
)
def test_a_key_in_which_two_ids_mean_one_row_is_refused(
    type_: TypeEngine[Any], words: str | None
) -> None:
    model = keyed_by(type_)
    if words is None:
        EntityPlan.of(model, "thing")
        return
    with pytest.raises(MappingRefused, match=f"Thing.id: .*{words}"):
        EntityPlan.of(model, "thing")


def test_a_declared_key_must_say_its_type() -> None:
    model = keyed_by(Guid())
    codec: ColumnCodec[uuid.UUID] = ColumnCodec(str, uuid.UUID, immutable=True)
    with pytest.raises(MappingRefused, match=r"Thing.id: .*Guid gives object"):
        EntityPlan.of(model, "thing", MappingOptions(codecs={"id": codec}))
    codec = ColumnCodec(str, uuid.UUID, uuid.UUID, immutable=True)
    assert EntityPlan.of(model, "thing", MappingOptions(codecs={"id": codec})).id_types == (
        uuid.UUID,
    )


class Colour(enum.Enum):
    RED = 1
    GREEN = 2


Swapped = enum.Enum("Colour", {"RED": 2, "GREEN": 1})  # type: ignore[misc]


def shaped(columns: dict[str, Any]) -> EntityPlan[Any]:
    class Local(DeclarativeBase):
        pass

    model: type[Any] = type(
        "Thing",
        (Local,),
        {"__tablename__": "thing", "id": mapped_column(sa.Integer, primary_key=True), **columns},
    )
    return EntityPlan.of(model, "thing")


def text(version: int = 1) -> MappingOptions:
    return MappingOptions(codecs={"name": ColumnCodec(str, str, str, version=version)})


def test_the_fingerprint_is_that_of_the_shape() -> None:
    def two(**columns: Any) -> str:
        return shaped(columns).fingerprint

    same = {two(a=mapped_column(sa.Integer), b=mapped_column(sa.String)) for _ in range(2)}
    others = [
        two(a=mapped_column(sa.Integer)),
        two(b=mapped_column(sa.String), a=mapped_column(sa.Integer)),
        two(a=mapped_column(sa.String), b=mapped_column(sa.String)),
        two(a=mapped_column("c", sa.Integer), b=mapped_column(sa.String)),
        two(c=mapped_column("a", sa.Integer), b=mapped_column(sa.String)),
        two(a=mapped_column(sa.Enum(Colour))),
        two(a=mapped_column(sa.Enum(Swapped))),
        two(a=mapped_column(pg.ARRAY(sa.Integer))),
        two(a=mapped_column(pg.ARRAY(sa.Integer, as_tuple=True))),
        EntityPlan.of(User, "user").fingerprint,
        EntityPlan.of(User, "user", text()).fingerprint,
        EntityPlan.of(User, "user", text(2)).fingerprint,
        EntityPlan.of(User, "user", MappingOptions(not_loaded=("name",))).fingerprint,
    ]
    assert len(same) == 1
    assert len({*same, *others}) == len(others) + 1
    assert all(len(each) == 8 and int(each, 16) >= 0 for each in others)


def test_the_fingerprint_changes_with_the_format(monkeypatch: pytest.MonkeyPatch) -> None:
    before = EntityPlan.of(User, "user").fingerprint
    monkeypatch.setattr("repocache.mapping.layout.CODEC_VERSION", CODEC_VERSION + 1)
    assert EntityPlan.of(User, "user").fingerprint != before


def test_the_fingerprint_is_the_same_in_every_process() -> None:
    program = (
        "from tests.mapping.test_hierarchy import *\n"
        "print(*(EntityPlan.of(model, 'x').fingerprint for model in (Animal, Person, Round)))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", program],
            cwd=Path(__file__).parents[2],
            env={"PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


@pytest.mark.parametrize(
    "prefixes, expected", [([], False), (["UNLOGGED"], True), (["temporary"], True)]
)
def test_the_tables_ddl_says_whether_replicas_have_it(
    prefixes: list[str], *, expected: bool
) -> None:
    class Local(DeclarativeBase):
        pass

    class Top(Local):
        __tablename__ = "top"
        id: Mapped[int] = mapped_column(primary_key=True)
        kind: Mapped[str]
        __mapper_args__ = {"polymorphic_on": "kind"}  # noqa: RUF012

    class Below(Top):
        __tablename__ = "below"
        __table_args__ = {"prefixes": prefixes}  # noqa: RUF012
        __mapper_args__ = {"polymorphic_identity": "below"}  # noqa: RUF012
        id: Mapped[int] = mapped_column(ForeignKey("top.id"), primary_key=True)

    assert EntityPlan.of(Top, "top").primary_only is expected
    assert EntityPlan.of(Below, "below").primary_only is expected


RELATIONS = """
CREATE TABLE "Logged" (id int PRIMARY KEY);
CREATE UNLOGGED TABLE unlogged (id int PRIMARY KEY);
CREATE TABLE parted (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE UNLOGGED TABLE part PARTITION OF parted FOR VALUES FROM (1) TO (5);
CREATE SCHEMA "Odd";
CREATE TABLE "Odd".inner (id int PRIMARY KEY);
CREATE VIEW looked AS SELECT * FROM "Logged";
CREATE MATERIALIZED VIEW kept AS SELECT * FROM "Logged";
"""


@pytest.mark.parametrize(
    "name, schema, expected",
    [
        ("Logged", None, False),
        ("unlogged", None, True),
        ("parted", None, True),
        ("inner", "Odd", False),
        ("missing", None, False),
        ("looked", None, "view"),
        ("kept", None, "materialized view"),
    ],
)
async def test_the_database_says_whether_replicas_have_it(
    name: str, schema: str | None, expected: bool | str, postgres: MakeTables
) -> None:
    engine = await postgres(sa.MetaData())
    table = sa.Table(name, sa.MetaData(), schema=schema)
    logged = sa.Table("Logged", sa.MetaData())
    async with engine.begin() as connection:
        for statement in filter(str.strip, RELATIONS.split(";")):
            await connection.exec_driver_sql(statement)
        answer = await connection.execute(relations_statement([logged, table], engine.dialect))
        relations = [Relation(*row) for row in answer]
    if isinstance(expected, str):
        with pytest.raises(MappingRefused, match=f"{name} is a {expected}"):
            is_primary_only(relations)
        return
    assert is_primary_only(relations) is expected
    places = [relation.place for relation in relations if relation.place is not None]
    assert len(places) == (1 if name == "missing" else 2), (
        "partitions come and go, and are no places"
    )
    assert {place.partition(".")[2] for place in places} <= {
        "public.Logged",
        '"Odd".inner',
        f"public.{name}",
    }
