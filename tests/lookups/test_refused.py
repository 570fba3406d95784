"""Which lookups are refused, when, and with what advice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import new_class
from typing import Any

import pytest
from sqlalchemy import CHAR, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from repocache import ConfigurationError, Database, KeyOwner, Lookup, Repository
from repocache.errors import MappingRefused, OwnerClash
from repocache.testing import Endpoints


class Base(DeclarativeBase):
    pass


class Thing(Base):
    __tablename__ = "things"
    __table_args__ = (
        UniqueConstraint("room", "shelf"),
        Index("things_soft", "soft", unique=True, postgresql_where=text("soft > 0")),
        Index("things_hard", "hard", unique=True),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    plain: Mapped[str]
    room: Mapped[int]
    shelf: Mapped[int]
    soft: Mapped[int]
    hard: Mapped[int]
    others: Mapped[list[Other]] = relationship()


class Odd(DeclarativeBase):
    """Its tables are never made."""


class OddThing(Odd):
    __tablename__ = "odd_things"
    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(CHAR(3), unique=True)
    mail: Mapped[str] = mapped_column(postgresql.CITEXT, unique=True)
    address: Mapped[str] = mapped_column(
        postgresql.DOMAIN("address", postgresql.CITEXT()), unique=True
    )
    folded: Mapped[str] = mapped_column(String(collation="NOCASE"), unique=True)
    price: Mapped[float] = mapped_column(unique=True)


class Other(Base):
    __tablename__ = "others"
    id: Mapped[int] = mapped_column(primary_key=True)
    thing: Mapped[int] = mapped_column(ForeignKey("things.id"), unique=True)


class Vehicle(Base):
    __tablename__ = "vehicles"
    id: Mapped[int] = mapped_column(primary_key=True)
    plate: Mapped[str] = mapped_column(unique=True)


class Car(Vehicle):
    __tablename__ = "cars"
    id: Mapped[int] = mapped_column(ForeignKey("vehicles.id"), primary_key=True)
    seats: Mapped[int]


def repository(model: type[Any], lookup: Any, name: str = "by_it") -> type[Repository[Any, int]]:
    members = {"owner": KeyOwner("thing"), name: lookup}
    bases = (Repository[model, int],)  # type: ignore[valid-type]
    return new_class("Things", bases, exec_body=lambda namespace: namespace.update(members))


def database(folder: Path | str, *repositories: type[Repository[Any, Any]]) -> Database:
    url = f"sqlite+aiosqlite:///{folder}/db" if isinstance(folder, Path) else folder
    return Database(url, repositories=repositories)


@pytest.mark.parametrize(
    "model, lookup, why",
    [
        (OddThing, lambda: Lookup(OddThing.code), "several texts for one key"),
        (OddThing, lambda: Lookup(OddThing.mail), "several texts for one key"),
        (OddThing, lambda: Lookup(OddThing.address), "several texts for one key"),
        (OddThing, lambda: Lookup(OddThing.folded), "several texts for one key"),
        (OddThing, lambda: Lookup(OddThing.price), "a key column must give one of int, str"),
        (Car, lambda: Lookup(Car.plate), "lie in two tables"),
    ],
)
def test_columns_in_which_two_values_may_mean_one_row(
    tmp_path: Path, model: type[Any], lookup: Any, why: str
) -> None:
    with pytest.raises(MappingRefused, match=why):
        database(tmp_path, repository(model, lookup()))


NO_ATTRIBUTES: Any = ("email",)
NONE: Any = ()


@pytest.mark.parametrize(
    "lookup, why",
    [
        (lambda: Lookup(Other.thing), r"Things\.by_it: Other.thing is no loaded column attribute"),
        (lambda: Lookup(Thing.others), "no loaded column attribute of Thing"),
        (lambda: Lookup(Thing.id), "its columns are the primary key: use `get`"),
        (lambda: Lookup(*NO_ATTRIBUTES), r"Lookup\('email',\): give column attributes"),
        (lambda: Lookup(*NONE), r"give column attributes of the mapped class"),
    ],
)
def test_what_is_no_column_of_the_class(tmp_path: Path, lookup: Any, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        database(tmp_path, repository(Thing, lookup()))


def test_its_prefix_is_an_owner_s(tmp_path: Path) -> None:
    class Clash(Repository[Vehicle, int]):
        owner = KeyOwner("thing-by_it")

    with pytest.raises(OwnerClash, match="thing-by_it"):
        database(tmp_path, repository(Thing, Lookup(Thing.hard)), Clash)
    with pytest.raises(ConfigurationError, match="thing-By_It"):
        database(tmp_path, repository(Thing, Lookup(Thing.hard), "By_It"))


@pytest.mark.parametrize("name", ["get", "find", "on_primary"])
def test_a_name_that_a_repository_has_itself(tmp_path: Path, name: str) -> None:
    with pytest.raises(
        ConfigurationError, match=rf"Things.{name} = Lookup\(...\): a repository has"
    ):
        database(tmp_path, repository(Thing, Lookup(Thing.hard), name))


REFUSED: dict[str, Callable[[], Any]] = {
    "no constraint": lambda: Lookup(Thing.plain),
    "a part of one": lambda: Lookup(Thing.room),
    "a partial index": lambda: Lookup(Thing.soft),
}
ACCEPTED: dict[str, Callable[[], Any]] = {
    "all of one": lambda: Lookup(Thing.room, Thing.shelf),
    "in another order": lambda: Lookup(Thing.shelf, Thing.room),
    "more than one": lambda: Lookup(Thing.plain, Thing.hard),
    "an index": lambda: Lookup(Thing.hard),
}


@pytest.mark.parametrize("where", ["postgresql", "sqlite"])
async def test_columns_that_are_not_unique(
    where: str, tmp_path: Path, repocache_endpoints: Endpoints
) -> None:
    url = repocache_endpoints.primary
    if where == "sqlite":
        url = f"sqlite+aiosqlite:///{tmp_path}/db"
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    await engine.dispose()
    for lookup in REFUSED.values():
        refused = database(url, repository(Thing, lookup()))
        with pytest.raises(MappingRefused, match=r"Things\.by_it: no unique constraint"):
            await refused.__aenter__()
    for lookup in ACCEPTED.values():
        async with database(url, repository(Thing, lookup())) as db:
            assert await db[repository_of(db)].by_it.get_many([]) == {}


def repository_of(db: Database) -> Any:
    [(each, _)] = db._registry
    return each


async def test_the_database_s_word_counts_and_not_the_metadata_s(
    repocache_endpoints: Endpoints,
) -> None:
    engine = create_async_engine(repocache_endpoints.primary)
    async with engine.begin() as connection:
        for statement in (
            "CREATE TABLE vehicles (id int PRIMARY KEY, plate varchar NOT NULL)",
            "CREATE TABLE things (id int, plain text, hard int, PRIMARY KEY (id))",
            "CREATE UNIQUE INDEX ON things (plain) INCLUDE (hard)",
            "CREATE UNIQUE INDEX ON vehicles (lower(plate))",
        ):
            await connection.execute(text(statement))
    await engine.dispose()
    plates = database(repocache_endpoints.primary, repository(Vehicle, Lookup(Vehicle.plate)))
    with pytest.raises(MappingRefused, match=r"covers \(plate\)"):
        await plates.__aenter__()
    async with database(repocache_endpoints.primary, repository(Thing, Lookup(Thing.plain))):
        pass
    hard = database(repocache_endpoints.primary, repository(Thing, Lookup(Thing.hard)))
    with pytest.raises(MappingRefused, match=r"covers \(hard\)"):
        await hard.__aenter__()
