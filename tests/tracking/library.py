"""A library for the oracle: tables of every kind that a write may reach, and who owns their rows.

Two MetaData name the same tables, a third one refers to them; keys are numbers that the database
makes, texts that it cuts, and shared by the tables of a hierarchy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Column, Computed, ForeignKey, Integer, MetaData, String, Table
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from repocache.keys import KeyOwner, Keys
from repocache.tracking import Owned, OwnedTables


class Base(DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "author"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(default="")
    weight: Mapped[int] = mapped_column(default=0, onupdate=lambda: 1)
    mark: Mapped[int] = mapped_column(Computed("id * 10 + weight", persisted=True), unique=True)

    books: Mapped[list[Book]] = relationship(
        back_populates="author", cascade="all", passive_deletes=True
    )


class Book(Base):
    __tablename__ = "book"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(default="")
    position: Mapped[int] = mapped_column(server_default="0")
    author_id: Mapped[int | None] = mapped_column(
        ForeignKey("author.id", ondelete="CASCADE", onupdate="CASCADE")
    )

    author: Mapped[Author | None] = relationship(back_populates="books")


class Note(Base):
    """Tied to a column that nobody sets by name."""

    __tablename__ = "note"

    id: Mapped[int] = mapped_column(primary_key=True)
    about: Mapped[int | None] = mapped_column(
        ForeignKey("author.mark", ondelete="SET NULL", onupdate="CASCADE")
    )


class Person(Base):
    __tablename__ = "person"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    name: Mapped[str] = mapped_column(default="")

    # SQLAlchemy's way.
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "person"}  # noqa: RUF012


class Reader(Person):
    __tablename__ = "reader"

    id: Mapped[int] = mapped_column(ForeignKey("person.id"), primary_key=True)
    card: Mapped[str] = mapped_column(default="")

    __mapper_args__ = {"polymorphic_identity": "reader"}  # noqa: RUF012 - as above


class Clerk(Person):
    __tablename__ = "clerk"

    id: Mapped[int] = mapped_column(ForeignKey("person.id"), primary_key=True)

    __mapper_args__ = {"polymorphic_identity": "clerk"}  # noqa: RUF012 - as above


label = Table(
    "label",
    Base.metadata,
    Column("code", String(3), key="c", primary_key=True),
    Column("caption", String, key="text", default=""),
)
author, book, note, person, reader, clerk = (
    Base.metadata.tables[name] for name in ("author", "book", "note", "person", "reader", "clerk")
)
review = Table(
    "review",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("book_id", ForeignKey(book.c.id, ondelete="CASCADE")),
)
"""In a MetaData of its own, as another package would have it."""

again = MetaData()
author_again = Table(
    "author", again, Column("id", Integer, key="number", primary_key=True), Column("name", String)
)
book_again = Table("book", again, Column("id", Integer, primary_key=True), Column("title", String))

TABLES = (author, book, note, person, reader, clerk, label, review)


def _owned(prefix: str, kind: type, *tables: Any, reads: frozenset[Any] = frozenset()) -> Owned:
    return Owned(
        Keys(KeyOwner(prefix), (kind,)), {each: tuple(each.primary_key) for each in tables}, reads
    )


OWNED = (
    _owned("author", int, author),
    _owned("book", int, book),
    _owned("samebook", int, book_again),
    _owned("note", int, note),
    _owned("person", int, person, reader, clerk),
    _owned("clerk", int, person, clerk),
    _owned("label", str, label),
    _owned("review", int, review),
    _owned("shelf", str, label, reads=frozenset({book})),
)


def owned() -> OwnedTables:
    return OwnedTables(OWNED, Base.metadata.tables.values())


def concerned(table: str, row: Mapping[str, Any]) -> set[str]:
    """The keys that a change of this row concerns, said once more and by hand."""
    id = row.get("id")
    code = str(row.get("code")).replace(" ", "%20")
    return {
        "author": {f"author:{id}"},
        "book": {f"book:{id}", f"samebook:{id}", "shelf:*"},
        "note": {f"note:{id}"},
        "person": {f"person:{id}", f"clerk:{id}"},
        "reader": {f"person:{id}"},
        "clerk": {f"person:{id}", f"clerk:{id}"},
        "label": {f"label:{code}", f"shelf:{code}"},
        "review": {f"review:{id}"},
    }[table]
