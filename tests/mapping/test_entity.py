"""Every kind of mapping: an entity from a cached row is what `session.get()` and `expunge()`
give."""

import copy
import dataclasses
import json
import pickle
from collections.abc import Callable
from typing import Any, Self

import pytest
import sqlalchemy as sa
from sqlalchemy import ForeignKey, event, inspect
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.exc import InvalidRequestError, SAWarning
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.ext.mutable import MutableDict, MutableList
from sqlalchemy.orm import (
    DeclarativeBase,
    DynamicMapped,
    Mapped,
    MappedAsDataclass,
    Session,
    WriteOnlyMapped,
    column_property,
    composite,
    make_transient,
    mapped_column,
    query_expression,
    reconstructor,
    relationship,
    synonym,
    validates,
)
from sqlalchemy.orm.exc import DetachedInstanceError, StaleDataError
from sqlalchemy.types import TypeDecorator

from repocache.codec.column import ColumnCodec
from repocache.errors import ConfigurationError, MappingRefused
from repocache.mapping.options import MappingOptions
from repocache.mapping.plan import EntityPlan
from repocache.mapping.rules import Eager, MappingRules
from repocache.transactions.cached_marker import Misuse, cached_by, state_maker
from tests.mapping.compare import assert_alike, entity_pair, load_rows
from tests.mapping.conftest import MakeTables


class Base(DeclarativeBase):
    pass


@dataclasses.dataclass
class Point:
    x: int
    y: int


class Plain(Base):
    """All that the short way must do right by itself."""

    __tablename__ = "plain"

    id: Mapped[int] = mapped_column(primary_key=True)
    first: Mapped[str] = mapped_column("first_name")
    last: Mapped[str | None]
    x: Mapped[int]
    y: Mapped[int]
    story: Mapped[str] = mapped_column(deferred=True)
    secret: Mapped[str] = mapped_column(deferred=True, deferred_raiseload=True)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("plain.id"))
    extra: Mapped[str | None] = query_expression()
    point: Mapped[Point] = composite(Point, "x", "y")
    surname = synonym("last")
    parent: Mapped["Plain | None"] = relationship(remote_side=[id], back_populates="children")
    children: Mapped[list["Plain"]] = relationship(back_populates="parent")
    raising: Mapped[list["Plain"]] = relationship(lazy="raise", viewonly=True)

    def __new__(cls, *_: object, **__: object) -> Self:
        made = super().__new__(cls)
        made.__dict__["from_new"] = True
        return made

    def __init__(self, **values: Any) -> None:
        if "id" not in values:
            raise AssertionError("__init__ was called")
        super().__init__(**values)

    @validates("first")
    def _validate(self, _: str, value: str) -> str:
        return value.upper()

    @hybrid_property
    def full(self) -> str:
        return f"{self.first} {self.last}"


class Collections(Base):
    __tablename__ = "collections"

    id: Mapped[int] = mapped_column(primary_key=True)
    written: WriteOnlyMapped["Item"] = relationship(viewonly=False)
    queried: DynamicMapped["Item"] = relationship(viewonly=True)


class Item(Base):
    __tablename__ = "item"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("collections.id"))


class Changeable(Base):
    """Values that can be changed in place."""

    __tablename__ = "changeable"

    id: Mapped[int] = mapped_column(primary_key=True)
    tracked: Mapped[dict[str, Any]] = mapped_column(MutableDict.as_mutable(sa.JSON()))
    tracked_list: Mapped[list[Any]] = mapped_column(MutableList.as_mutable(sa.JSON()))
    plain: Mapped[dict[str, Any]] = mapped_column(sa.JSON())
    empty: Mapped[dict[str, Any] | None] = mapped_column(sa.JSON(none_as_null=True))


class Listening(Base):
    __tablename__ = "listening"

    id: Mapped[int] = mapped_column(primary_key=True)

    @reconstructor
    def _wake(self) -> None:
        self.woken = self.id * 2


class Versioned(Base):
    __tablename__ = "versioned"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    version: Mapped[int] = mapped_column()
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012  # SQLAlchemy's spelling


class DataBase(MappedAsDataclass, DeclarativeBase):
    pass


class Data(DataBase):
    __tablename__ = "data"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("data.id"), default=None)
    parent: Mapped["Data | None"] = relationship(
        remote_side=[id], default=None, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        self.after = True


class Composed(Base):
    """A composite key whose order is not that of the columns."""

    __tablename__ = "composed"
    __table_args__ = (sa.PrimaryKeyConstraint("tenant", "number"),)

    number: Mapped[int]
    name: Mapped[str]
    tenant: Mapped[str]


async def fill(engine: AsyncEngine, *entities: object) -> None:
    async with AsyncSession(engine) as session, session.begin():
        session.add_all(entities)


def row_of(plan: EntityPlan[Any], **values: Any) -> tuple[Any, ...]:
    """A row with these attributes, the others NULL."""
    attributes = plan.layout.classes[plan.mapper].attributes
    row: list[Any] = [None] * len(plan.columns)
    for name, value in values.items():
        row[attributes[name]] = value
    return tuple(row)


async def test_plain_columns_and_all_that_hangs_on_them(make_tables: MakeTables) -> None:
    engine = await make_tables(Base.metadata)
    await fill(
        engine,
        Plain(id=1, first="Ada", last=None, x=3, y=4, story="long", secret="s", parent_id=None),
    )
    made, loaded = await entity_pair(engine, EntityPlan.of(Plain, "plain"), 1)
    assert_alike(made, loaded)
    assert (made.first, made.last, made.surname, made.point, made.full) == (
        "ADA",
        None,
        None,
        Point(3, 4),
        "ADA None",
    )
    assert made.extra is None


@pytest.mark.parametrize("name", ["story", "secret", "parent", "children"])
def test_what_is_not_loaded_cannot_be_read(name: str) -> None:
    plan = EntityPlan.of(Plain, "plain")
    entity = plan.entity(row_of(plan, id=1, x=1, y=2, parent_id=5))
    with pytest.raises(DetachedInstanceError):
        getattr(entity, name)


def test_what_raises_by_its_mapping_still_does() -> None:
    plan = EntityPlan.of(Plain, "plain")
    with pytest.raises(InvalidRequestError, match="lazy='raise'"):
        _ = plan.entity(row_of(plan, id=1)).raising


@pytest.mark.parametrize("model", [Plain, Item, Changeable, Listening, Versioned, Data, Composed])
def test_a_row_holds_all_columns_that_are_not_deferred(model: type[Any]) -> None:
    plan = EntityPlan.of(model, "prefix")
    expected = [
        attribute.key
        for attribute in plan.mapper.column_attrs
        if not attribute.deferred and attribute.key != "extra"
    ]
    assert sorted(plan.layout.classes[plan.mapper].attributes) == sorted(expected)
    assert len(plan.columns) == len(expected)


async def test_collection_objects_are_what_a_session_leaves(make_tables: MakeTables) -> None:
    engine = await make_tables(Base.metadata)
    await fill(engine, Collections(id=1))
    with pytest.raises(MappingRefused, match=r"Collections.queried .*not_loaded=\('queried',\)"):
        EntityPlan.of(Collections, "collections", rules=MappingRules(eager=Eager.REFUSE))
    plan = EntityPlan.of(Collections, "collections")
    made, loaded = await entity_pair(engine, plan, 1)
    assert type(made.written) is type(loaded.written)
    assert "owner_id" in str(made.written.select())
    for entity in (made, plan.entity((1,))):
        with pytest.raises(DetachedInstanceError, match=r"'queried', .*lazy='dynamic'.*`load=`"):
            _ = entity.queried
    with pytest.warns(SAWarning, match="dynamic relationship cannot return a correct result"):
        assert loaded.queried.all() == [], "a session's own is as SQLAlchemy has it"


async def test_values_that_can_change_are_nobody_elses(make_tables: MakeTables) -> None:
    engine = await make_tables(Base.metadata)
    value = {"a": [{"b": 1}]}
    await fill(
        engine, Changeable(id=1, tracked=value, tracked_list=[value], plain=value, empty=None)
    )
    plan = EntityPlan.of(Changeable, "changeable")
    (row,) = (await load_rows(engine, plan, [1])).values()
    first, second = plan.entity(row), plan.entity(row)
    assert_alike(*await entity_pair(engine, plan, 1))
    for entity in (first, second):
        assert entity.tracked == entity.plain == entity.tracked_list[0] == value
        entity.tracked["a"][0]["b"] = 2
        entity.tracked_list[0]["a"].append(3)
        entity.plain["a"][0]["c"] = 4
    assert (
        plan.entity(row).tracked
        == plan.entity(row).plain
        == plan.entity(row).tracked_list[0]
        == value
    )
    assert json.dumps(row[1:4]) == json.dumps([value, [value], value])


def test_a_change_in_place_of_a_mutable_is_seen() -> None:
    plan = EntityPlan.of(Changeable, "changeable", state=state_maker(Misuse.TELL, lambda _: None))
    entity = plan.entity(row_of(plan, id=1, tracked={}, tracked_list=[], plain={}))
    state = inspect(entity)
    assert not state.modified
    entity.tracked["new"] = 1
    assert state.modified


@pytest.mark.parametrize(
    "type_, value",
    [
        (pg.ARRAY(sa.Integer()), [[1], [2]]),
        (pg.ARRAY(sa.Integer(), dimensions=1), [1]),
        (pg.ARRAY(pg.JSONB(), as_tuple=True), ({"a": [1]},)),
        (pg.HSTORE(), {"a": "b"}),
        (pg.INT4MULTIRANGE(), pg.ranges.MultiRange([pg.Range(1, 2)])),
        (pg.ARRAY(pg.INT4MULTIRANGE()), [pg.ranges.MultiRange([pg.Range(1, 2)]), None]),
    ],
    ids=repr,
)
def test_every_value_that_can_change_is_copied(type_: Any, value: Any) -> None:
    class Local(DeclarativeBase):
        pass

    columns = {"id": mapped_column(primary_key=True), "value": mapped_column(type_)}
    model: Any = type(
        "Thing", (Local,), {"__tablename__": "t", "__annotations__": {"id": Mapped[int]}, **columns}
    )
    plan = EntityPlan.of(model, "thing")
    made = plan.entity((1, value)).value
    assert made == value
    assert type(made) is type(value)
    assert made is not value
    for one, other in zip(made, value, strict=True):
        assert one is not other or isinstance(one, int | str | pg.Range | None)


async def test_load_listeners_and_reconstructors_run(sqlite: MakeTables) -> None:
    engine = await sqlite(Base.metadata)
    await fill(engine, Listening(id=21))
    heard: list[object] = []

    def listen(entity: Listening, _: object) -> None:
        heard.append(entity.id)

    plan = EntityPlan.of(Listening, "listening")
    event.listen(Listening, "load", listen)
    try:
        EntityPlan.of(Listening, "listening")
        made, loaded = await entity_pair(engine, plan, 21)
    finally:
        event.remove(Listening, "load", listen)
    assert made.woken == loaded.woken == 42
    assert heard == [21, 21]


def reads_context(entity: object, context: Any) -> None:
    context.session.info["seen"] = entity


def hands_context_on(entity: object, context: Any) -> None:
    print(entity, context)  # noqa: T201


def ignores_context(entity: object, context: Any) -> None:
    entity.__dict__["heard"] = True


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("listener", [reads_context, hands_context_on])
def test_a_listener_that_wants_the_query_is_refused(
    listener: Callable[..., None], *, raw: bool
) -> None:
    plan = EntityPlan.of(Versioned, "versioned")
    event.listen(Versioned, "load", listener, raw=raw)
    try:
        with pytest.raises(
            MappingRefused, match=f"Versioned: the load listener {listener.__name__}"
        ):
            EntityPlan.of(Versioned, "versioned")
        if listener is reads_context:
            with pytest.raises(MappingRefused, match="'session' of the query context"):
                plan.entity((1, "a", 1))
    finally:
        event.remove(Versioned, "load", listener)


def test_a_listener_that_lets_the_query_be_is_taken() -> None:
    event.listen(Versioned, "load", ignores_context)
    try:
        plan = EntityPlan.of(Versioned, "versioned")
        assert plan.entity((1, "a", 1)).__dict__["heard"]
    finally:
        event.remove(Versioned, "load", ignores_context)


async def test_a_mapped_dataclass_is_made_without_its_init(sqlite: MakeTables) -> None:
    engine = await sqlite(DataBase.metadata)
    await fill(engine, Data(id=1, name="a"))
    plan = EntityPlan.of(Data, "data")
    made, loaded = await entity_pair(engine, plan, 1)
    assert_alike(made, loaded)
    assert repr(made) == repr(loaded)
    assert made == loaded
    assert not hasattr(made, "after")


async def test_a_stale_version_cannot_be_written(sqlite: MakeTables) -> None:
    engine = await sqlite(Base.metadata)
    await fill(engine, Versioned(id=1, name="old"))
    plan = EntityPlan.of(Versioned, "versioned")
    made, loaded = await entity_pair(engine, plan, 1)
    assert_alike(made, loaded)
    async with AsyncSession(engine) as session, session.begin():
        (await session.get_one(Versioned, 1)).name = "new"
    async with AsyncSession(engine) as session:
        session.add(made)
        made.name = "mine"
        with pytest.raises(StaleDataError):
            await session.commit()


async def test_a_composite_key_keeps_the_keys_order(make_tables: MakeTables) -> None:
    engine = await make_tables(Base.metadata)
    await fill(
        engine, *(Composed(tenant=t, number=n, name=f"{t}{n}") for t in "ab" for n in (1, 2))
    )
    plan = EntityPlan.of(Composed, "composed")
    assert plan.id_types == (str, int)
    assert [column.name for column in plan.id_columns] == ["tenant", "number"]
    assert_alike(*await entity_pair(engine, plan, ("b", 2)))
    rows = await load_rows(engine, plan, [("a", 2), ("b", 1), ("c", 1), ("a", 2)])
    assert {id: plan.entity(row).name for id, row in rows.items()} == {
        ("a", 2): "a2",
        ("b", 1): "b1",
    }


def test_the_mark_says_whose_cache_it_was() -> None:
    plan = EntityPlan.of(Versioned, "versioned")
    entity = plan.entity((1, "a", 1))
    assert cached_by(entity) == "versioned"
    assert cached_by(Versioned(id=1)) is None
    assert "versioned" not in map(str, vars(entity).values())
    # What is made from it is no fresher.
    assert cached_by(copy.copy(entity)) == "versioned"
    assert cached_by(copy.deepcopy(entity)) == "versioned"
    assert cached_by(pickle.loads(pickle.dumps(entity))) == "versioned"
    with Session() as session:
        assert cached_by(session.merge(entity, load=False)) is None
    make_transient(entity)
    assert cached_by(entity) is None


class Cipher(TypeDecorator[str]):
    impl = sa.LargeBinary
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: object) -> bytes | None:
        return None if value is None else value[::-1].encode()

    def process_result_value(self, value: bytes | None, dialect: object) -> str | None:
        return None if value is None else value.decode()[::-1]


class Number(TypeDecorator[int]):
    impl = sa.String
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: object) -> str | None:
        return None if value is None else str(value)

    def process_result_value(self, value: str | None, dialect: object) -> int | None:
        return None if value is None else int(value)


class Decorated(Base):
    __tablename__ = "decorated"

    id: Mapped[int] = mapped_column(Number(), primary_key=True)
    secret: Mapped[str | None] = mapped_column(Cipher())
    bag: Mapped[set[int]] = mapped_column(sa.PickleType())


ID = ColumnCodec(int, int, int, immutable=True)
SECRET = ColumnCodec(str, str, str, immutable=True)
BAG: ColumnCodec[set[int]] = ColumnCodec(sorted, set, set)
CODECS: dict[str, ColumnCodec[Any]] = {"id": ID, "secret": SECRET, "bag": BAG}


async def test_a_type_decorator_is_cached_by_its_codec(make_tables: MakeTables) -> None:
    engine = await make_tables(Base.metadata)
    await fill(engine, Decorated(id=1, secret="abc", bag={1, 2}), Decorated(id=2, bag=set()))
    plan = EntityPlan.of(Decorated, "d", MappingOptions(codecs=CODECS))
    assert plan.id_types == (int,)
    for id in (1, 2):
        assert_alike(*await entity_pair(engine, plan, id))
    row = (await load_rows(engine, plan, [1, 2]))[1]
    plan.entity(row).bag.add(3)
    assert plan.entity(row).bag == {1, 2}


def test_what_unpickles_is_refused_without_a_codec() -> None:
    codecs = {name: codec for name, codec in CODECS.items() if name != "bag"}
    with pytest.raises(MappingRefused, match=r"Decorated.bag: PickleType .*pickle.*ColumnCodec"):
        EntityPlan.of(Decorated, "d", MappingOptions(codecs=codecs))


def eager(lazy: Any) -> type[Any]:
    class Local(DeclarativeBase):
        pass

    class Child(Local):
        __tablename__ = "child"
        id: Mapped[int] = mapped_column(primary_key=True)
        owner_id: Mapped[int] = mapped_column(ForeignKey("owner.id"))

    class Owner(Local):
        __tablename__ = "owner"
        id: Mapped[int] = mapped_column(primary_key=True)
        children: Mapped[list[Child]] = relationship(lazy=lazy)

    return Owner


@pytest.mark.parametrize("lazy", ["joined", "selectin", "subquery", "immediate", False])
def test_an_eager_relationship_is_not_loaded_or_refused(lazy: Any) -> None:
    model, strict = eager(lazy), MappingRules(eager=Eager.REFUSE)
    with pytest.raises(
        MappingRefused, match=r"Owner.children .*not_loaded=\('children',\).*lazy='raise'"
    ):
        EntityPlan.of(model, "owner", rules=strict)
    declared = MappingOptions(not_loaded=("children",))
    for plan in (
        EntityPlan.of(model, "owner"),
        EntityPlan.of(model, "owner", declared, rules=strict),
    ):
        entity = plan.entity((1,))
        with pytest.raises(DetachedInstanceError, match=r"load=\[Owner.children\]"):
            _ = entity.children
        assert inspect(entity).unloaded == {"children"}
        assert "children" not in vars(entity)


@pytest.mark.parametrize("lazy", ["select", "raise", "raise_on_sql", True])
def test_other_relationships_are_taken(lazy: Any) -> None:
    EntityPlan.of(eager(lazy), "owner")


class Counted(Base):
    __tablename__ = "counted"

    id: Mapped[int] = mapped_column(primary_key=True)
    price: Mapped[int] = mapped_column()
    doubled: Mapped[int] = column_property(price * 2)
    items: Mapped[int] = column_property(
        sa.select(sa.func.count(Item.id))
        .where(Item.owner_id == id)
        .correlate_except(Item)
        .scalar_subquery()
    )


async def test_a_computed_attribute_follows_what_it_reads(make_tables: MakeTables) -> None:
    engine = await make_tables(Base.metadata)
    await fill(engine, Collections(id=1), Counted(id=1, price=2))
    await fill(engine, Item(id=1, owner_id=1))
    plan = EntityPlan.of(Counted, "counted")
    assert plan.reads == {Item.__table__}
    made, loaded = await entity_pair(engine, plan, 1)
    assert_alike(made, loaded)
    assert (made.doubled, made.items) == (4, 1)


def test_what_is_declared_not_loaded_cannot_be_read() -> None:
    plan = EntityPlan.of(
        Counted, "counted", MappingOptions(not_loaded=("items", "price"), derived=("doubled",))
    )
    entity = plan.entity(row_of(plan, id=1, doubled=4))
    for name in ("items", "price"):
        with pytest.raises(DetachedInstanceError):
            getattr(entity, name)
    assert entity.doubled == 4
    assert not inspect(entity).modified


@pytest.mark.parametrize(
    "options, words",
    [
        ({"not_loaded": "items"}, "tuple"),
        ({"derived": ["items"]}, "tuple"),
        ({"codecs": {"price": int}}, "ColumnCodec"),
        ({"derived": ("items",), "not_loaded": ("items",)}, "items"),
    ],
)
def test_options_of_a_wrong_form_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        MappingOptions(**options)


@pytest.mark.parametrize(
    "model, options, words",
    [
        (Versioned, MappingOptions(not_loaded=("id",)), "'id' is needed"),
        (
            Versioned,
            MappingOptions(derived=("nmae",)),
            "Versioned maps no column or relationship nmae",
        ),
        (int, MappingOptions(), "no mapped class"),
        (Versioned(), MappingOptions(), "no mapped class"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    model: Any, options: MappingOptions, words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        EntityPlan.of(model, "prefix", options)
