"""Papers of tenants: tables with row-level security, and repositories with a scope."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from sqlalchemy import ForeignKey, UniqueConstraint, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from repocache import CacheAside, KeyOwner, Lookup, Repository, Scope, Settings, View
from repocache.testing import Endpoints
from tests.shop import Shop, open_shop

TENANTS = ("a", "b")


class Base(DeclarativeBase):
    pass


class Folder(Base):
    __tablename__ = "folders"
    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str]


class Paper(Base):
    __tablename__ = "papers"
    __table_args__ = (UniqueConstraint("tenant", "slug"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant: Mapped[str]
    slug: Mapped[str]
    title: Mapped[str]
    sheets: Mapped[list[Sheet]] = relationship(order_by="Sheet.id", viewonly=True)


class Sheet(Base):
    __tablename__ = "sheets"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant: Mapped[str]
    paper_id: Mapped[int] = mapped_column(ForeignKey("papers.id", ondelete="CASCADE"))
    words: Mapped[str]
    paper: Mapped[Paper] = relationship(viewonly=True)


class Title(msgspec.Struct, frozen=True):
    id: int
    title: str


tenant = Scope("tenant", setting="app.tenant")


class Papers(Repository[Paper, int]):
    owner = KeyOwner("paper", scope=tenant)
    policy = CacheAside(ttl=300, local_ttl=60, negative_ttl=30)
    by_slug = Lookup(Paper.slug)
    titled = View(Title)

    async def titles(self) -> list[str]:
        return [each.title for each in await self.find(order_by=[Paper.title])]


class Sheets(Repository[Sheet, int]):
    owner = KeyOwner("sheet", scope=tenant)


class Folders(Repository[Folder, tuple[str, int]]):
    owner = KeyOwner("folder", scope=tenant)


REPOSITORIES = (Papers, Sheets, Folders)
TABLES = {"papers": "tenant", "sheets": "tenant", "folders": "tenant_id"}


async def make_papers(url: str) -> None:
    """Papers 1 and 2 are a's, 3 and 4 b's; each has a sheet of its number times ten."""
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        for table, column in TABLES.items():
            await connection.execute(
                text(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
            )
            await connection.execute(
                text(
                    f"CREATE POLICY own ON {table}"
                    f" USING ({column} = current_setting('app.tenant', true)) WITH CHECK (true)"
                )
            )
        for id, owner in ((1, "a"), (2, "a"), (3, "b"), (4, "b")):
            for sql in (
                "INSERT INTO papers VALUES (:id, :tenant, :slug, :title)",
                "INSERT INTO sheets VALUES (:id * 10, :tenant, :id, :title)",
                "INSERT INTO folders VALUES (:tenant, :id, :title)",
            ):
                values = {"id": id, "tenant": owner, "slug": f"s{id % 2}", "title": f"t{id}"}
                await connection.execute(text(sql), values)
    await engine.dispose()


@asynccontextmanager
async def open_papers(
    endpoints: Endpoints,
    settings: Settings | None = None,
    repositories: Iterable[type[Repository[Any, Any]]] = REPOSITORIES,
) -> AsyncIterator[Shop]:
    async with open_shop(endpoints, settings, repositories) as shop:
        yield shop
