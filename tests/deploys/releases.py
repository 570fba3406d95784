"""Two releases of one table of notes, side by side, on each side of a migration."""

from __future__ import annotations

import dataclasses
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from repocache import CacheAside, CachedQueries, KeyOwner, Lookup, Repository

POLICY = CacheAside(ttl=300, local_ttl=60, negative_ttl=30)
QUERIES = CachedQueries(ttl=300, local_ttl=60)
OWNER = KeyOwner("note")


@dataclasses.dataclass(frozen=True)
class Release:
    """`note`: the class; `notes`: its repository; `title`: the attribute that both releases show.
    `others`: more repositories."""

    note: Any
    notes: Any
    title: str = "title"
    others: tuple[Any, ...] = ()

    @property
    def repositories(self) -> list[Any]:
        return [self.notes, *self.others]


def first() -> Release:
    """Before any migration."""

    class Base(DeclarativeBase):
        pass

    class Note(Base):
        __tablename__ = "notes"
        id: Mapped[int] = mapped_column(primary_key=True)
        title: Mapped[str]
        pages: Mapped[int]

    class Notes(Repository[Note, int]):
        owner = OWNER
        policy = POLICY
        queries = QUERIES

    return Release(Note, Notes)


def with_a_column() -> Release:
    class Base(DeclarativeBase):
        pass

    class Note(Base):
        __tablename__ = "notes"
        id: Mapped[int] = mapped_column(primary_key=True)
        title: Mapped[str]
        pages: Mapped[int]
        color: Mapped[str] = mapped_column(server_default="red")

    class Notes(Repository[Note, int]):
        owner = OWNER
        policy = POLICY
        queries = QUERIES

    return Release(Note, Notes)


def without_a_column() -> Release:
    class Base(DeclarativeBase):
        pass

    class Note(Base):
        __tablename__ = "notes"
        id: Mapped[int] = mapped_column(primary_key=True)
        title: Mapped[str]

    class Notes(Repository[Note, int]):
        owner = OWNER
        policy = POLICY
        queries = QUERIES

    return Release(Note, Notes)


def with_a_renamed_attribute() -> Release:
    """The column is the same: an attribute is all that a release may rename at once."""

    class Base(DeclarativeBase):
        pass

    class Note(Base):
        __tablename__ = "notes"
        id: Mapped[int] = mapped_column(primary_key=True)
        heading: Mapped[str] = mapped_column("title")
        pages: Mapped[int]

    class Notes(Repository[Note, int]):
        owner = OWNER
        policy = POLICY
        queries = QUERIES

    return Release(Note, Notes, "heading")


def with_another_type() -> Release:
    """As numbers were, until all read texts: the column is a text in the database already."""

    class Base(DeclarativeBase):
        pass

    class Note(Base):
        __tablename__ = "notes"
        id: Mapped[int] = mapped_column(primary_key=True)
        title: Mapped[str]
        pages: Mapped[float]

    class Notes(Repository[Note, int]):
        owner = OWNER
        policy = POLICY
        queries = QUERIES

    return Release(Note, Notes)


def with_a_lookup() -> Release:
    """On a column that has become unique."""

    class Base(DeclarativeBase):
        pass

    class Note(Base):
        __tablename__ = "notes"
        id: Mapped[int] = mapped_column(primary_key=True)
        title: Mapped[str] = mapped_column(unique=True)
        pages: Mapped[int]

    class Notes(Repository[Note, int]):
        owner = OWNER
        policy = POLICY
        queries = QUERIES
        by_title = Lookup(Note.title)

    return Release(Note, Notes)


def split() -> Release:
    """The pages lie in a table of their own, which a trigger fills as long as the old release
    writes."""

    class Base(DeclarativeBase):
        pass

    class Note(Base):
        __tablename__ = "notes"
        id: Mapped[int] = mapped_column(primary_key=True)
        title: Mapped[str]

    class Extent(Base):
        __tablename__ = "extents"
        note: Mapped[int] = mapped_column(primary_key=True)
        pages: Mapped[int]

    class Notes(Repository[Note, int]):
        owner = OWNER
        policy = POLICY
        queries = QUERIES

    class Extents(Repository[Extent, int]):
        owner = KeyOwner("extent", follows=("notes",))
        policy = POLICY

    return Release(Note, Notes, others=(Extents,))


BEFORE = (
    "CREATE TABLE notes (id integer PRIMARY KEY, title varchar NOT NULL, pages integer NOT NULL)",
    "INSERT INTO notes SELECT n, 't' || n, 10 * n FROM generate_series(1, 5) AS n",
)
SPLIT = (
    "CREATE TABLE extents (note integer PRIMARY KEY, pages integer NOT NULL)",
    "INSERT INTO extents SELECT id, pages FROM notes",
    "ALTER TABLE notes ALTER pages SET DEFAULT 0",
    (
        "CREATE FUNCTION spread() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "INSERT INTO extents VALUES (NEW.id, NEW.pages) "
        "ON CONFLICT (note) DO UPDATE SET pages = NEW.pages; RETURN NEW; END $$"
    ),
    "CREATE TRIGGER spread AFTER INSERT OR UPDATE ON notes FOR EACH ROW EXECUTE FUNCTION spread()",
)
MIGRATIONS = {
    "add a column": (first, with_a_column, ("ALTER TABLE notes ADD color varchar DEFAULT 'red'",)),
    "drop a column": (first, without_a_column, ("ALTER TABLE notes ALTER pages SET DEFAULT 0",)),
    "rename an attribute": (first, with_a_renamed_attribute, ()),
    "widen a type": (first, with_another_type, ()),
    "make a column unique": (first, with_a_lookup, ("ALTER TABLE notes ADD UNIQUE (title)",)),
    "split a table": (first, split, SPLIT),
}


async def migrate(url: str, statements: tuple[str, ...]) -> None:
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        for each in statements:
            await connection.execute(text(each))
    await engine.dispose()
