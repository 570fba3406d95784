"""Counters of several kinds, and what opens a database that writes them behind."""

from __future__ import annotations

import dataclasses
import datetime
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, CheckConstraint, DateTime, Integer, Numeric, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from repocache import (
    CacheAside,
    Database,
    Flush,
    KeyOwner,
    Repository,
    Settings,
    WriteBehind,
)
from repocache.alembic_ops.ddl import create_write_behind
from repocache.testing import Endpoints
from tests.shop import QUICK, Seen

RARELY = Flush(every=3_600.0, most=1_000_000)
"""Nothing is flushed but by `flushed()`, and on leaving."""
OFTEN = Flush(every=0.05)


class Base(DeclarativeBase):
    pass


class PageView(Base):
    """Can be made by a count alone."""

    __tablename__ = "page_views"
    __table_args__ = (CheckConstraint("hits < 1000000000", name="not_too_many"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    hits: Mapped[int] = mapped_column(BigInteger, default=0)
    seconds: Mapped[Decimal | None] = mapped_column(Numeric(20, 3))
    small: Mapped[int | None] = mapped_column(Integer)
    title: Mapped[str | None]
    ratio: Mapped[float | None]
    seen: Mapped[datetime.datetime | None] = mapped_column(
        DateTime(timezone=True), onupdate=func.now()
    )


class Mood(Enum):
    GOOD = "good"
    BAD = "bad"


class Article(Base):
    """Needs a title before anybody can count."""

    __tablename__ = "articles"
    tenant: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    slug: Mapped[str] = mapped_column(primary_key=True)
    title: Mapped[str]
    reads: Mapped[int] = mapped_column(server_default=text("0"))
    token: Mapped[uuid.UUID | None] = mapped_column(unique=True)
    mood: Mapped[Mood | None]
    extra: Mapped[dict[str, Any] | None] = mapped_column(JSONB)


class Device(Base):
    __tablename__ = "devices"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    pings: Mapped[int] = mapped_column(BigInteger)


class ArticleId(NamedTuple):
    tenant: int
    slug: str


class PageViews(WriteBehind[PageView, int]):
    owner = KeyOwner("pageview")
    flush = RARELY


class Articles(WriteBehind[Article, ArticleId]):
    owner = KeyOwner("article")
    flush = RARELY


class Devices(WriteBehind[Device, uuid.UUID]):
    owner = KeyOwner("device")
    flush = RARELY


class Views(Repository[PageView, int]):
    """The same rows, cached."""

    owner = KeyOwner("view")
    policy = CacheAside(ttl=300, local_ttl=60, negative_ttl=30)


EVERYTHING = (PageViews, Articles, Devices, Views)


def page_views(flush: Flush, name: str = "PageViews") -> type[WriteBehind[PageView, int]]:
    """Of the same owner, flushed otherwise."""
    kind = WriteBehind[PageView, int]

    class Other(kind):
        owner = KeyOwner("pageview")

    Other.flush = flush
    Other.__name__ = name
    return Other


async def make_counters(url: str) -> None:
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        await make_tables(connection)
    await engine.dispose()


async def make_tables(connection: AsyncConnection) -> None:
    for statement in create_write_behind("public", ()):
        await connection.execute(text(statement))


@dataclasses.dataclass
class Counting:
    """A running database and what it told."""

    db: Database
    seen: Seen

    async def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """On the primary, past the library's sessions."""
        async with self.db.engine.connect() as connection:
            result = await connection.execute(text(statement))
            rows = [tuple(row) for row in result] if result.returns_rows else []
            await connection.commit()
        return rows


@asynccontextmanager
async def counting(
    ends: Endpoints,
    repositories: Sequence[Any] = EVERYTHING,
    settings: Settings | None = None,
) -> AsyncIterator[Counting]:
    """A database on these servers; its events are kept."""
    seen = Seen()
    async with Database(
        ends.primary,
        replicas=ends.replicas,
        redis=ends.redis or None,
        repositories=repositories,
        settings=dataclasses.replace(settings or Settings(topology=QUICK), observe=seen),
    ) as db:
        yield Counting(db, seen)
