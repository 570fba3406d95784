"""A shop's mapped classes, their owners, and a primary engine whose commits are noted instead of
published."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import CHAR, Column, Connection, ForeignKey, Table, event, func
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.pool import PoolProxiedConnection

from repocache.background.tasks import Grace
from repocache.bookmark import Bookmark
from repocache.events import Event
from repocache.keys import KeyOwner, Keys
from repocache.tracking import Changes, Owned, OwnedTables, Tracker
from repocache.tracking.functions import NO_FUNCTIONS, Functions
from repocache.transactions.commit_watch import CommitWatch
from repocache.transactions.tracked_session import TrackedSession
from repocache.transactions.transaction import Outcome, Transaction, seal_postgresql
from repocache.transactions.unit_of_work import PrimaryTransaction

WHOLE = "*"


class Base(DeclarativeBase):
    pass


post_tag = Table(
    "post_tag",
    Base.metadata,
    Column("post_id", ForeignKey("post.id"), primary_key=True),
    Column("tag_id", ForeignKey("tag.id"), primary_key=True),
)


class User(Base):
    __tablename__ = "account"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str] = mapped_column(default="")
    logins: Mapped[int] = mapped_column(default=0)
    updated_at: Mapped[datetime | None] = mapped_column(onupdate=func.now())
    favourite_id: Mapped[int | None] = mapped_column(ForeignKey("post.id", use_alter=True))

    posts: Mapped[list[Post]] = relationship(
        back_populates="user", cascade="all, delete-orphan", foreign_keys="Post.user_id"
    )
    drafts: Mapped[list[Draft]] = relationship(back_populates="user")
    favourite: Mapped[Post | None] = relationship(foreign_keys=favourite_id, post_update=True)


class Post(Base):
    __tablename__ = "post"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(default="")
    user_id: Mapped[int | None] = mapped_column(ForeignKey("account.id"))

    user: Mapped[User | None] = relationship(back_populates="posts", foreign_keys=user_id)
    tags: Mapped[list[Tag]] = relationship(secondary=post_tag)


class Draft(Base):
    """Without delete-orphan: a user who goes leaves NULL behind."""

    __tablename__ = "draft"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int | None] = mapped_column(ForeignKey("account.id"))

    user: Mapped[User | None] = relationship(back_populates="drafts")


class Tag(Base):
    __tablename__ = "tag"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    word: Mapped[str] = mapped_column(default="")


class Order(Base):
    __tablename__ = "orders"

    tenant: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column("no", primary_key=True)
    note: Mapped[str] = mapped_column(default="")


class Person(Base):
    __tablename__ = "person"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    name: Mapped[str] = mapped_column(default="")

    # SQLAlchemy's way.
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "person"}  # noqa: RUF012


class Engineer(Person):
    __tablename__ = "engineer"

    id: Mapped[int] = mapped_column(ForeignKey("person.id", ondelete="CASCADE"), primary_key=True)
    language: Mapped[str] = mapped_column(default="")

    __mapper_args__ = {"polymorphic_identity": "engineer"}  # noqa: RUF012 - as above


class Folder(Base):
    __tablename__ = "folder"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(default="")


class Paper(Base):
    """The database deletes it with its folder, and nobody is told."""

    __tablename__ = "paper"

    id: Mapped[int] = mapped_column(primary_key=True)
    folder_id: Mapped[int] = mapped_column(
        ForeignKey("folder.id", ondelete="CASCADE", onupdate="CASCADE")
    )


class Country(Base):
    """Its key is padded by the database."""

    __tablename__ = "country"

    code: Mapped[str] = mapped_column(CHAR(3), primary_key=True)
    name: Mapped[str] = mapped_column(default="")


posts, orders = Base.metadata.tables["post"], Base.metadata.tables["orders"]


def owned(
    prefix: str,
    types: tuple[type, ...],
    *models: type[Base],
    follows: tuple[str, ...] | None = None,
) -> Owned:
    tables = {model.__table__: tuple(model.__table__.primary_key) for model in models}
    return Owned(Keys(KeyOwner(prefix, follows), types), tables)  # type: ignore[arg-type]


OWNED = [
    owned("user", (int,), User),
    owned("profile", (int,), User),
    owned("post", (int,), Post),
    owned("draft", (int,), Draft),
    owned("tag", (uuid.UUID,), Tag, follows=("post_tag",)),
    owned("order", (int, int), Order),
    owned("person", (int,), Person, Engineer),
    owned("folder", (int,), Folder),
    owned("paper", (int,), Paper),
    owned("country", (str,), Country),
]


def tables() -> OwnedTables:
    return OwnedTables(OWNED, Base.metadata.tables.values())


class Published(NamedTuple):
    """What one commit handed over."""

    outcome: Outcome
    keys: frozenset[str]
    xid: str | None
    synchronous: bool


class Notes:
    """Commit hooks that write down what they are given, and hold it back while they are told to."""

    def __init__(self, *, postgresql: bool) -> None:
        self._postgresql = postgresql
        self.published: list[Published] = []
        self.open = asyncio.Event()
        self.open.set()
        self.begun = asyncio.Event()
        self.fails: Exception | None = None

    def prepare(self, connection: Connection, transaction: Transaction) -> None:
        """Nothing is stored."""

    def rolled_back(self, transaction: Transaction) -> None:
        """Nothing was kept."""

    async def seal(self, connection: PoolProxiedConnection, transaction: Transaction) -> None:
        if self._postgresql:
            await seal_postgresql(connection, transaction)

    async def committed(self, transaction: Transaction, outcome: Outcome) -> None:
        self.begun.set()
        await self.open.wait()
        changes = transaction.changes
        assert isinstance(changes, Changes)
        keys = {key for some in changes.keys.values() for key in some} | {
            f"{each}:{WHOLE}" for each in changes.whole
        }
        self.published.append(
            Published(outcome, frozenset(keys), transaction.xid, transaction.synchronous)
        )
        if self.fails is not None:
            raise self.fails
        transaction.bookmark = Bookmark("history", len(self.published), {}, covered=True, expires=0)


class Tasks:
    """The owner of what outlives its callers."""

    def __init__(self) -> None:
        self.all: list[asyncio.Task[None]] = []

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        self.all.append(asyncio.create_task(work))
        return self.all[-1]


class Shop:
    """An engine that is watched and tracked."""

    def __init__(
        self, engine: AsyncEngine, owned: OwnedTables, functions: Functions = NO_FUNCTIONS
    ) -> None:
        self.engine = engine
        self.owned = owned
        self.name = engine.dialect.name
        self.events: list[Event] = []
        self.tasks = Tasks()
        self.notes = Notes(postgresql=self.name == "postgresql")
        self.watch = CommitWatch(engine, self.notes, self.tasks.spawn, Changes)
        self.tracker = Tracker(
            engine, owned, self.watch.transaction_of, self.events.append, functions
        )
        self.sessions = async_sessionmaker(
            engine, sync_session_class=TrackedSession, expire_on_commit=False
        )
        self.statements: list[str] = []

    def unit_of_work(self) -> PrimaryTransaction:
        return PrimaryTransaction(self.sessions, self.watch.transaction_of, self.events.append)

    def plain_session(self) -> AsyncSession:
        return AsyncSession(self.engine)

    async def add(self, *entities: DeclarativeBase) -> None:
        """Rows to begin with: their commit is not noted."""
        async with self.sessions.begin() as session:
            session.add_all(entities)
        self.notes.published.clear()

    async def settled(self) -> None:
        await asyncio.wait(self.tasks.all)

    @property
    def keys(self) -> set[str]:
        """Of the one commit that was published."""
        (published,) = self.notes.published
        assert published.outcome is Outcome.COMMITTED
        return set(published.keys)

    def clear(self) -> None:
        self.notes.published.clear()


@asynccontextmanager
async def opened(
    engine: AsyncEngine, owned: OwnedTables | None = None, functions: Functions = NO_FUNCTIONS
) -> AsyncIterator[Shop]:
    """A shop on this engine, which is closed with it. `owned`: other tables than the shop's own."""
    shop = Shop(engine, owned or tables(), functions)
    try:
        yield shop
    finally:
        shop.notes.open.set()
        await asyncio.gather(*shop.tasks.all, return_exceptions=True)
        await shop.watch.close(Grace(0.0))
        shop.tracker.stop()
        await engine.dispose()


def with_savepoints(engine: AsyncEngine) -> None:
    """SQLite's driver begins transactions late and savepoints not at all: the recipe of
    SQLAlchemy's documentation."""

    def leave_it(connection: DBAPIConnection, _: object) -> None:
        connection.isolation_level = None

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    event.listen(engine.sync_engine, "connect", leave_it)
    event.listen(engine.sync_engine, "begin", begin)
