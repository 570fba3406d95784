"""Values that are numbers and UUIDs: a setting is a text, and the key and the column are not."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from repocache import KeyOwner, Lookup, Repository, Scope, UsageError
from repocache.testing import Endpoints
from tests.shop import Shop, open_shop

ONE, OTHER = uuid.UUID(int=1), uuid.UUID(int=2)


class Base(DeclarativeBase):
    pass


class Numbered(Base):
    __tablename__ = "numbered"
    id: Mapped[int] = mapped_column(primary_key=True)
    org: Mapped[int]
    name: Mapped[str] = mapped_column(unique=True)


class Named(Base):
    __tablename__ = "named"
    id: Mapped[int] = mapped_column(primary_key=True)
    org_id: Mapped[uuid.UUID]
    name: Mapped[str] = mapped_column(unique=True)


class NumberedRows(Repository[Numbered, int]):
    owner = KeyOwner("numbered", scope=Scope("number", setting="app.number", column="org"))
    by_name = Lookup(Numbered.name)


class NamedRows(Repository[Named, int]):
    owner = KeyOwner("named", scope=Scope("org", setting="app.org"))
    by_name = Lookup(Named.name)


CASES: dict[str, tuple[Any, str, str, object, object, object]] = {
    "a number": (NumberedRows, "number", "org = current_setting('app.number')::int", 1, -2, "1"),
    "a UUID": (
        NamedRows,
        "org",
        "org_id = nullif(current_setting('app.org', true), '')::uuid",
        ONE,
        OTHER,
        str(ONE),
    ),
}


@pytest.mark.parametrize("kind", CASES)
async def test_each_kind_of_value(repocache_endpoints: Endpoints, kind: str) -> None:
    rows, name, policy, one, other, wrong = CASES[kind]
    model = Numbered if rows is NumberedRows else Named
    engine = create_async_engine(repocache_endpoints.primary)
    table = model.__tablename__
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        for sql in (
            f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
            f"CREATE POLICY own ON {table} USING ({policy})",
        ):
            await connection.execute(text(sql))
    await engine.dispose()
    column = "org" if model is Numbered else "org_id"
    async with open_shop(repocache_endpoints, repositories=[rows]) as shop:
        with pytest.raises(UsageError, match=f"scoped\\({name}="):
            shop.db.scoped(**{name: wrong})  # type: ignore[arg-type]
        async with shop.db.causal_session(None):
            for id, value in ((1, one), (2, other)):
                await written(shop, name, value, model(id=id, name=f"n{id}", **{column: value}))
            for value, own, foreign in ((one, 1, 2), (other, 2, 1)):
                for _ in range(2):
                    async with shop.db.scoped(**{name: value}):  # type: ignore[arg-type]
                        assert (await shop.db[rows].require(own)).name == f"n{own}"
                        assert await shop.db[rows].get(foreign) is None
                        assert await shop.db[rows].by_name.get(f"n{foreign}") is None
                        assert [each.id for each in await shop.db[rows].find()] == [own]


async def written(shop: Shop, name: str, value: object, entity: object) -> None:
    async with (
        shop.db.scoped(**{name: value}),  # type: ignore[arg-type]
        shop.db.unit_of_work() as work,
    ):
        work.add(entity)
        await work.commit()
