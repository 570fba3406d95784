"""Textual SQL: seen as writing, declared by the application, and else an event."""

from __future__ import annotations

from sqlalchemy import DDL, select, text

from repocache.events import UndeclaredWrite
from tests.tracking.shop import Post, Shop

UPDATE = "UPDATE post SET title = 'x' WHERE id = 1"
SHOWN = "UPDATE post SET title = ? WHERE id = ?"


def undeclared(shop: Shop) -> list[str]:
    return [event.statement for event in shop.events if isinstance(event, UndeclaredWrite)]


async def test_textual_writes_that_nobody_declared_are_an_event(shop: Shop) -> None:
    for way in range(4):
        shop.events.clear()
        async with shop.engine.begin() as connection:
            if way == 0:
                await connection.execute(text(UPDATE))
            elif way == 1:
                await connection.exec_driver_sql(UPDATE)
            elif way == 2:
                await connection.execute(text(f"{UPDATE} RETURNING id").columns(Post.id))
            else:
                await connection.execute(DDL(UPDATE))  # type: ignore[no-untyped-call]
        (statement,) = undeclared(shop)
        assert statement.startswith(SHOWN)
    # Its session alone is concerned, which has to see it.
    assert [published.keys for published in shop.notes.published] == [frozenset()] * 4


async def test_textual_writes_in_the_orms_clothes(shop: Shop) -> None:
    await shop.add(Post(id=1))
    async with shop.plain_session() as session, session.begin():
        statement = select(Post).from_statement(text(f"{UPDATE} RETURNING *"))
        assert [post.title for post in await session.scalars(statement)] == ["x"]
    assert len(undeclared(shop)) == 1


async def test_textual_writes_in_ctes(postgres: Shop) -> None:
    async with postgres.engine.begin() as connection:
        cte = text(f"{UPDATE} RETURNING id").columns(Post.id).cte("changed")
        await connection.execute(select(cte))
    assert undeclared(postgres) == [f"{SHOWN} RETURNING id"]


async def test_declared_textual_writes_are_published_and_no_event(shop: Shop) -> None:
    async with shop.unit_of_work() as work:
        await work.session.execute(text(UPDATE))
        work.declare("post", ["post:1"])
        await work.commit()
    assert undeclared(shop) == []
    assert shop.keys == {"post:1"}


async def test_what_is_rolled_back_is_no_event(shop: Shop) -> None:
    async with shop.engine.connect() as connection:
        await connection.exec_driver_sql(UPDATE)
    assert undeclared(shop) == []


async def test_textual_reads_are_no_event(shop: Shop) -> None:
    async with shop.engine.begin() as connection:
        await connection.execute(text("SELECT * FROM post"))
        await connection.execute(text("WITH x AS (SELECT 1) SELECT * FROM x"))
        await connection.exec_driver_sql("/* UPDATE */ SELECT 'DELETE FROM post'")
    assert undeclared(shop) == []


async def test_a_truncated_table_moves_its_owner(postgres: Shop) -> None:
    async with postgres.engine.begin() as connection:
        await connection.execute(
            text('TRUNCATE TABLE ONLY "orders", public.paper RESTART IDENTITY')
        )
    assert postgres.keys == {"order:*", "paper:*"}
    postgres.clear()
    async with postgres.engine.begin() as connection:
        await connection.exec_driver_sql("TRUNCATE folder CASCADE")
    assert postgres.keys == {"folder:*", "paper:*"}
    assert undeclared(postgres) == []


async def test_a_truncated_table_that_nobody_knows_is_an_event(postgres: Shop) -> None:
    async with postgres.engine.begin() as connection:
        await connection.exec_driver_sql("CREATE TABLE foreign_things (id int)")
        await connection.exec_driver_sql("TRUNCATE foreign_things")
        await connection.exec_driver_sql("DROP TABLE foreign_things")
    assert undeclared(postgres) == ["TRUNCATE foreign_things"]
