"""One error says all that is refused of all repositories, and what to paste."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import DeclarativeBase, Mapped, column_property, mapped_column, relationship

from repocache import (
    ConfigurationError,
    Database,
    Eager,
    KeyOwner,
    MappingOptions,
    Repository,
    Settings,
)
from repocache.errors import MappingRefused

URL = "postgresql+asyncpg://app@nowhere/shop"


class Base(DeclarativeBase):
    pass


class First(Base):
    __tablename__ = "first"
    id: Mapped[int] = mapped_column(primary_key=True)
    bag: Mapped[Any] = mapped_column(sa.PickleType())
    bits: Mapped[Any] = mapped_column(pg.BIT(3))
    now = column_property(sa.func.now())


class Second(Base):
    __tablename__ = "second"
    id: Mapped[int] = mapped_column(primary_key=True)
    bag: Mapped[Any] = mapped_column(sa.PickleType())
    other: Mapped[str]


class Third(Base):
    __tablename__ = "third"
    id: Mapped[float] = mapped_column(primary_key=True)


class Firsts(Repository[First, int]):
    owner = KeyOwner("first")


class Seconds(Repository[Second, int]):
    owner = KeyOwner("second")
    mapping = MappingOptions(not_loaded=("other",))


class Thirds(Repository[Third, float]):
    owner = KeyOwner("third")


def test_all_are_told_at_once() -> None:
    with pytest.raises(MappingRefused) as caught:
        Database(URL, repositories=[Firsts, Seconds, Thirds])
    error = caught.value
    assert [each.leave_out for each in error.parts] == ["now", "bag", "bits", "bag", ""]
    for told in ("First.bag: ", "First.bits: ", "First.now ", "Second.bag: ", "Third.id: "):
        assert str(error).count(told) == 1
    [key] = [line for line in str(error).splitlines() if line.startswith("Third.id")]
    assert "not_loaded" not in key
    assert "ColumnCodec" not in key


def test_what_is_to_be_pasted_works() -> None:
    with pytest.raises(MappingRefused) as caught:
        Database(URL, repositories=[Firsts, Seconds])
    lines = [line for line in str(caught.value).splitlines() if line.startswith("    mapping = ")]
    pasted: list[type[Repository[Any, Any]]] = []
    for repository, line in zip((Firsts, Seconds), lines, strict=True):
        found: dict[str, Any] = {}
        exec(line.strip(), {"MappingOptions": MappingOptions}, found)
        pasted.append(type(repository.__name__, (repository,), found))
    Database(URL, repositories=pasted)


def test_a_foreign_key_to_nowhere_is_our_own_error() -> None:
    class Local(DeclarativeBase):
        pass

    class Lost(Local):
        __tablename__ = "lost"
        id: Mapped[int] = mapped_column(primary_key=True)
        nowhere_id = mapped_column(sa.ForeignKey("nowhere.id"))

    class Losts(Repository[Lost, int]):
        owner = KeyOwner("lost")

    with pytest.raises(
        MappingRefused, match=r"Lost.nowhere_id .*nowhere.id, .*not in the metadata"
    ):
        Database(URL, repositories=[Losts])


def test_classes_that_cannot_be_configured_are_our_own_error() -> None:
    class Local(DeclarativeBase):
        pass

    class Alone(Local):
        __tablename__ = "alone"
        id: Mapped[int] = mapped_column(primary_key=True)
        others: Mapped[list[Any]] = relationship("NobodyHasThis")

    class Alones(Repository[Alone, int]):
        owner = KeyOwner("alone")

    try:
        with pytest.raises(ConfigurationError, match=r"Alone: SQLAlchemy cannot configure"):
            Database(URL, repositories=[Alones])
    finally:
        Local.registry.dispose()


class Parent(Base):
    __tablename__ = "parent"
    id: Mapped[int] = mapped_column(primary_key=True)
    children: Mapped[list[Child]] = relationship(lazy="joined")
    others: Mapped[list[Child]] = relationship(lazy="selectin", viewonly=True)


class Child(Base):
    __tablename__ = "child"
    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int] = mapped_column(sa.ForeignKey("parent.id"))


class Parents(Repository[Parent, int]):
    owner = KeyOwner("parent")


def test_settings_can_refuse_eager_relationships() -> None:
    Database(URL, repositories=[Parents])
    with pytest.raises(MappingRefused) as caught:
        Database(URL, repositories=[Parents], settings=Settings(eager=Eager.REFUSE))
    assert "not_loaded=('children', 'others')" in str(caught.value)


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"eager": "refuse"}, "Eager.REFUSE"),
        ({"codecs": {int: 1}}, "by classes of SQLAlchemy types"),
        ({"codecs": [sa.String]}, "by classes of SQLAlchemy types"),
    ],
)
def test_settings_of_a_wrong_form_are_told(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Settings(**wrong)
