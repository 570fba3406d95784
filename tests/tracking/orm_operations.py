"""What an application may do to the library by the ORM, alone and in bulk, with numbers from
outside."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import selectinload

from tests.tracking.library import (
    Author,
    Book,
    Clerk,
    Note,
    Person,
    Reader,
)
from tests.tracking.telling import orm, title


async def add_author(session: AsyncSession, n: int, m: int) -> Any:
    made = Author(name=title(n), books=[Book(title=title(m)) for _ in range(m % 3)])
    session.add(made)
    await session.flush()
    return made.id, [each.id for each in made.books]


async def add_all_books(session: AsyncSession, n: int, m: int) -> Any:
    made = [Book(title=title(each)) for each in range(n)]
    session.add_all(made)
    await session.flush()
    return [each.id for each in made]


async def change_author(session: AsyncSession, n: int, m: int) -> Any:
    found = await session.get(Author, n)
    if found is not None:
        found.name = title(m)
        await session.flush()
    return found is None


async def rename_author(session: AsyncSession, n: int, m: int) -> Any:
    found = await session.get(Author, n, options=[selectinload(Author.books)])
    if found is not None:
        found.id = m + 20
        await session.flush()
    return found is None


async def drop_author(session: AsyncSession, n: int, m: int) -> Any:
    found = await session.get(Author, n)
    if found is not None:
        await session.delete(found)
        await session.flush()
    return found is None


async def move_book(session: AsyncSession, n: int, m: int) -> Any:
    found = await session.get(Book, n, options=[selectinload(Book.author)])
    if found is not None:
        found.author = await session.get(Author, m)
        await session.flush()
    return found is None


async def add_people(session: AsyncSession, n: int, m: int) -> Any:
    made = [Reader(name=title(m), card="x"), Clerk(), *(Person() for _ in range(n % 3))]
    session.add_all(made)
    await session.flush()
    return [each.id for each in made]


async def change_person(session: AsyncSession, n: int, m: int) -> Any:
    found = await session.get(Person, n)
    if found is not None:
        found.name = title(m)
        if isinstance(found, Reader):
            found.card = title(m + 1)
        await session.flush()
    return type(found).__name__


async def drop_person(session: AsyncSession, n: int, m: int) -> Any:
    found = await session.get(Person, n)
    if found is not None:
        await session.delete(found)
        await session.flush()
    return type(found).__name__


async def bulk_insert(session: AsyncSession, n: int, m: int) -> Any:
    return await orm(session, insert(Book), [{"title": title(each)} for each in range(n + 2)])


async def bulk_insert_returning(session: AsyncSession, n: int, m: int) -> Any:
    found = await session.scalars(
        insert(Book).returning(Book), [{"title": title(each)} for each in range(n + 1)]
    )
    return sorted(each.id for each in found)


async def bulk_insert_readers(session: AsyncSession, n: int, m: int) -> Any:
    return await orm(
        session, insert(Reader), [{"name": title(each), "card": "y"} for each in range(n + 1)]
    )


async def bulk_update_readers(session: AsyncSession, n: int, m: int) -> Any:
    ids = sorted((await session.scalars(select(Reader.id))).all())[: n + 1]
    rows = [{"id": id, "card": title(m), **({"name": title(m)} if m % 2 else {})} for id in ids]
    return await orm(session, update(Reader), rows) if rows else None


async def bulk_update_notes(session: AsyncSession, n: int, m: int) -> Any:
    marks = list(await session.scalars(select(Author.mark).order_by(Author.mark)))
    ids = list(await session.scalars(select(Note.id).order_by(Note.id)))
    rows = [{"id": id, "about": mark} for id, mark in zip(ids, marks, strict=False)]
    return await orm(session, update(Note), rows) if rows else None


async def orm_update(session: AsyncSession, n: int, m: int) -> Any:
    return await orm(session, update(Person).where(Person.name == title(n)).values(name=title(m)))


async def orm_delete(session: AsyncSession, n: int, m: int) -> Any:
    return await orm(session, delete(Author).where(Author.name == title(n)))


async def legacy_bulk(session: AsyncSession, n: int, m: int) -> Any:
    await session.run_sync(
        lambda s: s.bulk_insert_mappings(Book.__mapper__, [{"title": "l"}] * (n + 1))
    )
    await session.run_sync(lambda s: s.bulk_save_objects([Reader(name="b"), Reader(name="c")]))
