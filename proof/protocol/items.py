"""The rows that scenarios read and write, and who owns them."""

from __future__ import annotations

from itertools import count

from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from repocache.cache.policies import CacheAside, WriteThrough
from repocache.keys import KeyOwner, bucket_of
from repocache.repository.cached_queries import CachedQueries
from repocache.repository.lookup import Lookup
from repocache.repository.repository import Repository

KEY = 1
BUCKET = bucket_of(f"item:{KEY}")
NEIGHBOUR = next(id for id in count(KEY + 1) if bucket_of(f"item:{id}") == BUCKET)
"""Another key of the same bucket."""
STRANGER = next(id for id in count(NEIGHBOUR + 1) if bucket_of(f"item:{id}") != BUCKET)
"""A key of another bucket. Rows of it are made where they are needed."""

SCHEMA = """
CREATE TABLE item (id int PRIMARY KEY, version int NOT NULL);
CREATE UNLOGGED TABLE draft (id int PRIMARY KEY, version int NOT NULL);
CREATE TABLE stock (id int PRIMARY KEY, version int NOT NULL, note int NOT NULL);
CREATE TABLE price (id int PRIMARY KEY, version int NOT NULL);
CREATE TABLE label (id int PRIMARY KEY, name text NOT NULL UNIQUE);
CREATE TABLE book (id int PRIMARY KEY, shelf int NOT NULL, version int NOT NULL);
ALTER TABLE book OWNER TO app;
ALTER TABLE label OWNER TO app;
ALTER TABLE stock OWNER TO app;
ALTER TABLE price OWNER TO app;
ALTER TABLE item OWNER TO app;
ALTER TABLE draft OWNER TO app;
"""
ROWS = f"""
TRUNCATE item, draft, stock, price, label, book;
INSERT INTO item VALUES ({KEY}, 1), ({NEIGHBOUR}, 1);
INSERT INTO draft VALUES ({KEY}, 1);
INSERT INTO stock VALUES ({KEY}, 1, 1);
INSERT INTO price VALUES ({KEY}, 1);
INSERT INTO label VALUES ({KEY}, 'old');
INSERT INTO book VALUES ({KEY}, 1, 1);
"""


class Base(DeclarativeBase):
    pass


class Item(Base):
    __tablename__ = "item"
    id: Mapped[int] = mapped_column(primary_key=True)
    version: Mapped[int]


class Draft(Base):
    __tablename__ = "draft"
    __table_args__ = {"prefixes": ["UNLOGGED"]}  # noqa: RUF012  # SQLAlchemy's way
    id: Mapped[int] = mapped_column(primary_key=True)
    version: Mapped[int]


class Stock(Base):
    __tablename__ = "stock"
    id: Mapped[int] = mapped_column(primary_key=True)
    version: Mapped[int]
    note: Mapped[int]


class Price(Base):
    __tablename__ = "price"
    id: Mapped[int] = mapped_column(primary_key=True)
    version: Mapped[int]


class Label(Base):
    __tablename__ = "label"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)


class Book(Base):
    __tablename__ = "book"
    id: Mapped[int] = mapped_column(primary_key=True)
    shelf: Mapped[int]
    version: Mapped[int]


class Labels(Repository[Label, int]):
    owner = KeyOwner("label")
    policy = CacheAside(ttl=300, local_ttl=100, jitter=0.0)
    by_name = Lookup(Label.name)


class Books(Repository[Book, int]):
    owner = KeyOwner("book")
    policy = CacheAside(ttl=300, local_ttl=0, jitter=0.0)
    queries = CachedQueries(ttl=300, local_ttl=100, jitter=0.0)


class Items(Repository[Item, int]):
    owner = KeyOwner("item")
    policy = CacheAside(ttl=300, local_ttl=100, jitter=0.0)


class Drafts(Repository[Draft, int]):
    owner = KeyOwner("draft")
    policy = CacheAside(ttl=300, local_ttl=100, jitter=0.0)


class Stocks(Repository[Stock, int]):
    owner = KeyOwner("stock")
    policy = WriteThrough(ttl=300, local_ttl=0, jitter=0.0)


class Prices(Repository[Price, int]):
    owner = KeyOwner("price")
    policy = WriteThrough(ttl=300, strict=True, jitter=0.0)
