"""The rows that everybody fights over, and how a process caches them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from repocache import CacheAside, KeyOwner, Repository, WriteThrough
from repocache.cache.policies import Policy

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


TTL = 1800.0
LOCAL_TTL = 900.0
"""Far beyond a round: what is wrong stays wrong unless it is invalidated."""


class Items(Repository[Item, int]):
    """Reads fill, writes invalidate."""

    owner = KeyOwner("item")
    policy: ClassVar[Policy] = CacheAside(TTL, LOCAL_TTL)


class StoredItems(Items):
    """Commits store what they wrote."""

    policy = WriteThrough(TTL, LOCAL_TTL)


class StrictItems(Items):
    """Nobody is given what was before a commit."""

    policy = WriteThrough(TTL, LOCAL_TTL, strict=True)


POLICIES: Mapping[str, type[Items]] = {"aside": Items, "through": StoredItems, "strict": StrictItems}
