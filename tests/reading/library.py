"""Authors with books, and beings in a hierarchy."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import ForeignKey, insert
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from repocache import KeyOwner, MappingOptions, Repository, Settings
from repocache.testing import Endpoints
from tests.shop import QUICK, Shop, in_rotation, open_shop


class Base(DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "authors"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    books: Mapped[list[Book]] = relationship(back_populates="author", order_by="Book.id")


class Book(Base):
    __tablename__ = "books"
    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int] = mapped_column(ForeignKey("authors.id"))
    title: Mapped[str]
    author: Mapped[Author] = relationship(back_populates="books")


class Being(Base):
    __tablename__ = "beings"
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "being"}  # noqa: RUF012
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]


class Robot(Being):
    __tablename__ = "robots"
    __mapper_args__ = {"polymorphic_identity": "robot"}  # noqa: RUF012
    id: Mapped[int] = mapped_column(ForeignKey("beings.id"), primary_key=True)
    arms: Mapped[int]


class Authors(Repository[Author, int]):
    owner = KeyOwner("author")


class Books(Repository[Book, int]):
    owner = KeyOwner("book")


class Beings(Repository[Being, int]):
    owner = KeyOwner("being")
    mapping = MappingOptions()


async def make_library(url: str) -> None:
    """Authors 1 to 4 with as many books each; a being and a robot."""
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        await connection.execute(insert(Author), [{"id": n, "name": f"a{n}"} for n in range(1, 5)])
        books = [
            {"id": 10 * a + n, "author_id": a, "title": f"t{n}"}
            for a in range(1, 5)
            for n in range(a)
        ]
        await connection.execute(insert(Book), books)
        beings = [{"id": 1, "kind": "being"}, {"id": 2, "kind": "robot"}]
        await connection.execute(insert(Being.__table__), beings)  # type: ignore[arg-type]
        await connection.execute(insert(Robot.__table__), {"id": 2, "arms": 6})  # type: ignore[arg-type]
    await engine.dispose()


@asynccontextmanager
async def open_library(ends: Endpoints, settings: Settings | None = None) -> AsyncIterator[Shop]:
    """A database on these servers, all its nodes in the rotation."""
    repositories = [Authors, Books, Beings]
    async with open_shop(ends, settings or Settings(topology=QUICK), repositories) as shop:
        await in_rotation(shop)
        yield shop
