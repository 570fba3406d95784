"""The rows that everybody fights over, and how a process caches them."""

from __future__ import annotations

from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from repocache import CacheAside, KeyOwner, Repository

KEYS = range(1, 33)
SCHEMA = """
CREATE TABLE item (id int PRIMARY KEY, version int NOT NULL, token text NOT NULL);
ALTER TABLE item OWNER TO app;
"""
ROWS = f"INSERT INTO item SELECT n, 1, '' FROM generate_series({KEYS[0]}, {KEYS[-1]}) n"


class Base(DeclarativeBase):
    pass


class Item(Base):
    """`version` only grows, by one for each write; `token` names the write."""

    __tablename__ = "item"
    id: Mapped[int] = mapped_column(primary_key=True)
    version: Mapped[int]
    token: Mapped[str]


class Items(Repository[Item, int]):
    """Times to live are far beyond a round: what is wrong stays wrong unless it is invalidated."""

    owner = KeyOwner("item")
    policy = CacheAside(ttl=1800.0, local_ttl=900.0)
