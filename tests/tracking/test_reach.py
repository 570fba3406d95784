"""How far a write reaches: other Table objects of one table, tables of a hierarchy, columns that
nobody named."""

from __future__ import annotations

from enum import Enum
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Integer,
    MetaData,
    String,
    Table,
    bindparam,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.dialects import postgresql

from repocache.keys import KeyOwner, Keys
from repocache.tracking.returned import key_texts
from tests.tracking.library import (
    Author,
    Book,
    Note,
    Reader,
    author,
    author_again,
    book,
    book_again,
    label,
    review,
)
from tests.tracking.shop import Shop


async def core(library: Shop, statement: Any, parameters: Any = None) -> None:
    library.clear()
    async with library.engine.begin() as connection:
        await connection.execute(statement, parameters)


async def orm(library: Shop, statement: Any, parameters: Any = None) -> None:
    library.clear()
    async with library.sessions.begin() as session:
        await session.execute(statement, parameters)


def labels(library: Shop) -> set[str]:
    return {key for key in library.keys if key.startswith("label")}


async def test_bulk_statements_of_the_orm_name_each_table_that_they_write(library: Shop) -> None:
    await orm(library, insert(Reader), [{"name": "a", "card": "x"}, {"name": "b", "card": "y"}])
    assert library.keys == {"person:1", "person:2", "clerk:1", "clerk:2"}
    await orm(library, update(Reader), [{"id": 1, "card": "z"}, {"id": 2, "card": "z"}])
    assert library.keys == {"person:1", "person:2"}
    await orm(library, update(Reader), [{"id": 1, "name": "z", "card": "z"}])
    assert library.keys == {"person:1", "clerk:1"}


async def test_another_table_object_of_the_table_names_the_keys(library: Shop) -> None:
    await library.add(Author(name="a"), Book(title="a"), Book(title="b"))
    await core(library, update(author_again).where(author_again.c.number == 1).values(name="x"))
    assert library.keys == {"author:1", "note:*"}
    await core(library, update(book_again).where(book_again.c.title == "b").values(title="c"))
    assert library.keys == {"book:2", "samebook:2", "shelf:*"}
    await core(library, insert(book_again), [{"title": "d"}, {"title": "e"}])
    assert library.keys == {"book:3", "book:4", "samebook:3", "samebook:4", "shelf:*"}
    public = Table(
        "book", MetaData(), Column("id", Integer), Column("title", String), schema="public"
    )
    await core(library, delete(public).where(public.c.title == "a"))
    assert library.keys == {"book:1", "samebook:1", "shelf:*", "review:*"}
    await core(
        library, update(Table("book", MetaData(), Column("title", String))).values(title="z")
    )
    assert library.keys == {"book:*", "samebook:*", "shelf:*", "review:*"}


async def test_a_foreign_key_of_another_metadata_cascades(library: Shop) -> None:
    await library.add(Book(title="a"))
    await core(library, insert(review).from_select(["book_id"], select(book.c.id)))
    await core(library, delete(book).where(book.c.id == 1))
    assert library.keys == {"book:1", "samebook:1", "shelf:*", "review:1"}
    async with library.engine.connect() as connection:
        assert (await connection.execute(select(review))).all() == []


async def test_columns_that_are_set_unsaid_reach_who_refers_to_them(library: Shop) -> None:
    await library.add(Author(name="a"))
    await library.add(Note(about=10))
    await core(library, update(author).where(author.c.id == 1).values(name="x"))
    assert library.keys == {"author:1", "note:*"}
    async with library.sessions() as session:
        # The default of the update made it 1 * 10 + 1, and the note went along.
        assert (await session.scalars(select(Note.about))).all() == [11]


async def test_an_upsert_that_sets_the_key_by_the_columns_key(library: Shop) -> None:
    await core(library, insert(label), [{"c": "a"}])
    statement = postgresql.insert(label).values(c="a")
    for set_ in ({"c": "b"}, {label.c.c: "b"}):
        upsert = statement.on_conflict_do_update(index_elements=["code"], set_=set_)
        await core(library, upsert.returning(label.c.c))
        assert labels(library) == {"label:*"}
        await core(library, update(label).values(c="a"))
    await core(
        library, statement.on_conflict_do_update(index_elements=["code"], set_={"text": "x"})
    )
    assert labels(library) == {"label:a"}


@pytest.mark.parametrize("given, key", [("ab ", "label:ab%20"), ("ab   ", "label:*")])
async def test_blanks_that_the_database_drops(library: Shop, given: str, key: str) -> None:
    await core(library, insert(label).values(c=given))
    assert key in library.keys
    async with library.engine.connect() as connection:
        assert (await connection.execute(select(label.c.c))).scalars().all() == ["ab "]
    await core(
        library,
        update(label).where(label.c.c == bindparam("which")),
        {"which": "ab ", "c": f"x{given}"[:3]},
    )
    assert labels(library) == {"label:ab%20", "label:xab"}
    await core(
        library,
        update(label).where(label.c.c == bindparam("which")),
        {"which": "xab", "c": "ab    "},
    )
    assert labels(library) == {"label:*"}


class Colour(str, Enum):  # noqa: UP042 - of a StrEnum `str()` is the text anyhow
    RED = "red"


def test_a_member_of_an_enumeration_is_the_text_that_the_driver_sends() -> None:
    assert key_texts(Keys(KeyOwner("paint"), (str,)), [(Colour.RED,)]) == ["paint:red"]
