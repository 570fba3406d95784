"""How the types of the public names are meant to come out. Checked by mypy, never run.

What must not type-check carries a `type: ignore` with its code: mypy complains once the line is
accepted.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar, assert_never, assert_type

import msgspec
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    AsyncSessionTransaction,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

import repocache
from repocache import (
    Bookmark,
    CacheAside,
    CacheMode,
    CacheSettings,
    CausalSession,
    Changed,
    ChangedAll,
    ColumnCodec,
    Database,
    KeyOwner,
    LinkSettings,
    LoggingObserver,
    MappingOptions,
    Observers,
    Replica,
    Repository,
    Settings,
    ShadowCount,
    TopologySettings,
    UnitOfWork,
    Verification,
    View,
    WriteThrough,
)
from repocache.events import Event
from repocache.fastapi import RepositoryDependency, repository
from repocache.http import CausalMiddleware, Cookie, Header, Subject
from repocache.subjects import SubjectState
from repocache.transactions.session_factory import Sessions

assert_type(repocache.__all__, list[str])
repocache.__all__ = ()  # type: ignore[assignment]


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    age: Mapped[int]


class Order(Base):
    __tablename__ = "orders"
    tenant: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)


class Document(Base):
    __tablename__ = "documents"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)


class OtherSession(AsyncSession):
    pass


class UserCard(msgspec.Struct, frozen=True):
    id: int
    name: str


@dataclasses.dataclass(frozen=True)
class OrderNumber:
    number: int


class OrderId(NamedTuple):
    tenant: int
    number: int


class Users(Repository[User, int]):
    owner = KeyOwner("user")
    policy = CacheAside(ttl=300, local_ttl=10, negative_ttl=5)
    card = View(UserCard)

    async def adults(self) -> list[User]:
        return await self.find(User.age >= 18, order_by=[User.name, User.age.desc()], limit=50)


class Orders(Repository[Order, OrderId]):
    owner = KeyOwner("order", follows=("users",))
    number = View(OrderNumber)


M = TypeVar("M")
E = TypeVar("E", bound=Event)


class Owned(Repository[M, uuid.UUID]):
    """Of an application's own: what its repositories have in common."""

    async def newest(self) -> list[M]:
        return await self.find(limit=1)


class Documents(Owned[Document]):
    owner = KeyOwner("document")
    mapping = MappingOptions(codecs={"title": ColumnCodec(str, str, str)}, not_loaded=("body",))


class WrongPolicy(Repository[User, int]):
    owner = "user"  # type: ignore[assignment]
    policy = 300  # type: ignore[assignment]


db = Database(
    primary="postgresql+asyncpg://app@db1/shop",
    replicas=[
        "postgresql+asyncpg://app@db2/shop",
        Replica("postgresql+asyncpg://app@db3/shop", weight=2),
    ],
    redis="redis://cache:6379/0",
    repositories=[Users, Orders, Documents],
    settings=Settings(
        app="shop",
        observe=Observers([LoggingObserver()]),
        topology=TopologySettings(max_lag=5),
        cache=CacheSettings(mode=CacheMode.SHADOW),
        link=LinkSettings(),
    ),
)
assert_type(db, Database)

Database()  # type: ignore[call-arg]
Database("sqlite+aiosqlite:///x", "sqlite+aiosqlite:///y")  # type: ignore[call-arg]
Database("sqlite+aiosqlite:///x", repositories=[User])  # type: ignore[list-item]
Database("sqlite+aiosqlite:///x", repositories=Users)  # type: ignore[arg-type]
Database("sqlite+aiosqlite:///x", redis=6379)  # type: ignore[arg-type]
Database("sqlite+aiosqlite:///x", settings={"app": "shop"})  # type: ignore[arg-type]
Database("sqlite+aiosqlite:///x", replica=[])  # type: ignore[call-arg]
WriteThrough(ttl=300, local_ttl=0, negative_ttl=5, jitter=0.1, strict=True)
WriteThrough(strict="yes")  # type: ignore[arg-type]
CacheAside(ttl="300")  # type: ignore[arg-type]
CacheAside(lttl=300)  # type: ignore[call-arg]
CacheAside().ttl = 5  # type: ignore[misc]
KeyOwner(7)  # type: ignore[arg-type]
KeyOwner("user", follows="orders")  # type: ignore[arg-type]
Settings(secrets="one")  # type: ignore[arg-type]
CacheSettings(mode="off")  # type: ignore[arg-type]


async def enters() -> None:
    async with db as entered:
        assert_type(entered, Database)


async def reads() -> None:
    users, orders, documents = db[Users], db[Orders], db[Documents]
    assert_type(users, Users)
    assert_type(orders, Orders)
    assert_type(documents, Documents)
    db[User]  # type: ignore[type-var]
    db["user"]  # type: ignore[index]

    assert_type(await users.get(7), User | None)
    assert_type(await users.require(7), User)
    assert_type(await users.get_many([7, 8]), dict[int, User])
    assert_type(await users.find(User.age >= 18, User.name == "Ada", after=User()), list[User])
    assert_type(await users.exists(User.age >= 18), bool)
    assert_type(await users.count(), int)
    assert_type(await users.adults(), list[User])
    assert_type(users.on_primary(), Users)
    assert_type(users.on_replica(max_lag=1.5), Users)
    assert_type(await documents.get(uuid.uuid4()), Document | None)
    assert_type(await documents.newest(), list[Document])

    await users.get("7")  # type: ignore[arg-type]
    await users.get(None)  # type: ignore[arg-type]
    await users.get(OrderId(1, 2))  # type: ignore[arg-type]
    await users.require(7.0)  # type: ignore[arg-type]
    await users.get_many(["7"])  # type: ignore[list-item]
    await users.get_many(7)  # type: ignore[arg-type]
    await users.find("age > 18")  # type: ignore[arg-type]
    await users.find(after=Order())  # type: ignore[arg-type]
    await users.find(limit="1")  # type: ignore[arg-type]
    await users.find(order_by=["name"])  # type: ignore[list-item]
    await documents.get("00000000-0000-0000-0000-000000000007")  # type: ignore[arg-type]
    _ = (await users.get(7)).name  # type: ignore[union-attr]


async def reads_by_a_composite_id() -> None:
    orders = db[Orders]
    assert_type(await orders.get(OrderId(tenant=1, number=2)), Order | None)
    assert_type(await orders.get_many([OrderId(1, 2)]), dict[OrderId, Order])
    await orders.get((1, 2))  # type: ignore[arg-type]
    await orders.get(1, 2)  # type: ignore[call-arg, arg-type]
    await orders.get(OrderId(number=1))  # type: ignore[call-arg]
    await orders.get_many([(1, 2)])  # type: ignore[list-item]


async def views() -> None:
    users, orders = db[Users], db[Orders]
    assert_type(await users.card.get(7), UserCard | None)
    assert_type(await users.card.get_many([7]), dict[int, UserCard])
    assert_type(await orders.number.get(OrderId(1, 2)), OrderNumber | None)
    assert_type(Users.card, View[UserCard])
    assert_type(Users.card.shape, type[UserCard])
    await users.card.get("7")  # type: ignore[arg-type]
    await orders.number.get((1, 2))  # type: ignore[arg-type]
    await Users.card.get(7)  # type: ignore[attr-defined]
    (await users.card.get_many([7]))[7].name = "Ada"  # type: ignore[misc]


async def no_writes_outside_a_unit_of_work() -> None:
    users = db[Users]
    users.add(User())  # type: ignore[attr-defined]
    await users.delete(User())  # type: ignore[attr-defined]
    await users.commit()  # type: ignore[attr-defined]
    db.add(User())  # type: ignore[attr-defined]


async def writes() -> None:
    work = db.unit_of_work()
    assert_type(work, UnitOfWork)
    async with work as entered:
        assert_type(entered, UnitOfWork)
        assert_type(work[Users], Users)
        user = await work[Users].require(7)
        assert_type(user, User)
        user.name = "Ada"
        assert_type(await work[Users].card.get(7), UserCard | None)
        work.add(Order(tenant=1, number=2))
        work.add_all([user])
        await work.delete(user)
        assert_type(work.savepoint(), AsyncSessionTransaction)
        work.changes(Users)
        work.changes(Users, ids=[7])
        work.changes(Orders, ids=[OrderId(1, 2)])
        assert_type(work.session, AsyncSession)
        work.before_commit(hook)
        work.after_commit(hook)
        assert_type(await work.commit(), Bookmark)
        await work.rollback()

        work[User]  # type: ignore[type-var]
        work.changes(User)  # type: ignore[arg-type]
        work.changes(Users, ids=["7"])  # type: ignore[misc]
        work.changes(Users, ids=7)  # type: ignore[arg-type]
        work.changes(Orders, ids=[(1, 2)])  # type: ignore[misc]
        work.after_commit(lambda: None)  # type: ignore[arg-type, return-value]
        with work:  # type: ignore[attr-defined]
            pass


async def hook() -> None:
    """What runs around a commit."""


async def plain_sessions() -> None:
    assert_type(db.sessionmaker, Sessions[AsyncSession])
    assert_type(db.sessionmaker(), AsyncSession)
    assert_type(db.sessionmaker(class_=OtherSession), Sessions[OtherSession])
    assert_type(db.engine, AsyncEngine)
    async with db.sessionmaker() as session:
        await db.changes(session, Users, [7])
        await db.changes(session, Orders)
        await db.changes(session, Users, ["7"])  # type: ignore[misc]


async def sessions(incoming: Bookmark | str | bytes | None) -> str:
    async with db.causal_session(incoming) as session:
        assert_type(session, CausalSession)
        assert_type(session.bookmark, Bookmark)
        assert_type(session.encode(), str)
        assert_type(session.bookmark.position, int | None)
    async with db.causal_session():
        pass
    async with db.causal_session(incoming, session.bookmark, None, client="203.0.113.7"):
        await db.absorb(incoming)
    with db.bypass():
        pass
    state = await db.subjects.load("7")
    assert_type(await db.subjects.store(state, session), SubjectState)
    db.causal_session(7)  # type: ignore[arg-type]
    session.bookmark = session.bookmark  # type: ignore[misc]
    session.bookmark.position = 7  # type: ignore[misc]
    return session.encode()


async def web(app: Any) -> None:
    CausalMiddleware(app, db)
    CausalMiddleware(app, db, Cookie(same_site="strict", max_age=60))
    CausalMiddleware(app, db, [Header(), Subject(lambda scope: str(scope["user"]))])
    CausalMiddleware(app, db, "Bookmark")  # type: ignore[arg-type]
    Cookie(same_site="Lax")  # type: ignore[arg-type]
    assert_type(repository(Users), RepositoryDependency[Users])
    repository(User)  # type: ignore[type-var]


async def invalidations() -> None:
    async with db.invalidations(Users) as changes:
        async for change in changes:
            assert_type(change, Changed[int] | ChangedAll)
            _ = change.ids  # type: ignore[union-attr]
            match change:
                case Changed(ids=ids, bookmark=bookmark):
                    assert_type(ids, tuple[int, ...])
                    assert_type(bookmark, Bookmark)
                    assert_type(await db[Users].get_many(ids), dict[int, User])
                case ChangedAll(why=why):
                    assert_type(why, str)
                case never:
                    assert_never(never)
    async with db.invalidations(Orders) as of_orders:
        assert_type(await anext(of_orders), Changed[OrderId] | ChangedAll)
    async with db.invalidations(Documents) as of_documents:
        assert_type(await anext(of_documents), Changed[uuid.UUID] | ChangedAll)
    db.invalidations(User)  # type: ignore[arg-type]


async def reports() -> None:
    async with db.snapshot() as connection:
        assert_type(connection, AsyncConnection)
    for node in db.nodes:
        assert_type(node.name, str)
        assert_type(node.in_flight, int)


async def operates() -> None:
    db.switch(Users, CacheMode.OFF)
    assert_type(db.shadow(Users), ShadowCount)
    assert_type(await db.verify(samples=10), Verification)
    db.switch(Users, "off")  # type: ignore[arg-type]
    db.switch(User, CacheMode.OFF)  # type: ignore[arg-type]


class Kept(list[Event]):
    """An observer is any callable that takes an event."""

    def __call__(self, event: Event) -> None:
        self.append(event)

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self if isinstance(event, kind)]


Settings(observe=Kept())
Settings(observe=print)
Settings(observe=len)  # type: ignore[arg-type]


async def whatever_is_owned(
    repository: Repository[M, uuid.UUID], ids: Sequence[uuid.UUID]
) -> dict[uuid.UUID, M]:
    """Code for any repository."""
    return await repository.get_many(ids)


async def uses_it() -> None:
    assert_type(await whatever_is_owned(db[Documents], []), dict[uuid.UUID, Document])
    await whatever_is_owned(db[Users], [])  # type: ignore[index]
    anything: Repository[Any, Any] = db[Users]
    assert_type(await anything.get("7"), Any | None)
