"""Authors with books, and beings in a hierarchy."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import Column, ForeignKey, Table, insert, update
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    WriteOnlyMapped,
    attribute_keyed_dict,
    mapped_column,
    relationship,
)

from repocache import KeyOwner, Lookup, MappingOptions, Repository, Settings
from repocache.testing import Endpoints
from tests.shop import QUICK, Shop, in_rotation, open_shop


class Base(DeclarativeBase):
    pass


tagged = Table(
    "tagged",
    Base.metadata,
    Column("book_id", ForeignKey("books.id"), primary_key=True),
    Column("tag", ForeignKey("tags.name"), primary_key=True),
)


class Author(Base):
    __tablename__ = "authors"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    books: Mapped[list[Book]] = relationship(back_populates="author", order_by="Book.id")
    latest: WriteOnlyMapped[Book] = relationship(viewonly=True)


class Tag(Base):
    """Without a repository."""

    __tablename__ = "tags"
    name: Mapped[str] = mapped_column(primary_key=True)


class Shelf(Base):
    __tablename__ = "shelves"
    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("authors.id"))
    owner: Mapped[Author | None] = relationship()
    by_title: Mapped[dict[str, Book]] = relationship(collection_class=attribute_keyed_dict("title"))


class Book(Base):
    __tablename__ = "books"
    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int] = mapped_column(ForeignKey("authors.id"))
    title: Mapped[str]
    code: Mapped[str] = mapped_column(unique=True)
    shelf_id: Mapped[int | None] = mapped_column(ForeignKey("shelves.id"))
    author: Mapped[Author] = relationship(back_populates="books")
    tags: Mapped[list[Tag]] = relationship(secondary=tagged)


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
    by_code = Lookup(Book.code)


class Shelves(Repository[Shelf, int]):
    owner = KeyOwner("shelf")


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
            {"id": 10 * a + n, "author_id": a, "title": f"t{n}", "code": f"c{10 * a + n}"}
            for a in range(1, 5)
            for n in range(a)
        ]
        shelves: list[dict[str, int | None]] = [
            {"id": 1, "owner_id": None},
            {"id": 2, "owner_id": 1},
        ]
        await connection.execute(insert(Shelf), shelves)
        await connection.execute(insert(Book), books)
        await connection.execute(update(Book).where(Book.author_id == 2).values(shelf_id=2))
        await connection.execute(insert(Tag), [{"name": "x"}, {"name": "y"}])
        marks = [(20, "x"), (20, "y"), (21, "y")]
        await connection.execute(
            insert(tagged), [{"book_id": book, "tag": tag} for book, tag in marks]
        )
        beings = [{"id": 1, "kind": "being"}, {"id": 2, "kind": "robot"}]
        await connection.execute(insert(Being.__table__), beings)  # type: ignore[arg-type]
        await connection.execute(insert(Robot.__table__), {"id": 2, "arms": 6})  # type: ignore[arg-type]
    await engine.dispose()


@asynccontextmanager
async def open_library(ends: Endpoints, settings: Settings | None = None) -> AsyncIterator[Shop]:
    """A database on these servers, all its nodes in the rotation."""
    repositories = [Authors, Books, Shelves, Beings]
    async with open_shop(ends, settings or Settings(topology=QUICK), repositories) as shop:
        await in_rotation(shop)
        yield shop
