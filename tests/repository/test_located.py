"""What the database itself says of a repository's table, and ids of the driver's own class."""

from __future__ import annotations

import uuid

import pytest
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from repocache import ConfigurationError, Database, KeyOwner, Repository, Settings
from repocache.events import Event, Served
from repocache.testing import Endpoints


class Base(DeclarativeBase):
    pass


class Draft(Base):
    __tablename__ = "drafts"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    parent: Mapped[uuid.UUID | None]


class Drafts(Repository[Draft, uuid.UUID]):
    owner = KeyOwner("draft")


ONE, TWO = uuid.UUID(int=1), uuid.UUID(int=2)


async def make(endpoints: Endpoints, *statements: str) -> None:
    engine = create_async_engine(endpoints.primary)
    async with engine.begin() as connection:
        for statement in statements:
            await connection.exec_driver_sql(statement)
    await engine.dispose()


async def test_a_table_that_the_database_calls_unlogged_is_read_from_the_primary_only(
    repocache_endpoints: Endpoints,
) -> None:
    await make(
        repocache_endpoints,
        "CREATE UNLOGGED TABLE drafts (id uuid PRIMARY KEY, parent uuid)",
        f"INSERT INTO drafts VALUES ('{ONE}', NULL)",
    )
    seen: list[Event] = []
    ends = repocache_endpoints
    db = Database(
        ends.primary,
        replicas=ends.replicas,
        redis=ends.redis,
        repositories=[Drafts],
        settings=Settings(observe=seen.append),
    )
    async with db:
        for _ in range(3):
            assert (await db[Drafts].find())[0].id == ONE
        assert (await db[Drafts].get(ONE)) is not None
    assert {
        event.node for event in seen if isinstance(event, Served) and event.tier == "database"
    } == {"primary"}


async def test_a_database_view_is_refused_at_the_start(repocache_endpoints: Endpoints) -> None:
    await make(
        repocache_endpoints,
        f"CREATE VIEW drafts AS SELECT '{ONE}'::uuid AS id, NULL::uuid AS parent",
    )
    with pytest.raises(ConfigurationError, match="drafts is a view"):
        async with Database(repocache_endpoints.primary, repositories=[Drafts]):
            pass


async def test_an_id_that_the_driver_gave_is_an_id(repocache_endpoints: Endpoints) -> None:
    await make(
        repocache_endpoints,
        "CREATE TABLE drafts (id uuid PRIMARY KEY, parent uuid)",
        f"INSERT INTO drafts VALUES ('{ONE}', NULL), ('{TWO}', '{ONE}')",
    )
    ends = repocache_endpoints
    async with Database(ends.primary, redis=ends.redis, repositories=[Drafts]) as db:
        async with db.unit_of_work() as work:
            parent = (await work[Drafts].require(TWO)).parent
        assert parent is not None
        assert type(parent) is not uuid.UUID
        assert (await db[Drafts].require(parent)).id == ONE
        assert (await db[Drafts].require(ONE)).id == ONE
