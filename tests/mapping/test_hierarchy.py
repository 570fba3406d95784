"""Inheritance: the right class comes back, with all its columns, and a write finds every owner."""

import datetime
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import ForeignKey, ForeignKeyConstraint
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.ext.declarative import AbstractConcreteBase
from sqlalchemy.orm import DeclarativeBase, Mapped, foreign, mapped_column

from repocache.errors import CodecError, MappingRefused
from repocache.mapping.options import MappingOptions
from repocache.mapping.plan import EntityPlan
from tests.mapping.compare import assert_alike, entity_pair, load_rows
from tests.mapping.conftest import MakeTables


class Base(DeclarativeBase):
    pass


class Animal(Base):
    """One table for all."""

    __tablename__ = "animal"
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}  # noqa: RUF012

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str | None]
    name: Mapped[str | None]


class Cat(Animal):
    __mapper_args__ = {"polymorphic_identity": "cat"}  # noqa: RUF012

    lives: Mapped[int | None]
    born: Mapped[datetime.date | None] = mapped_column(use_existing_column=True)


class Dog(Animal):
    __mapper_args__ = {"polymorphic_identity": "dog"}  # noqa: RUF012

    born: Mapped[datetime.date | None] = mapped_column(use_existing_column=True)
    toys: Mapped[list[str] | None] = mapped_column(sa.JSON)


class Puppy(Dog):
    __mapper_args__ = {"polymorphic_identity": "puppy"}  # noqa: RUF012


class Wild(Animal):
    __mapper_args__ = {"polymorphic_abstract": True}  # noqa: RUF012

    habitat: Mapped[str | None]


class Wolf(Wild):
    __mapper_args__ = {"polymorphic_identity": "wolf"}  # noqa: RUF012


class Person(Base):
    """A table for each class."""

    __tablename__ = "person"
    __mapper_args__ = {"polymorphic_on": "role", "polymorphic_identity": 0}  # noqa: RUF012

    tenant: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[int] = mapped_column(primary_key=True)
    role: Mapped[int]
    name: Mapped[str]


class Engineer(Person):
    """Its key columns have other names, and another order."""

    __tablename__ = "engineer"
    __table_args__ = (
        sa.PrimaryKeyConstraint("engineer_id", "engineer_tenant"),
        ForeignKeyConstraint(["engineer_tenant", "engineer_id"], ["person.tenant", "person.id"]),
    )
    __mapper_args__ = {"polymorphic_identity": 1}  # noqa: RUF012

    engineer_id: Mapped[int]
    engineer_tenant: Mapped[int]
    tools: Mapped[str]


class Manager(Person):
    """Its key columns have the names of its parent's."""

    __tablename__ = "manager"
    __table_args__ = (ForeignKeyConstraint(["tenant", "id"], ["person.tenant", "person.id"]),)
    __mapper_args__ = {"polymorphic_identity": 2}  # noqa: RUF012

    tenant: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[int] = mapped_column(primary_key=True)
    budget: Mapped[int]


class Boss(Manager):
    """Shares its parent's table."""

    __mapper_args__ = {"polymorphic_identity": 3}  # noqa: RUF012

    car: Mapped[str | None]


class Director(Manager):
    __tablename__ = "director"
    __table_args__ = (ForeignKeyConstraint(["tenant", "id"], ["manager.tenant", "manager.id"]),)
    __mapper_args__ = {"polymorphic_identity": 4}  # noqa: RUF012

    tenant: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[int] = mapped_column(primary_key=True)
    shares: Mapped[int]


class Round(Base):
    __tablename__ = "round"

    id: Mapped[int] = mapped_column(primary_key=True)
    radius: Mapped[int] = mapped_column()
    __mapper_args__ = {  # noqa: RUF012
        "polymorphic_on": sa.case((radius > 10, "big"), else_="small"),
        "polymorphic_identity": "small",
    }


class Big(Round):
    __mapper_args__ = {"polymorphic_identity": "big"}  # noqa: RUF012


BORN = datetime.date(2020, 1, 2)


def animals() -> list[Animal]:
    return [
        Animal(id=1, name="a"),
        Cat(id=2, name="c", lives=9, born=BORN),
        Dog(id=3, name="d", born=BORN, toys=["ball"]),
        Puppy(id=4, name="p", toys=None),
        Wolf(id=5, name="w", habitat="wood"),
    ]


def people() -> list[Person]:
    return [
        Person(tenant=1, id=1, name="p"),
        Engineer(tenant=1, id=2, name="e", tools="hammer"),
        Manager(tenant=2, id=2, name="m", budget=5),
        Boss(tenant=2, id=3, name="b", budget=6, car="red"),
        Director(tenant=2, id=4, name="d", budget=7, shares=8),
    ]


async def fill(engine: AsyncEngine, entities: list[Any]) -> None:
    async with AsyncSession(engine) as session, session.begin():
        session.add_all(entities)


@pytest.mark.parametrize("model", [Animal, Cat, Dog, Puppy, Wild, Wolf])
async def test_one_table_for_all(model: type[Animal], make_tables: MakeTables) -> None:
    engine = await make_tables(Base.metadata)
    await fill(engine, animals())
    plan = EntityPlan.of(model, "animal")
    rows = await load_rows(engine, plan, range(10))
    assert set(rows) == {animal.id for animal in animals() if isinstance(animal, model)}
    for id in rows:
        assert_loaded_alike(*await entity_pair(engine, plan, id))


@pytest.mark.parametrize("model", [Person, Engineer, Manager, Boss, Director])
async def test_a_table_for_each_class(model: type[Person], make_tables: MakeTables) -> None:
    engine = await make_tables(Base.metadata)
    await fill(engine, people())
    plan = EntityPlan.of(model, "person")
    rows = await load_rows(engine, plan, [(tenant, id) for tenant in (1, 2) for id in range(1, 6)])
    assert set(rows) == {(each.tenant, each.id) for each in people() if isinstance(each, model)}
    for id in rows:
        assert_loaded_alike(*await entity_pair(engine, plan, id))


def assert_loaded_alike(made: Any, loaded: Any) -> None:
    """Of a child loaded as its parent, a session leaves the child's columns for later; the cache
    never does."""
    later = loaded_later(loaded)
    assert not loaded_later(made)
    for name in later:
        loaded.__dict__[name] = getattr(made, name)
    sa.inspect(loaded).expired_attributes.clear()
    assert_alike(made, loaded)


def loaded_later(entity: Any) -> set[str]:
    state = sa.inspect(entity)
    return {name for name in state.unloaded if name in state.mapper.column_attrs}


async def test_all_columns_of_children_are_right(make_tables: MakeTables) -> None:
    engine = await make_tables(Base.metadata)
    await fill(engine, [*animals(), *people()])
    plan: EntityPlan[Any] = EntityPlan.of(Animal, "animal")
    rows = await load_rows(engine, plan, [2, 3])
    cat, dog = (plan.entity(rows[id]) for id in (2, 3))
    assert (type(cat), cat.lives, cat.born) == (Cat, 9, BORN)
    assert (type(dog), dog.toys, dog.born) == (Dog, ["ball"], BORN)
    plan = EntityPlan.of(Person, "person")
    rows = await load_rows(engine, plan, [(1, 2), (2, 4)])
    engineer, director = plan.entity(rows[1, 2]), plan.entity(rows[2, 4])
    assert (engineer.engineer_tenant, engineer.engineer_id, engineer.tools) == (1, 2, "hammer")
    assert (director.budget, director.shares) == (7, 8)
    assert sa.inspect(director).key == (Person, (2, 4), None)


async def test_the_class_may_be_computed(make_tables: MakeTables) -> None:
    engine = await make_tables(Base.metadata)
    await fill(engine, [Round(id=1, radius=1), Round(id=2, radius=11)])
    plan = EntityPlan.of(Round, "round")
    for id, kind in ((1, Round), (2, Big)):
        made, loaded = await entity_pair(engine, plan, id)
        assert type(made) is type(loaded) is kind
        assert_alike(made, loaded)
    assert set(await load_rows(engine, EntityPlan.of(Big, "big"), [1, 2])) == {2}


def test_a_row_without_a_class_is_of_the_class_itself() -> None:
    plan = EntityPlan.of(Animal, "animal")
    row = [None] * len(plan.columns)
    assert type(plan.entity(tuple(row))) is Animal


@pytest.mark.parametrize("kind", ["snail", 5])
def test_a_row_of_an_unknown_class_is_an_error(kind: object) -> None:
    plan = EntityPlan.of(Animal, "animal")
    row: list[Any] = [None] * len(plan.columns)
    assert plan.layout.discriminator is not None
    row[plan.layout.discriminator] = kind
    with pytest.raises(CodecError, match=f"Animal: .* {kind!r}"):
        plan.entity(tuple(row))


def tables_of(model: type[Any]) -> dict[str, list[str]]:
    return {
        table.name: [column.name for column in columns]
        for table, columns in EntityPlan.of(model, "prefix").tables.items()
    }


def test_every_table_of_a_hierarchy_is_known_with_its_key() -> None:
    assert tables_of(Person) == {
        "person": ["tenant", "id"],
        "engineer": ["engineer_tenant", "engineer_id"],
        "manager": ["tenant", "id"],
        "director": ["tenant", "id"],
    }
    assert tables_of(Manager) == {
        name: ["tenant", "id"] for name in ("person", "manager", "director")
    }
    assert tables_of(Director) == tables_of(Manager)
    assert tables_of(Puppy) == {"animal": ["id"]}


class Parent(Base):
    __tablename__ = "parent"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    __mapper_args__ = {"polymorphic_on": "kind"}  # noqa: RUF012


class Told(Parent):
    """Says itself how it is joined."""

    __tablename__ = "told"

    told_id: Mapped[int] = mapped_column(ForeignKey("parent.id"), primary_key=True)
    other_id: Mapped[int | None] = mapped_column(ForeignKey("parent.id"))
    __mapper_args__ = {  # noqa: RUF012
        "polymorphic_identity": "told",
        "inherit_condition": foreign(told_id) == Parent.id,
    }


async def test_a_join_may_be_told(make_tables: MakeTables) -> None:
    engine = await make_tables(Base.metadata)
    await fill(engine, [Told(id=1)])
    assert tables_of(Parent) == {"parent": ["id"], "told": ["told_id"]}
    assert all(
        column.table is table
        for table, columns in EntityPlan.of(Told, "t").tables.items()
        for column in columns
    )
    assert_loaded_alike(*await entity_pair(engine, EntityPlan.of(Parent, "parent"), 1))
    assert_loaded_alike(*await entity_pair(engine, EntityPlan.of(Told, "told"), 1))


def test_an_option_may_name_what_only_a_child_has() -> None:
    plan = EntityPlan.of(Animal, "animal", MappingOptions(not_loaded=("toys",)))
    assert "toys" not in {getattr(column, "key", "") for column in plan.columns}


def test_a_child_joined_by_less_than_the_key_is_refused() -> None:
    class Local(DeclarativeBase):
        pass

    class Top(Local):
        __tablename__ = "top"
        a: Mapped[int] = mapped_column(primary_key=True)
        b: Mapped[int] = mapped_column(primary_key=True)
        unique: Mapped[int] = mapped_column(unique=True)

    class Below(Top):
        __tablename__ = "below"
        c: Mapped[int] = mapped_column(ForeignKey("top.unique"), primary_key=True)

    with pytest.raises(MappingRefused, match="Top: the table below of Below does not hold the id"):
        EntityPlan.of(Top, "top")


def test_a_mapping_that_ties_no_write_to_a_key_is_refused() -> None:
    class Local(DeclarativeBase):
        pass

    left, right = (
        sa.Table(name, Local.metadata, sa.Column(f"{name}_id", sa.Integer, primary_key=True))
        for name in ("l", "r")
    )

    class Joined(Local):
        __table__ = sa.join(left, right, left.c.l_id == right.c.r_id)

    class Selected(Local):
        __table__ = sa.select(left).subquery()

    for model in (Joined, Selected):
        with pytest.raises(
            MappingRefused, match=f"{model.__name__} is mapped to a .*Map a class to the table"
        ):
            EntityPlan.of(model, "prefix")


def test_what_reads_several_concrete_tables_is_refused_and_a_leaf_is_not() -> None:
    class Local(DeclarativeBase):
        pass

    class Top(Local):
        __tablename__ = "top"
        id: Mapped[int] = mapped_column(primary_key=True)

    class Below(Top):
        __tablename__ = "below"
        __mapper_args__ = {"concrete": True}  # noqa: RUF012
        id: Mapped[int] = mapped_column(primary_key=True)

    class Union(AbstractConcreteBase, Local):
        strict_attrs = True
        id: Mapped[int] = mapped_column(primary_key=True)

    class Member(Union):
        __tablename__ = "member"
        __mapper_args__ = {"concrete": True, "polymorphic_identity": "member"}  # noqa: RUF012
        id: Mapped[int] = mapped_column(primary_key=True)

    sa.orm.configure_mappers()
    for model, words in ((Top, "give repositories to Below"), (Union, "to Member, and none")):
        with pytest.raises(MappingRefused, match=words):
            EntityPlan.of(model, "prefix")
    for leaf in (Below, Member):
        plan: EntityPlan[Any] = EntityPlan.of(leaf, "prefix")
        assert [table.name for table in plan.tables] == [leaf.__tablename__]
        assert sa.inspect(plan.entity((1,))).key[0] is leaf
