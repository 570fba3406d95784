"""What an application may do to the library by Core, with numbers from outside."""

from __future__ import annotations

from itertools import count
from typing import Any

from sqlalchemy import bindparam, delete, func, insert, literal, select, update
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.ext.asyncio import AsyncSession

from tests.tracking.library import (
    author,
    author_again,
    book,
    book_again,
    label,
    note,
    person,
    review,
)
from tests.tracking.telling import code, core, title


async def list_of_inserts(session: AsyncSession, n: int, m: int) -> Any:
    return await core(session, insert(book), [{"title": title(each)} for each in range(n + 1)])


async def list_that_sees_its_rows(session: AsyncSession, n: int, m: int) -> Any:
    last = select(func.coalesce(func.max(book.alias("o").c.position), 0) + 1).scalar_subquery()
    return await core(
        session,
        insert(book).values(position=last),
        [{"title": title(each)} for each in range(n + 1)],
    )


async def list_with_ids(session: AsyncSession, n: int, m: int) -> Any:
    return await core(
        session, insert(note), [{"id": 100 + n}, {"id": 110 + m, "about": None}][: n % 2 + 1]
    )


async def update_by_title(session: AsyncSession, n: int, m: int) -> Any:
    return await core(session, update(book).where(book.c.title == title(n)).values(title=title(m)))


async def update_all(session: AsyncSession, n: int, m: int) -> Any:
    return await core(session, update(author).values(name=title(n)))


async def update_in_list(session: AsyncSession, n: int, m: int) -> Any:
    return await core(
        session, update(author).where(author.c.id.in_([n, m, 99])).values(name=title(n))
    )


async def update_by_callable(session: AsyncSession, n: int, m: int) -> Any:
    ids = count(n)
    which = bindparam("which", callable_=lambda: next(ids), type_=book.c.id.type)
    return await core(session, update(book).where(book.c.id == which).values(title=title(m)))


async def update_list(session: AsyncSession, n: int, m: int) -> Any:
    statement = update(book).where(book.c.id == bindparam("which"))
    return await core(session, statement, [{"which": n, "title": "p"}, {"which": m, "title": "q"}])


async def update_list_by_title(session: AsyncSession, n: int, m: int) -> Any:
    statement = update(book).where(book.c.title == bindparam("which")).values(title=bindparam("to"))
    return await core(
        session, statement, [{"which": title(n), "to": "r"}, {"which": title(m), "to": "s"}]
    )


async def update_from(session: AsyncSession, n: int, m: int) -> Any:
    return await core(
        session,
        update(book)
        .where(book.c.author_id == author.c.id, author.c.name == title(n))
        .values(title="f"),
    )


async def update_with_a_cte(session: AsyncSession, n: int, m: int) -> Any:
    some = select(author.c.id).where(author.c.name == title(n)).cte("some")
    return await core(
        session, update(book).where(book.c.author_id.in_(select(some.c.id))).values(title="c")
    )


async def update_returning(session: AsyncSession, n: int, m: int) -> Any:
    return await core(
        session,
        update(book).where(book.c.title == title(n)).values(title=title(m)).returning(book.c.id),
    )


async def update_ids(session: AsyncSession, n: int, m: int) -> Any:
    return await core(session, update(author).where(author.c.id == n).values(id=author.c.id + 50))


async def delete_by_title(session: AsyncSession, n: int, m: int) -> Any:
    return await core(session, delete(book).where(book.c.title == title(n), book.c.id > m))


async def delete_using(session: AsyncSession, n: int, m: int) -> Any:
    return await core(
        session, delete(book).where(book.c.author_id == author.c.id, author.c.id == n)
    )


async def in_a_cte(session: AsyncSession, n: int, m: int) -> Any:
    gone = delete(book).where(book.c.id == n).returning(book.c.id).cte("gone")
    return await core(session, select(gone))


async def upsert_label(session: AsyncSession, n: int, m: int) -> Any:
    statement = pg.insert(label).values(c=code(n), text=title(m))
    return await core(
        session, statement.on_conflict_do_update(index_elements=["code"], set_={"text": "u"})
    )


async def upsert_that_renames(session: AsyncSession, n: int, m: int) -> Any:
    statement = pg.insert(label).values(c=code(n).strip())
    upsert = statement.on_conflict_do_update(index_elements=["code"], set_={"c": f"z{m}"})
    return await core(session, upsert.returning(label.c.c))


async def upsert_list(session: AsyncSession, n: int, m: int) -> Any:
    statement = pg.insert(label).on_conflict_do_nothing()
    return await core(session, statement, [{"c": code(n)}, {"c": code(m)}])


async def upsert_author(session: AsyncSession, n: int, m: int) -> Any:
    statement = pg.insert(author).values(id=n, name="up")
    return await core(
        session, statement.on_conflict_do_update(index_elements=["id"], set_={"weight": m})
    )


async def rename_label(session: AsyncSession, n: int, m: int) -> Any:
    statement = update(label).where(label.c.c == bindparam("which"))
    return await core(session, statement, {"which": code(n).strip(), "c": code(m)})


async def labels_by_text(session: AsyncSession, n: int, m: int) -> Any:
    return await core(session, delete(label).where(label.c.text == title(n)))


async def review_books(session: AsyncSession, n: int, m: int) -> Any:
    source = select(book.c.id).where(book.c.id <= n + 1).order_by(book.c.id)
    return await core(session, insert(review).from_select(["book_id"], source))


async def note_authors(session: AsyncSession, n: int, m: int) -> Any:
    source = select(author.c.mark).where(author.c.id <= n + 1).order_by(author.c.id)
    return await core(session, insert(note).from_select(["about"], source))


async def several_values(session: AsyncSession, n: int, m: int) -> Any:
    return await core(session, insert(author).values([{"name": title(n)}, {"name": title(m)}]))


async def write_the_twin(session: AsyncSession, n: int, m: int) -> Any:
    return await core(
        session, update(author_again).where(author_again.c.number == n).values(name=title(m))
    )


async def insert_into_the_twin(session: AsyncSession, n: int, m: int) -> Any:
    return await core(
        session, insert(book_again), [{"title": title(each)} for each in range(n + 1)]
    )


async def delete_from_the_twin(session: AsyncSession, n: int, m: int) -> Any:
    return await core(session, delete(book_again).where(book_again.c.title == title(n)))


async def person_by_core(session: AsyncSession, n: int, m: int) -> Any:
    return await core(
        session, update(person).where(person.c.kind == literal("reader")).values(name=title(n))
    )
