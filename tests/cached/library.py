"""Books of authors, with loans; their repositories cache what they select."""

from __future__ import annotations

import datetime
import enum
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

from sqlalchemy import ForeignKey, insert, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import JSON

from repocache import CacheAside, CachedQueries, KeyOwner, Repository, Settings
from repocache.testing import Endpoints
from tests.shop import QUICK, Shop, in_rotation, open_shop

POLICY = CacheAside(ttl=300, local_ttl=60, negative_ttl=30)


class Genre(enum.Enum):
    NOVEL = "n"
    POEM = "p"


class Base(DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "authors"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    city: Mapped[str | None]


class Book(Base):
    __tablename__ = "books"
    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int] = mapped_column(ForeignKey("authors.id", ondelete="CASCADE"))
    title: Mapped[str]
    pages: Mapped[int] = mapped_column(default=100)
    genre: Mapped[Genre] = mapped_column(default=Genre.NOVEL)
    price: Mapped[Decimal] = mapped_column(default=Decimal("1.50"))
    printed: Mapped[datetime.date] = mapped_column(default=datetime.date(2020, 1, 2))
    code: Mapped[uuid.UUID] = mapped_column(default=uuid.uuid4)
    notes: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    changed: Mapped[int] = mapped_column(default=0, onupdate=text("changed + 1"))


class Authors(Repository[Author, int]):
    owner = KeyOwner("author")
    policy = POLICY


class Books(Repository[Book, int]):
    owner = KeyOwner("book")
    policy = POLICY
    queries = CachedQueries(ttl=300, local_ttl=60)

    async def of(self, author: int) -> list[str]:
        found = await self.find(Book.author_id == author, order_by=[Book.title])
        return [book.title for book in found]


REPOSITORIES = (Authors, Books)


async def make_library(url: str) -> None:
    """Authors 1 to 4; of each the books "a<author>" and "b<author>", of 100 pages."""
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        authors = [
            {"id": n, "name": f"n{n}", "city": "Rome" if n % 2 else None} for n in (1, 2, 3, 4)
        ]
        await connection.execute(insert(Author), authors)
        books = [
            {"id": 10 * a + at, "author_id": a, "title": f"{letter}{a}"}
            for a in (1, 2, 3, 4)
            for at, letter in enumerate("ab", 1)
        ]
        await connection.execute(insert(Book), books)
    await engine.dispose()


@asynccontextmanager
async def open_library(
    ends: Endpoints, settings: Settings | None = None, repositories: Any = REPOSITORIES
) -> AsyncIterator[Shop]:
    """A database on these servers, all its nodes in the rotation."""
    settings = settings or Settings(topology=QUICK)
    async with open_shop(ends, settings, repositories) as shop:
        await in_rotation(shop)
        yield shop
