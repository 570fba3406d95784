"""Types that make values of their own: what is stored is the database's, and what an entity has is
what `session.get()` loads."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import json
import uuid
from decimal import Decimal
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.ext.mutable import MutableDict
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator, TypeEngine, UserDefinedType

from repocache.codec.column import ColumnCodec
from repocache.errors import CodecError, ConfigurationError, InvalidId, MappingRefused
from repocache.keys import KeyOwner, Keys
from repocache.mapping.options import MappingOptions
from repocache.mapping.plan import EntityPlan
from repocache.mapping.rules import MappingRules
from tests.mapping.compare import assert_alike, dialect_of, entity_pair, load_rows
from tests.mapping.conftest import MakeTables

POSTGRESQL = dialect_of("postgresql+asyncpg")
ZONE = datetime.timezone(-datetime.timedelta(hours=2))


class Zoned(TypeDecorator[datetime.datetime]):
    """A naive column that is UTC by convention; makes a value of None, too."""

    impl = sa.DateTime
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: object) -> Any:
        return None if value is None else value.astimezone(datetime.UTC).replace(tzinfo=None)

    def process_result_value(self, value: Any, dialect: object) -> Any:
        moment = datetime.datetime(1, 1, 1) if value is None else value  # noqa: DTZ001
        return moment.replace(tzinfo=datetime.UTC)


@dataclasses.dataclass
class Point:
    x: int
    tags: list[str]


class Pointed(TypeDecorator[Point]):
    impl = sa.JSON
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: object) -> Any:
        return None if value is None else dataclasses.asdict(value)

    def process_result_value(self, value: Any, dialect: object) -> Any:
        return None if value is None else Point(**value)


class JsonText(TypeDecorator[Any]):
    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: object) -> Any:
        return json.dumps(value)

    def process_result_value(self, value: Any, dialect: object) -> Any:
        return json.loads(value)


class Outer(TypeDecorator[Any]):
    """Around another decorator."""

    impl = JsonText
    cache_ok = True

    def process_result_value(self, value: Any, dialect: object) -> Any:
        return ("outer", value)

    def process_bind_param(self, value: Any, dialect: object) -> Any:
        return value[1]


class Plain(TypeDecorator[str]):
    """Without processing, as SQLModel's."""

    impl = sa.String
    cache_ok = True


class Guid(TypeDecorator[uuid.UUID]):
    """As everybody has it."""

    impl = sa.CHAR(32)
    cache_ok = True

    def load_dialect_impl(self, dialect: Any) -> TypeEngine[Any]:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(pg.UUID())  # type: ignore[no-any-return]
        return dialect.type_descriptor(sa.CHAR(32))  # type: ignore[no-any-return]

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        if value is None:
            return None
        return str(value) if dialect.name == "postgresql" else value.hex

    def process_result_value(self, value: Any, dialect: object) -> Any:
        return value if value is None or isinstance(value, uuid.UUID) else uuid.UUID(value)


class OwnProcessor(TypeDecorator[str]):
    """Overrides the processor itself."""

    impl = sa.JSON
    cache_ok = True

    def result_processor(self, dialect: Any, coltype: object) -> Any:
        inner = super().result_processor(dialect, coltype) or (lambda value: value)
        return lambda value: None if value is None else f"own {inner(value)}"


class Upper(TypeDecorator[str]):
    """Its SQL makes the value, and the type goes on."""

    impl = sa.String
    cache_ok = True

    def column_expression(self, column: Any) -> Any:
        return sa.type_coerce(sa.func.upper(column), self)

    def process_result_value(self, value: Any, dialect: object) -> Any:
        return None if value is None else f"<{value}>"


class Length(TypeDecorator[int]):
    """Its SQL makes a value of another type."""

    impl = sa.String
    cache_ok = True

    def column_expression(self, column: Any) -> Any:
        return sa.func.length(column)


class Labels(UserDefinedType[list[str]]):
    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "TEXT"

    def bind_processor(self, dialect: object) -> Any:
        return lambda value: None if value is None else ",".join(value)

    def result_processor(self, dialect: object, coltype: object) -> Any:
        return lambda value: None if value is None else value.split(",")


class Base(DeclarativeBase):
    pass


class Decorated(Base):
    __tablename__ = "decorated"

    id: Mapped[int] = mapped_column(primary_key=True)
    zoned: Mapped[datetime.datetime | None] = mapped_column(Zoned())
    point: Mapped[Any] = mapped_column(Pointed(), nullable=True)
    text: Mapped[Any] = mapped_column(JsonText())
    outer: Mapped[Any] = mapped_column(Outer())
    plain: Mapped[str | None] = mapped_column(Plain(20))
    guid: Mapped[uuid.UUID | None] = mapped_column(Guid())
    own: Mapped[Any] = mapped_column(OwnProcessor(), nullable=True)
    upper: Mapped[str | None] = mapped_column(Upper())
    length: Mapped[int | None] = mapped_column(Length())
    labels: Mapped[Any] = mapped_column(Labels(), nullable=True)
    tracked: Mapped[dict[str, Any]] = mapped_column(MutableDict.as_mutable(JsonText()))


def rules(engine: AsyncEngine, **more: Any) -> MappingRules:
    return MappingRules(engine.dialect, **more)


def values(id: int) -> dict[str, Any]:
    return {
        "id": id,
        "zoned": datetime.datetime(2024, 1, 2, 3, tzinfo=datetime.UTC),
        "point": Point(1, ["a"]),
        "text": {"a": [1]},
        "outer": ("outer", [1]),
        "plain": "plain",
        "guid": uuid.UUID(int=2**100),
        "own": {"a": 1},
        "upper": "word",
        "length": "four",
        "labels": ["a", "b"],
        "tracked": {"a": 1},
    }


async def test_an_entity_is_what_a_session_loads(make_tables: MakeTables) -> None:
    engine = await make_tables(Base.metadata)
    async with AsyncSession(engine) as session, session.begin():
        session.add(Decorated(**values(1)))
        session.add(Decorated(id=2, text=None, outer=("outer", None), tracked={}))
    plan = EntityPlan.of(Decorated, "d", rules=rules(engine))
    for id in (1, 2):
        assert_alike(*await entity_pair(engine, plan, id))
    made, _ = await entity_pair(engine, plan, 1)
    assert (made.own, made.upper, made.length) == ("own {'a': 1}", "<WORD>", 4)


async def test_each_entity_has_values_of_its_own(make_tables: MakeTables) -> None:
    engine = await make_tables(Base.metadata)
    async with AsyncSession(engine) as session, session.begin():
        session.add(Decorated(**values(1)))
    plan = EntityPlan.of(Decorated, "d", rules=rules(engine))
    [row] = (await load_rows(engine, plan, [1])).values()
    first, second = plan.entity(row), plan.entity(row)
    first.point.tags.append("b")
    first.text["a"].append(2)
    first.labels.append("c")
    first.outer[1].append(2)
    for entity in (second, plan.entity(row)):
        assert entity.point == Point(1, ["a"])
        assert entity.text == {"a": [1]}
        assert entity.labels == ["a", "b"]
        assert entity.outer == ("outer", [1])


async def test_what_is_stored_is_the_databases(make_tables: MakeTables) -> None:
    engine = await make_tables(Base.metadata)
    async with AsyncSession(engine) as session, session.begin():
        session.add(Decorated(**values(1)))
    plan = EntityPlan.of(Decorated, "d", rules=rules(engine))
    [row] = (await load_rows(engine, plan, [1])).values()
    stored = dict(zip((column.name for column in plan.columns), row, strict=True))
    assert stored["zoned"] == datetime.datetime(2024, 1, 2, 3)  # noqa: DTZ001
    assert stored["point"] == {"x": 1, "tags": ["a"]}
    assert stored["outer"] == "[1]"
    assert stored["upper"] == "WORD"
    assert stored["labels"] == "a,b"


async def test_a_type_that_fails_is_a_clear_error(make_tables: MakeTables) -> None:
    engine = await make_tables(Base.metadata)
    plan = EntityPlan.of(Decorated, "d", rules=rules(engine))
    row = dict.fromkeys([column.name for column in plan.columns])
    row |= {"id": 1, "text": "{", "outer": "1", "tracked": "{}"}
    with pytest.raises(CodecError, match=r"Decorated.text: .*JsonText cannot make its value"):
        plan.entity(tuple(row.values()))


class Swapped(TypeDecorator[str]):
    impl = sa.String
    cache_ok = True

    def process_result_value(self, value: Any, dialect: object) -> Any:
        return value


def shaped(type_: TypeEngine[Any], dialect: Any) -> str:
    class Local(DeclarativeBase):
        pass

    model: type[Any] = type(
        "Thing",
        (Local,),
        {
            "__tablename__": "thing",
            "id": mapped_column(sa.Integer, primary_key=True),
            "a": mapped_column(type_),
        },
    )
    return EntityPlan.of(model, "thing", rules=MappingRules(dialect)).fingerprint


async def test_the_fingerprint_has_the_class_and_what_is_within(sqlite: MakeTables) -> None:
    dialect = (await sqlite(sa.MetaData())).dialect
    moved = type("Swapped", (Swapped,), {"impl": sa.Text, "cache_ok": True})
    elsewhere = type("Swapped", (Swapped,), {"__module__": "elsewhere", "cache_ok": True})
    types = (sa.String(), Plain(), Swapped(), moved(), elsewhere())
    assert len({shaped(each, dialect) for each in types}) == len(types)


class Lowered(TypeDecorator[str]):
    """Makes several ids one row."""

    impl = sa.String
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: object) -> Any:
        return None if value is None else value.lower()


class Folded(Lowered):
    impl = pg.CITEXT
    cache_ok = True


class Padded(TypeDecorator[str]):
    impl = sa.CHAR(5)
    cache_ok = True


class Encoded(TypeDecorator[int]):
    impl = sa.String
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: object) -> Any:
        return None if value is None else f"n{value}"

    def process_result_value(self, value: Any, dialect: object) -> Any:
        return None if value is None else int(value[1:])


class Colour(enum.Enum):
    RED = "r"
    GREEN = "g"


class Coloured(TypeDecorator[Colour]):
    impl = sa.String
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: object) -> Any:
        return None if value is None else value.value

    def process_result_value(self, value: Any, dialect: object) -> Any:
        return None if value is None else Colour(value)


def keyed_by(type_: TypeEngine[Any]) -> type[Any]:
    class Local(DeclarativeBase):
        pass

    id = mapped_column(type_, primary_key=True, autoincrement=False)
    return type("Thing", (Local,), {"__tablename__": "thing", "id": id})


KEYS: list[tuple[TypeEngine[Any], type, list[Any], list[Any]]] = [
    (Guid(), uuid.UUID, [uuid.UUID(int=5), uuid.UUID(int=2**127)], []),
    (Encoded(), int, [5, -7], []),
    (Coloured(), Colour, list(Colour), []),
    (Plain(), str, ["A", "a"], []),
    (Lowered(), str, ["a", "b"], ["A"]),
    (sa.Uuid(as_uuid=False), str, [str(uuid.UUID(int=2**127 + 10))], ["A", "0" * 32]),
    (sa.DateTime(), datetime.datetime, [datetime.datetime(2020, 1, 2)], []),  # noqa: DTZ001
]


@pytest.mark.parametrize("type_, id_type, ids, others", KEYS, ids=repr)
async def test_a_key_is_of_the_declared_type(
    type_: TypeEngine[Any],
    id_type: type,
    ids: list[Any],
    others: list[Any],
    make_tables: MakeTables,
) -> None:
    model = keyed_by(type_)
    engine = await make_tables(model.metadata)
    async with AsyncSession(engine) as session, session.begin():
        session.add_all([model(id=id) for id in ids])
    plan = EntityPlan.of(model, "thing", rules=rules(engine), id_types=(id_type,))
    assert plan.id_types == (id_type,)
    rows = await load_rows(engine, plan, ids)
    assert list(rows) == ids or set(rows) == set(ids)
    keys = Keys(KeyOwner("thing"), plan.key)
    for id, row in rows.items():
        assert keys.id(keys.text(id)) == id
        assert type(keys.id(keys.text(id))) is id_type
        made, loaded = await entity_pair(engine, plan, id)
        assert_alike(made, loaded)
        assert plan.id_of_row(row) == made.id
    for other in others:
        with pytest.raises(InvalidId, match="thing: "):
            keys.check(other)


@pytest.mark.parametrize("type_", [Folded(), Padded()], ids=repr)
@pytest.mark.parametrize("codec", [None, ColumnCodec(str, str, str, immutable=True)])
def test_the_innermost_type_of_a_key_is_looked_at(
    type_: TypeEngine[Any], codec: ColumnCodec[str] | None
) -> None:
    options = MappingOptions(codecs={} if codec is None else {"id": codec})
    with pytest.raises(MappingRefused, match=r"Thing.id: the database takes several texts"):
        EntityPlan.of(
            keyed_by(type_), "t", options, rules=MappingRules(POSTGRESQL), id_types=(str,)
        )


@pytest.mark.parametrize("type_, id_type", [(Pointed(), Point), (Upper(), str), (Labels(), str)])
def test_what_has_no_text_or_is_made_by_sql_is_no_key(
    type_: TypeEngine[Any], id_type: type
) -> None:
    with pytest.raises(MappingRefused, match=r"Thing.id: ") as caught:
        EntityPlan.of(keyed_by(type_), "t", rules=MappingRules(POSTGRESQL), id_types=(id_type,))
    assert "not_loaded" not in str(caught.value), "a key cannot be left out"


async def test_a_wrong_declaration_of_the_id_is_told_at_the_row(sqlite: MakeTables) -> None:
    model = keyed_by(Encoded())
    engine = await sqlite(model.metadata)
    plan = EntityPlan.of(model, "thing", rules=rules(engine), id_types=(str,))
    with pytest.raises(CodecError, match="has made int, and ids are declared to be str"):
        plan.id_of_row(("n5",))


class Card(msgspec.Struct, frozen=True):
    zoned: datetime.datetime | None
    guid: uuid.UUID | None


class Lies(msgspec.Struct, frozen=True):
    text: str


class Points(msgspec.Struct, frozen=True):
    point: Point | None


async def test_a_view_has_values_of_plain_types(make_tables: MakeTables) -> None:
    engine = await make_tables(Base.metadata)
    async with AsyncSession(engine) as session, session.begin():
        session.add(Decorated(**values(1)))
    plan = EntityPlan.of(Decorated, "d", rules=rules(engine))
    [row] = (await load_rows(engine, plan, [1])).values()
    given = values(1)
    assert plan.view(Card)(row) == Card(given["zoned"], given["guid"])
    with pytest.raises(CodecError, match=r"view Lies.text: .*has made dict"):
        plan.view(Lies)(row)
    with pytest.raises(ConfigurationError, match=r"Points.point: .*codecs="):
        plan.view(Points)
    codec: ColumnCodec[Point] = ColumnCodec(
        lambda point: [point.x, point.tags],
        lambda wire: Point(*wire),
        python_type=Point,
        immutable=True,
    )
    by_type = EntityPlan.of(Decorated, "d", rules=rules(engine, codecs={Pointed: codec}))
    [row] = (await load_rows(engine, by_type, [1])).values()
    assert by_type.view(Points)(row) == Points(given["point"])


async def test_an_array_of_such_is_made_item_by_item(postgres: MakeTables) -> None:
    class Local(DeclarativeBase):
        pass

    class Listed(Local):
        __tablename__ = "listed"
        id: Mapped[int] = mapped_column(primary_key=True)
        numbers: Mapped[list[int]] = mapped_column(pg.ARRAY(Encoded()))
        names: Mapped[list[str]] = mapped_column(pg.ARRAY(Plain()))

    engine = await postgres(Local.metadata)
    async with AsyncSession(engine) as session, session.begin():
        session.add(Listed(id=1, numbers=[1, 2], names=["a"]))
    plan = EntityPlan.of(Listed, "listed", rules=rules(engine))
    assert_alike(*await entity_pair(engine, plan, 1))


class Pickled(TypeDecorator[Any]):
    impl = sa.LargeBinary
    cache_ok = True

    def process_result_value(self, value: Any, dialect: object) -> Any:
        import pickle  # noqa: PLC0415

        return pickle.loads(value)


def test_what_unpickles_is_refused() -> None:
    with pytest.raises(MappingRefused, match="by pickle"):
        shaped(Pickled(), POSTGRESQL)


def test_decimals_that_are_equal_have_one_key() -> None:
    keys = Keys(KeyOwner("d"), [Decimal])
    same = ["1.0", "1", "1.00", "0.1e1", "10e-1"]
    assert {keys.text(Decimal(each)) for each in same} == {"d:1e0"}
    for text in ("0", "-0.00", "-1.5", "1e400", "123456789012345678901234567890.1"):
        assert keys.id(keys.text(Decimal(text))) == Decimal(text)
    for text in ("NaN", "Infinity", "sNaN"):
        with pytest.raises(InvalidId):
            keys.text(Decimal(text))


def test_ids_keep_their_type() -> None:
    truth, number = Keys(KeyOwner("t"), [bool]), Keys(KeyOwner("n"), [int])
    assert truth.text(True) == "t:true"
    assert truth.id("t:false") is False
    for keys, wrong in ((truth, 1), (number, True), (Keys(KeyOwner("c"), [Colour]), "r")):
        with pytest.raises(InvalidId, match="not of the key's type"):
            keys.check(wrong)


def test_moments_that_are_equal_have_one_key() -> None:
    keys = Keys(KeyOwner("m"), [datetime.datetime])
    here = datetime.datetime(2024, 1, 2, 3, tzinfo=datetime.timezone(datetime.timedelta(hours=2)))
    assert keys.text(here) == keys.text(here.astimezone(datetime.UTC))
    assert keys.id(keys.text(here)) == here
    with pytest.raises(InvalidId):
        keys.text(datetime.datetime.max.replace(tzinfo=ZONE))
