"""Watching changes nothing: not what is written, not what a result says, not what the application's
own hooks see."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from itertools import count
from typing import Any

import pytest
from sqlalchemy import (
    ColumnElement,
    Executable,
    bindparam,
    delete,
    event,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.exc import DBAPIError, ResourceClosedError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from repocache.keys import Keys
from repocache.tracking import MOST_KEYS, listener, returned
from repocache.tracking.dml import Id
from tests.tracking.shop import Base, Folder, Post, Shop, posts

accounts = Base.metadata.tables["account"]
COUNTING = """
CREATE TABLE counted (n int);;
CREATE FUNCTION counts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO counted VALUES ((SELECT count(*) FROM post)); RETURN NULL;
END $$;;
CREATE TRIGGER counts AFTER INSERT ON post FOR EACH STATEMENT EXECUTE FUNCTION counts()
"""


@pytest.fixture
async def plain(shop_url: str, postgres: Shop) -> AsyncIterator[Any]:
    """A connection to the same tables that nobody watches; it rolls back."""
    engine = create_async_engine(shop_url)
    async with engine.connect() as connection:
        yield connection
    await engine.dispose()


async def test_each_row_of_a_list_sees_those_before(postgres: Shop) -> None:
    last = select(func.coalesce(func.max(accounts.alias("o").c.logins), 0) + 1).scalar_subquery()
    statement = insert(accounts).values(logins=last)
    async with postgres.engine.begin() as connection:
        await connection.execute(statement, [{"email": "a"}, {"email": "b"}, {"email": "c"}])
        logins = await connection.execute(select(accounts.c.logins).order_by(accounts.c.email))
        assert logins.scalars().all() == [1, 2, 3]
    ids = {1, 2, 3}
    assert postgres.keys == {f"{prefix}:{id}" for prefix in ("user", "profile") for id in ids}


async def test_a_list_is_as_many_statements_for_a_trigger(postgres: Shop) -> None:
    async with postgres.engine.begin() as connection:
        for each in COUNTING.split(";;"):
            await connection.execute(text(each))
        try:
            await connection.execute(
                insert(posts), [{"title": "a"}, {"title": "b"}, {"title": "c"}]
            )
            found = await connection.execute(text("SELECT n FROM counted"))
            assert found.scalars().all() == [1, 2, 3]
        finally:
            await connection.rollback()


STATEMENTS = [
    (update(posts).where(posts.c.title == "old").values(title="x"), None),
    (update(posts).where(posts.c.title == "none").values(title="x"), None),
    (delete(posts).where(posts.c.title == "old"), None),
    (delete(posts).where(posts.c.id == 1), None),
    (
        update(posts).where(posts.c.title == bindparam("which")).values(title="y"),
        [{"which": "old"}, {"which": "y"}],
    ),
    (update(posts).where(posts.c.title == "old").values(title="x").returning(posts.c.id), None),
    (insert(posts), [{"title": "a"}, {"title": "b"}]),
    (insert(posts), [{"id": 11}, {"id": 12}]),
    (insert(posts).values(title="a"), None),
    (insert(posts).values(id=17), None),
    (insert(posts).from_select(["title"], select(posts.c.title)), None),
]


def told(result: Any) -> list[Any]:
    said: list[Any] = [result.returns_rows, result.rowcount, result.returned_defaults_rows is None]
    try:
        said.append(len(result.all()))
    except ResourceClosedError as error:
        said.append(str(error))
    return said


@pytest.mark.parametrize("statement, parameters", STATEMENTS)
async def test_a_result_says_what_it_says_without_us(
    postgres: Shop, plain: Any, statement: Any, parameters: Any
) -> None:
    await postgres.add(*(Post(id=number, title="old") for number in (101, 102, 103)))
    expected = told(await plain.execute(statement, parameters))
    await plain.rollback()
    async with postgres.engine.begin() as connection:
        assert told(await connection.execute(statement, parameters)) == expected
    for _ in range(2):
        async with postgres.plain_session() as session:
            found: Any = await session.execute(
                update(Post).where(Post.title == "old").values(title="old")
            )
            assert (found.returns_rows, found.rowcount >= 0) == (False, True)


def one(ids: Iterator[int]) -> ColumnElement[bool]:
    return posts.c.id == bindparam("which", callable_=lambda: next(ids), type_=posts.c.id.type)


def some(ids: Iterator[int]) -> ColumnElement[bool]:
    return posts.c.id.in_(bindparam("which", callable_=lambda: [next(ids)], expanding=True))


@pytest.mark.parametrize("where", [one, some])
async def test_a_callable_parameter_is_called_once(
    postgres: Shop, where: Callable[[Iterator[int]], ColumnElement[bool]]
) -> None:
    await postgres.add(*(Post(id=number, title="old") for number in (1, 2, 3)))
    ids = count(1)
    async with postgres.engine.begin() as connection:
        await connection.execute(update(posts).where(where(ids)).values(title="x"))
        changed = await connection.execute(select(posts.c.id).where(posts.c.title == "x"))
        assert changed.scalars().all() == [1]
    assert next(ids) == 2
    assert postgres.keys == {"post:1"}


async def test_the_applications_own_hooks_see_its_own_statements(postgres: Shop) -> None:
    await postgres.add(Post(id=101, title="old"))
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    event.listen(postgres.engine.sync_engine, "before_cursor_execute", note)
    event.listen(postgres.engine.sync_engine, "after_cursor_execute", note)
    statement = update(posts).where(posts.c.title == "old").values(title="x")
    async with postgres.engine.begin() as connection:
        await connection.execute(statement)
        await connection.execute(insert(posts), [{"title": "a"}, {"title": "b"}])
    assert [each.partition(" ")[0] for each in seen] == ["UPDATE", "UPDATE", "INSERT", "INSERT"]
    assert not any("RETURNING" in each for each in seen)
    assert postgres.keys == {"post:101", "post:1", "post:2"}
    async with postgres.engine.connect() as connection:
        with pytest.raises(DBAPIError) as failed:
            await connection.execute(
                update(posts).where(posts.c.title == "x").values(id=func.nosuch())
            )
        await connection.rollback()
        with pytest.raises(DBAPIError) as division:
            await connection.execute(update(posts).where(posts.c.id / 0 == 1).values(title="x"))
    for error in (failed, division):
        assert str(error.value.statement).startswith("UPDATE post SET")


async def test_an_update_of_more_rows_than_keys_are_worth_fetches_no_more(postgres: Shop) -> None:
    fetched: list[int] = []

    def note(_connection: Any, cursor: Any, *_: Any) -> None:
        fetched.append(cursor.rowcount)

    async with postgres.engine.begin() as connection:
        await connection.execute(
            text(f"INSERT INTO post (title) SELECT 'old' FROM generate_series(1, {2 * MOST_KEYS})")
        )
        event.listen(postgres.engine.sync_engine, "after_cursor_execute", note)
        result = await connection.execute(
            update(posts).where(posts.c.title == "old").values(title="x")
        )
        assert result.rowcount == 2 * MOST_KEYS
        (fewer,) = (
            await connection.execute(select(func.count()).where(posts.c.title == "x"))
        ).scalars()
        assert fewer == 2 * MOST_KEYS
    assert fetched[0] == MOST_KEYS
    assert postgres.keys == {"post:*"}


@pytest.mark.parametrize("more", [0, 1])
@pytest.mark.parametrize("kind", ["list", "values", "returning", "of ids"])
async def test_of_more_rows_than_keys_are_worth_no_key_is_made(
    postgres: Shop, kind: str, more: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would take as long as the statement, in one turn of the loop."""
    made: list[int] = []
    key_texts = returned.key_texts

    def noted(keys: Keys, ids: Sequence[Id], schema: str) -> list[str] | None:
        made.append(len(ids))
        return key_texts(keys, ids, schema)

    monkeypatch.setattr(listener, "key_texts", noted)
    monkeypatch.setattr(listener, "MOST_KEYS", 10)
    monkeypatch.setattr(returned, "MOST_KEYS", 10)
    rows = [{"id": number, "title": "x"} for number in range(10 + more)]
    statement: Executable = insert(posts)
    given: Sequence[dict[str, Any]] | None = rows
    if kind == "values":
        statement, given = insert(posts).values(rows), None
    elif kind == "returning":
        statement, given = insert(posts).returning(posts.c.id), rows
    elif kind == "of ids":
        statement = update(posts).where(posts.c.id == bindparam("i")).values(title="y")
        given = [{"i": row["id"]} for row in rows]
        await postgres.add(*(Post(**row) for row in rows))
        made.clear()
    async with postgres.engine.begin() as connection:
        await connection.execute(statement, given)
    assert (made, len(postgres.keys)) == (([], 1) if more else ([10], 10))
    assert more == 0 or postgres.keys == {"post:*"}


async def test_the_orms_update_by_another_column(postgres: Shop) -> None:
    await postgres.add(*(Folder(id=number, name="old") for number in (1, 2)))
    async with AsyncSession(postgres.engine) as session, session.begin():
        result: Any = await session.execute(
            update(Folder).where(Folder.name == "old").values(name="x")
        )
        assert (result.rowcount, result.returns_rows) == (2, False)
    assert postgres.keys == {"folder:1", "folder:2"}
