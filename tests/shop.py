"""A small shop: the mapped classes, repositories and rows that tests of the whole read and
write."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, TypeVar

import msgspec
from sqlalchemy import DateTime, func, insert
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import JSON

from repocache import CacheAside, Database, KeyOwner, Repository, Settings, TopologySettings, View
from repocache.events import Event
from repocache.testing import Endpoints, Servers

E = TypeVar("E", bound=Event)


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    age: Mapped[int]
    email: Mapped[str | None]
    settings: Mapped[dict[str, Any]] = mapped_column(
        JSON().with_variant(postgresql.JSONB(), "postgresql"), default=dict
    )
    updated_at: Mapped[datetime.datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now(), onupdate=func.now()
    )


class Order(Base):
    __tablename__ = "orders"
    tenant: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    total: Mapped[int]


class Document(Base):
    __tablename__ = "documents"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    title: Mapped[str]


class Country(Base):
    __tablename__ = "countries"
    code: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]


class UserCard(msgspec.Struct, frozen=True):
    id: int
    name: str


@dataclasses.dataclass(frozen=True)
class UserName:
    name: str


class OrderId(NamedTuple):
    tenant: int
    number: int


class Users(Repository[User, int]):
    owner = KeyOwner("user")
    policy = CacheAside(ttl=300, local_ttl=60, negative_ttl=30)
    card = View(UserCard)
    name = View(UserName)

    async def adults(self) -> list[User]:
        return await self.find(User.age >= 18, order_by=[User.name])


class Orders(Repository[Order, OrderId]):
    owner = KeyOwner("order")
    policy = CacheAside(ttl=60, local_ttl=0)


class Documents(Repository[Document, uuid.UUID]):
    owner = KeyOwner("document")


class Countries(Repository[Country, str]):
    owner = KeyOwner("country")


REPOSITORIES = (Users, Orders, Documents, Countries)
ODD_CODES = (
    "de",
    "a:b",
    "%41",
    "A",
    "é",
    " ",
    "",
    "{b1}",
    "a/b?c#d",
    "\n",
    "'\"\\",
    "日本",
    "a" * 300,
    "*",
)
QUICK = TopologySettings(sample_every=0.05, max_lag=5.0)


def document_id(number: int) -> uuid.UUID:
    return uuid.UUID(int=number)


def shop_template(servers: Servers) -> str:
    """The name of a database with the shop's tables and rows, made once a run."""
    return template(servers, "shop_template", make_shop)


def template(servers: Servers, name: str, make: Callable[[str], Coroutine[Any, Any, None]]) -> str:
    """The name of a database that `make` fills, by its URL, once a run."""
    if not servers.primary.sql(f"SELECT 1 FROM pg_database WHERE datname = '{name}'"):
        servers.primary.create_database(name)
        asyncio.run(make(servers.primary.url(database=name)))
    return name


async def make_shop(url: str) -> None:
    """The tables and rows: users 1 to 60 of the ages 1 to 60, their settings their own."""
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        await connection.execute(
            insert(User),
            [
                {"id": n, "name": f"n{n:02}", "age": n, "email": f"{n}@x" if n % 2 else None}
                for n in range(1, 61)
            ],
        )
        await connection.execute(
            insert(Order),
            [{"tenant": t, "number": n, "total": 100 * t + n} for t in (1, 2) for n in (1, 2, 3)],
        )
        await connection.execute(
            insert(Document), [{"id": document_id(n), "title": f"t{n}"} for n in range(1, 4)]
        )
        await connection.execute(
            insert(Country), [{"code": code, "name": f"<{code}>"} for code in ODD_CODES]
        )
    await engine.dispose()


class Seen(list[Event]):
    """An observer that keeps what it sees."""

    def __call__(self, event: Event) -> None:
        self.append(event)

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self if isinstance(event, kind)]


@dataclasses.dataclass
class Shop:
    """A running database and what it told."""

    db: Database
    seen: Seen

    @property
    def users(self) -> Users:
        return self.db[Users]

    async def rename(self, id: int, name: str) -> None:
        async with self.db.unit_of_work() as work:
            user = await work[Users].require(id)
            user.name = name
            await work.commit()


@asynccontextmanager
async def open_shop(
    endpoints: Endpoints,
    settings: Settings | None = None,
    repositories: Iterable[type[Repository[Any, Any]]] = REPOSITORIES,
    *,
    edges: Any = None,
    pages: Any = None,
) -> AsyncIterator[Shop]:
    """A database on these servers; its events are kept."""
    seen = Seen()
    async with Database(
        endpoints.primary,
        replicas=endpoints.replicas,
        redis=endpoints.redis or None,
        repositories=repositories,
        settings=dataclasses.replace(settings or Settings(topology=QUICK), observe=seen),
        edges=edges,
        pages=pages,
    ) as db:
        yield Shop(db, seen)


async def in_rotation(shop: Shop) -> None:
    """Replicas are out at first: how far behind they are is not known yet."""
    await until(
        lambda: not any(node.out for node in shop.db.nodes), "all nodes are in the rotation"
    )


async def until(
    condition: Callable[[], bool | Awaitable[bool]], what: str, seconds: float = 20
) -> None:
    """Wait for the condition. Raises AssertionError at the deadline."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                held = condition()
                if held if isinstance(held, bool) else await held:
                    return
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"waited {seconds} s in vain until {what}") from None
