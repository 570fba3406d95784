"""Writes that only the database can explain: who has read the row through the cache is shown the
new one."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import create_async_engine

from repocache.events import UndeclaredWrite
from repocache.testing import Endpoints
from tests.shop import Countries, Order, OrderId, Orders, User, Users, open_shop

SCHEMA = (
    "CREATE TABLE region (id int PRIMARY KEY)",
    "INSERT INTO region VALUES (1)",
    "ALTER TABLE orders ADD COLUMN region int REFERENCES region ON DELETE CASCADE",
    "UPDATE orders SET region = 1 WHERE number = 1",
    "CREATE VIEW adult AS SELECT id, name FROM users WHERE age >= 18",
    "CREATE TABLE users_of_old () INHERITS (users)",
    """CREATE FUNCTION rename(int) RETURNS text LANGUAGE sql AS
    $$ UPDATE users SET name = 'renamed' WHERE id = $1 RETURNING name $$""",
)
region = Table("region", MetaData(), Column("id", Integer, primary_key=True))
adult = Table("adult", MetaData(), Column("id", Integer, primary_key=True), Column("name", Text))
users_of_old = Table(
    "users_of_old", MetaData(), *(Column(each.name, each.type) for each in User.__table__.columns)
)


async def prepare(endpoints: Endpoints) -> None:
    engine = create_async_engine(endpoints.primary)
    async with engine.begin() as connection:
        for statement in SCHEMA:
            await connection.exec_driver_sql(statement)
    await engine.dispose()


@pytest.mark.parametrize(
    "statement, id, name",
    [
        (update(adult).where(adult.c.id == 30).values(name="new"), 30, "new"),
        (insert(users_of_old).values(id=70, name="new", age=3, settings={}), 70, "new"),
        (select(func.rename(30)), 30, "renamed"),
    ],
)
async def test_a_row_that_is_written_by_another_name(
    repocache_endpoints: Endpoints, statement: Any, id: int, name: str
) -> None:
    await prepare(repocache_endpoints)
    async with open_shop(repocache_endpoints) as shop, shop.db.causal_session():
        before = await shop.users.get(id)
        assert before is None or before.name == f"n{id}"
        async with shop.db.unit_of_work() as work:
            await work.session.execute(statement)
            if statement.is_select:
                work.changes(Users, ids=[id])
            await work.commit()
        assert (await shop.users.require(id)).name == name
        assert not shop.seen.of(UndeclaredWrite)


async def test_rows_that_the_database_deletes_with_others(repocache_endpoints: Endpoints) -> None:
    await prepare(repocache_endpoints)
    async with open_shop(repocache_endpoints) as shop, shop.db.causal_session():
        orders = shop.db[Orders]
        assert await orders.get(OrderId(1, 1)) is not None
        async with shop.db.sessionmaker.begin() as session:
            await session.execute(delete(region))
        assert await orders.get(OrderId(1, 1)) is None
        assert isinstance(await orders.get(OrderId(1, 2)), Order)


async def test_a_call_that_nobody_declared(repocache_endpoints: Endpoints) -> None:
    await prepare(repocache_endpoints)
    async with open_shop(repocache_endpoints, repositories=[Countries]) as shop:
        async with shop.db.sessionmaker.begin() as session:
            await session.execute(select(func.rename(30), func.lower("A")))
        (told,) = shop.seen.of(UndeclaredWrite)
        assert told.statement.startswith("SELECT rename(")
