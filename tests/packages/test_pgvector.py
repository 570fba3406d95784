"""Vectors of pgvector: a database type of its own, and values that can be changed in place."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from repocache import KeyOwner, Repository
from repocache.mapping.plan import EntityPlan
from repocache.mapping.rules import MappingRules
from repocache.testing import Servers
from tests.mapping.compare import dialect_of
from tests.packages.places import Places, needs

package: Any = needs("pgvector.sqlalchemy")


class Base(DeclarativeBase):
    pass


class Item(Base):
    __tablename__ = "item"
    id: Mapped[int] = mapped_column(primary_key=True)
    embedding: Mapped[Any] = mapped_column(package.VECTOR(3), nullable=True)


class Items(Repository[Item, int]):
    owner = KeyOwner("item")


def alike(one: Any, other: Any) -> bool:
    return list(one) == list(other) if hasattr(one, "__iter__") else bool(one == other)


async def test_a_vector_is_read_everywhere_as_it_is(
    places: Places, repocache_servers: Servers
) -> None:
    if not await places.has_extension("vector"):
        pytest.skip("this server has not the extension pgvector")
    repocache_servers.primary.sql("CREATE EXTENSION vector", places.engine.url.database or "")
    await places.make(Base.metadata)

    def change(item: Any) -> None:
        item.embedding = [4, 5, 6.5]

    await places.round_trip(Items, lambda: Item(id=1, embedding=[1, 2, 3]), change, alike=alike)


def test_each_entity_has_a_vector_of_its_own() -> None:
    plan = EntityPlan.of(Item, "item", rules=MappingRules(dialect_of("postgresql+asyncpg")))
    row = (1, "[1,2,3]")
    first, second = plan.entity(row), plan.entity(row)
    assert first.embedding is not second.embedding
    assert list(second.embedding) == [1, 2, 3]
    assert isinstance(plan.layout.stored[1].leaf, package.VECTOR)
    assert not isinstance(plan.layout.stored[1].leaf, Text)
