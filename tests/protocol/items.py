"""The rows that scenarios read and write, and who owns them."""

from __future__ import annotations

from itertools import count

from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from repocache.cache.policies import CacheAside
from repocache.keys import KeyOwner, bucket_of
from repocache.repository.repository import Repository

KEY = 1
BUCKET = bucket_of(f"item:{KEY}")
NEIGHBOUR = next(id for id in count(KEY + 1) if bucket_of(f"item:{id}") == BUCKET)
"""Another key of the same bucket."""

SCHEMA = """
CREATE TABLE item (id int PRIMARY KEY, version int NOT NULL);
CREATE UNLOGGED TABLE draft (id int PRIMARY KEY, version int NOT NULL);
ALTER TABLE item OWNER TO app;
ALTER TABLE draft OWNER TO app;
"""
ROWS = f"""
TRUNCATE item, draft;
INSERT INTO item VALUES ({KEY}, 1), ({NEIGHBOUR}, 1);
INSERT INTO draft VALUES ({KEY}, 1);
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


class Items(Repository[Item, int]):
    owner = KeyOwner("item")
    policy = CacheAside(ttl=300, local_ttl=100, jitter=0.0)


class Drafts(Repository[Draft, int]):
    owner = KeyOwner("draft")
    policy = CacheAside(ttl=300, local_ttl=100, jitter=0.0)
