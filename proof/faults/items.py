"""The rows that everybody fights over, and how a process caches them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import ClassVar

import msgspec
from sqlalchemy import Select, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from proof.faults.services import LOCAL_TTL, TTL, Service
from repocache import CacheAside, CachedQueries, KeyOwner, Repository, View, WriteThrough
from repocache.cache.policies import Policy

KEYS = range(1, 33)
SHELF = 4
"""Keys that are listed together."""
SCHEMA = """
CREATE TABLE item (id int PRIMARY KEY, version int NOT NULL, token text NOT NULL);
ALTER TABLE item OWNER TO app;
"""
ROWS = f"INSERT INTO item SELECT n, 1, '' FROM generate_series({KEYS[0]}, {KEYS[-1]}) n"


def shelf_of(key: int) -> range:
    """The keys of the list that has this one."""
    first = key - (key - KEYS[0]) % SHELF
    return range(first, first + SHELF)


class Base(DeclarativeBase):
    pass


class Item(Base):
    """`version` only grows, by one for each write; `token` names the write."""

    __tablename__ = "item"
    id: Mapped[int] = mapped_column(primary_key=True)
    version: Mapped[int]
    token: Mapped[str]


class Shown(msgspec.Struct, frozen=True):
    """A view of all that there is of a row."""

    id: int
    version: int
    token: str


class Items(Repository[Item, int]):
    """Reads fill, writes invalidate."""

    owner = KeyOwner("item")
    policy: ClassVar[Policy] = CacheAside(TTL, LOCAL_TTL)
    shown = View(Shown)


class StoredItems(Items):
    """Commits store what they wrote."""

    policy = WriteThrough(TTL, LOCAL_TTL)


class StrictItems(Items):
    """Nobody is given what was before a commit."""

    policy = WriteThrough(TTL, LOCAL_TTL, strict=True)


POLICIES: Mapping[str, type[Items]] = {
    "aside": Items,
    "through": StoredItems,
    "strict": StrictItems,
}


def items_of(policy: str, service: Service) -> type[Items]:
    """The repository of one of POLICIES, with the times of this service."""
    base = POLICIES[policy]
    life = replace(base.policy, ttl=service.ttl, local_ttl=service.local_ttl)
    queries = CachedQueries(service.ttl, service.local_ttl, by_default=False)
    return type(base.__name__, (base,), {"policy": life, "queries": queries})


def listing(keys: Iterable[int]) -> Select[int, int, str]:
    """The select that is cached: of each key its version and token."""
    return select(Item.id, Item.version, Item.token).where(Item.id.in_(list(keys)))
