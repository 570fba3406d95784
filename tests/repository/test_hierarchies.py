"""Repositories of classes that inherit: the right class and all of its attributes, from wherever a
read is answered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import ForeignKey
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from repocache import Database, KeyOwner, Repository
from repocache.testing import Endpoints
from tests.shop import Shop, open_shop


class Base(DeclarativeBase):
    pass


class Person(Base):
    __tablename__ = "people"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    name: Mapped[str]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "person"}  # noqa: RUF012


class Engineer(Person):
    """In the same table."""

    __mapper_args__ = {"polymorphic_identity": "engineer"}  # noqa: RUF012
    language: Mapped[str | None]


class Manager(Person):
    """In a table of its own."""

    __tablename__ = "managers"
    id: Mapped[int] = mapped_column(ForeignKey("people.id"), primary_key=True)
    budget: Mapped[int]
    __mapper_args__ = {"polymorphic_identity": "manager"}  # noqa: RUF012


class People(Repository[Person, int]):
    owner = KeyOwner("person")


class Engineers(Repository[Engineer, int]):
    owner = KeyOwner("engineer")


class Managers(Repository[Manager, int]):
    owner = KeyOwner("manager")


@pytest.fixture
async def staff(tmp_path: Path) -> AsyncIterator[Shop]:
    url = f"sqlite+aiosqlite:///{tmp_path}/staff"
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    await engine.dispose()
    async with open_shop(
        Endpoints(url, (), ""), repositories=(People, Engineers, Managers)
    ) as staff:
        async with staff.db.unit_of_work() as work:
            work.add_all(
                [
                    Person(id=1, name="a"),
                    Engineer(id=2, name="b", language="Lua"),
                    Manager(id=3, name="c", budget=30),
                    Manager(id=4, name="d", budget=40),
                ]
            )
            await work.commit()
        yield staff


async def check(people: People, engineers: Engineers, managers: Managers) -> None:
    many = await people.get_many([3, 2, 1])
    assert [type(each) for each in many.values()] == [Manager, Engineer, Person]
    manager = await people.require(4)
    assert isinstance(manager, Manager)
    assert manager.budget == 40
    found = await people.find(Person.id > 1, order_by=[Person.name.desc()], limit=2)
    assert [(type(each), each.name) for each in found] == [(Manager, "d"), (Manager, "c")]
    (engineer,) = await people.find(order_by=[Person.name.desc()], limit=1, after=found[-1])
    assert isinstance(engineer, Engineer)
    assert engineer.language == "Lua"
    assert await engineers.get(1) is None
    assert [each.language for each in await engineers.find()] == ["Lua"]
    assert [
        each.budget for each in await managers.find(order_by=[Manager.budget.desc()], limit=1)
    ] == [40]
    assert [
        each.id
        for each in await managers.find(order_by=[Manager.name], after=await managers.require(3))
    ] == [4]
    assert (
        await people.count(),
        await engineers.count(),
        await managers.count(Manager.budget > 30),
    ) == (4, 1, 1)
    assert await managers.exists(Person.name == "c")
    assert not await engineers.exists(Person.name == "c")


async def test_outside_a_transaction(staff: Shop) -> None:
    await check(staff.db[People], staff.db[Engineers], staff.db[Managers])
    # Once more, now that the caches are warm.
    await check(staff.db[People], staff.db[Engineers], staff.db[Managers])


async def test_past_the_cache(staff: Shop) -> None:
    db = staff.db
    await check(db[People].on_primary(), db[Engineers].on_primary(), db[Managers].on_primary())


async def test_inside_a_transaction(staff: Shop) -> None:
    async with staff.db.unit_of_work() as work:
        await check(work[People], work[Engineers], work[Managers])


async def test_a_write_reaches_the_repositories_of_the_whole_hierarchy(staff: Shop) -> None:
    assert (await staff.db[People].require(3)).name == "c"
    assert (await staff.db[Managers].require(3)).name == "c"
    async with staff.db.unit_of_work() as work:
        (await work[Managers].require(3)).name = "new"
        await work.commit()
    assert (await staff.db[People].require(3)).name == "new"
    assert (await staff.db[Managers].require(3)).name == "new"


def test_a_database_needs_no_order_of_its_classes() -> None:
    Database("sqlite+aiosqlite:////nowhere", repositories=(Managers, People, Engineers))
