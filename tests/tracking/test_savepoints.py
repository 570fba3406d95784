"""A savepoint's changes go with it, and only the outermost commit publishes."""

from __future__ import annotations

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError, SAWarning
from sqlalchemy.ext.asyncio import AsyncSession

from repocache.events import UndeclaredWrite
from tests.tracking.shop import Post, Shop, posts


async def test_released_savepoints_belong_to_the_whole(shop: Shop) -> None:
    async with shop.sessions.begin() as session:
        session.add(Post(id=1))
        async with session.begin_nested():
            session.add(Post(id=2))
            async with session.begin_nested():
                session.add(Post(id=3))
        assert shop.notes.published == []
    assert shop.keys == {"post:1", "post:2", "post:3"}


async def test_a_savepoint_that_rolls_back_takes_its_changes(shop: Shop) -> None:
    async with shop.sessions.begin() as session:
        session.add(Post(id=1))
        nested = await session.begin_nested()
        session.add(Post(id=2))
        await session.flush()
        await nested.rollback()
        session.add(Post(id=3))
    assert shop.keys == {"post:1", "post:3"}


async def test_three_deep_with_a_rollback_of_the_middle_one(shop: Shop) -> None:
    async with shop.sessions.begin() as session:
        session.add(Post(id=1))
        async with session.begin_nested():
            session.add(Post(id=2))
            middle = await session.begin_nested()
            session.add(Post(id=3))
            async with session.begin_nested():
                session.add(Post(id=4))
            session.add(Post(id=5))
            await session.flush()
            await middle.rollback()
            session.add(Post(id=6))
        session.add(Post(id=7))
    assert shop.keys == {"post:1", "post:2", "post:6", "post:7"}


async def test_rolling_back_to_an_outer_savepoint_takes_the_inner_ones(shop: Shop) -> None:
    async with shop.engine.begin() as connection:
        outer = await connection.begin_nested()
        await connection.execute(insert(posts), {"id": 1})
        await connection.begin_nested()
        await connection.execute(insert(posts), {"id": 2})
        with pytest.warns(SAWarning, match="already deassociated"):
            await outer.rollback()
        await connection.execute(insert(posts), {"id": 3})
    assert shop.keys == {"post:3"}


async def add_again(session: AsyncSession) -> None:
    async with session.begin_nested():
        session.add_all([Post(id=1), Post(id=3)])
        await session.flush()


async def test_a_failed_flush_in_a_savepoint(shop: Shop) -> None:
    await shop.add(Post(id=1))
    async with shop.plain_session() as session, session.begin():
        session.add(Post(id=2))
        with pytest.raises(IntegrityError):
            await add_again(session)
        session.add(Post(id=4))
    assert shop.keys == {"post:2", "post:4"}


async def test_textual_savepoints_invalidate_rather_too_much(shop: Shop) -> None:
    async with shop.engine.begin() as connection:
        await connection.execute(insert(posts), {"id": 1})
        await connection.exec_driver_sql("SAVEPOINT mine")
        await connection.execute(insert(posts), {"id": 2})
        await connection.exec_driver_sql("ROLLBACK TO SAVEPOINT mine")
    assert shop.keys == {"post:1", "post:2"}


async def test_textual_writes_of_a_savepoint_that_rolled_back_need_no_declaration(
    shop: Shop,
) -> None:
    async with shop.engine.begin() as connection:
        nested = await connection.begin_nested()
        await connection.exec_driver_sql("UPDATE post SET title = 'x'")
        await nested.rollback()
    assert not [event for event in shop.events if isinstance(event, UndeclaredWrite)]
