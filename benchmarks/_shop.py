"""The rows that the benchmarks read and write, and the servers that hold them."""

from __future__ import annotations

import datetime
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import MappingProxyType
from typing import Any

import msgspec
from sqlalchemy import DateTime, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from repocache import (
    CacheAside,
    Database,
    KeyOwner,
    OutboxMode,
    Repository,
    Settings,
    TopologySettings,
    View,
)
from repocache.edges.declared import Edges
from repocache.events import Observer, ignore
from repocache.http import PageCache
from repocache.testing import Endpoints, Layout, Servers, embedded_servers

POOL = 10
"""Connections of every pool here, as the library's own by default."""
POOL_WAIT = 30.0
"""Seconds for one of them, where more callers wait than a pool is meant for."""


class Base(DeclarativeBase):
    """The mapping's registry."""


class User(Base):
    """Eleven columns, some 250 bytes."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    email: Mapped[str]
    age: Mapped[int]
    active: Mapped[bool]
    score: Mapped[float]
    country: Mapped[str]
    city: Mapped[str]
    created: Mapped[datetime.datetime] = mapped_column(DateTime(timezone=True))
    visits: Mapped[int]
    about: Mapped[str]


class Item(Base):
    """A second table: what is written while users are read."""

    __tablename__ = "items"

    id: Mapped[int] = mapped_column(primary_key=True)
    stock: Mapped[int]


class Price(Base):
    """Three columns: the smallest entity of use."""

    __tablename__ = "prices"

    id: Mapped[int] = mapped_column(primary_key=True)
    currency: Mapped[str]
    cents: Mapped[int]


class Row(msgspec.Struct, array_like=True, frozen=True):
    """A user as a hand-written cache would decode it."""

    id: int
    name: str
    email: str
    age: int
    active: bool
    score: float
    country: str
    city: str
    created: datetime.datetime
    visits: int
    about: str


class Card(msgspec.Struct, frozen=True):
    """What a hot path wants of a user."""

    id: int
    name: str
    email: str
    country: str


class Users(Repository[User, int]):
    """Kept in this process and in Redis."""

    owner = KeyOwner("user")
    policy = CacheAside(ttl=3600, local_ttl=3600)
    card = View(Card)


class SharedUsers(Repository[User, int]):
    """Kept in Redis only: every hit is one of L2."""

    owner = KeyOwner("user")
    policy = CacheAside(ttl=3600, local_ttl=0)
    card = View(Card)


class Items(Repository[Item, int]):
    """Kept in this process."""

    owner = KeyOwner("item")
    policy = CacheAside(ttl=3600, local_ttl=3600)


class Prices(Repository[Price, int]):
    """Kept in this process."""

    owner = KeyOwner("price")
    policy = CacheAside(ttl=3600, local_ttl=3600)


USERS = """
INSERT INTO users SELECT n, 'Ada Lovelace ' || n, 'ada' || n || '@example.org', n % 90, n % 2 = 0,
    n / 7.0, 'GB',
'London', now(), 0, repeat('she writes ', 12)
    FROM generate_series(CAST(:first AS integer), :last) AS n
"""
ITEMS = "INSERT INTO items SELECT n, 0 FROM generate_series(0, :last) AS n"
PRICES = "INSERT INTO prices SELECT n, 'GBP', 100 * n FROM generate_series(0, :last) AS n"
PRICED = 100
"""Rows of the table of prices."""


@contextmanager
def servers(*, durable: bool = False, replicas: int = 1) -> Iterator[Servers]:
    """A primary, its replicas and Redis. `durable`: with fsync, as commits have it in earnest."""
    settings = MappingProxyType({"fsync": "on"} if durable else {})
    with embedded_servers(Layout(replicas=replicas, postgres=settings)) as started:
        yield started


async def fill(running: Servers, users: int, items: int = 1) -> Endpoints:
    """Make the tables, with rows of the ids 0 and up."""
    ends = running.endpoints()
    async with plain_engine(ends) as engine:
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
            await connection.execute(text(USERS), {"first": 0, "last": users - 1})
            await connection.execute(text(ITEMS), {"last": items - 1})
            await connection.execute(text(PRICES), {"last": PRICED - 1})
        async with engine.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            await connection.execute(text("VACUUM ANALYZE users, items, prices"))
    running.catch_up()
    return ends


@asynccontextmanager
async def plain_engine(ends: Endpoints) -> AsyncIterator[AsyncEngine]:
    """As somebody without the library has it, who pools as many connections."""
    engine = create_async_engine(
        ends.primary, pool_size=POOL, max_overflow=0, pool_timeout=POOL_WAIT
    )
    try:
        yield engine
    finally:
        await engine.dispose()


def database(  # noqa: PLR0913  # keyword-only, the rest
    ends: Endpoints,
    *repositories: type[Repository[Any, int]],
    outbox: OutboxMode = OutboxMode.OFF,
    secrets: tuple[str, ...] = (),
    pool_wait: float = TopologySettings().pool_wait,
    observe: Observer = ignore,
    pages: PageCache | None = None,
    edges: Edges | None = None,
) -> Database:
    topology = TopologySettings(pool_wait=pool_wait)
    settings = Settings(outbox=outbox, secrets=secrets, observe=observe, topology=topology)
    return Database(
        primary=ends.primary,
        replicas=ends.replicas,
        redis=ends.redis,
        repositories=repositories,
        settings=settings,
        pages=pages,
        edges=edges,
    )


def row_of(user: User) -> Row:
    return Row(*(getattr(user, name) for name in Row.__struct_fields__))
