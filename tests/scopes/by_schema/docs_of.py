"""Docs of tenants: a schema for each, with the same tables and the same ids, and a table that all
share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from sqlalchemy import ForeignKey, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from repocache import CacheAside, KeyOwner, Lookup, Repository, Scope, Settings, View
from repocache.testing import Endpoints
from tests.shop import Shop, open_shop

TENANTS = ("a", "b")


class Base(DeclarativeBase):
    pass


class Account(Base):
    """Of everybody."""

    __tablename__ = "accounts"
    __table_args__ = ({"schema": "public"},)
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Folder(Base):
    __tablename__ = "folders"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    docs: Mapped[list[Doc]] = relationship(order_by="Doc.id", viewonly=True)


class Doc(Base):
    __tablename__ = "docs"
    id: Mapped[int] = mapped_column(primary_key=True)
    slug: Mapped[str] = mapped_column(unique=True)
    title: Mapped[str]
    folder_id: Mapped[int | None] = mapped_column(ForeignKey("folders.id", ondelete="CASCADE"))
    account_id: Mapped[int | None] = mapped_column(ForeignKey("public.accounts.id"))
    folder: Mapped[Folder | None] = relationship(viewonly=True)
    account: Mapped[Account | None] = relationship(viewonly=True)


class Mark(Base):
    __tablename__ = "marks"
    doc_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    words: Mapped[str]


class Title(msgspec.Struct, frozen=True):
    id: int
    title: str


class Whole(msgspec.Struct, frozen=True):
    """All columns, in their order."""

    doc_id: int
    number: int
    words: str


tenant = Scope("tenant", schema=True)


class Docs(Repository[Doc, int]):
    owner = KeyOwner("doc", scope=tenant)
    policy = CacheAside(ttl=300, local_ttl=60, negative_ttl=30)
    by_slug = Lookup(Doc.slug)
    titled = View(Title)

    async def titles(self) -> list[str]:
        return [each.title for each in await self.find(order_by=[Doc.title])]


class Folders(Repository[Folder, int]):
    owner = KeyOwner("folder", scope=tenant)


class Marks(Repository[Mark, tuple[int, int]]):
    owner = KeyOwner("mark", scope=tenant)
    whole = View(Whole)


class Accounts(Repository[Account, int]):
    owner = KeyOwner("account")


REPOSITORIES = (Docs, Folders, Marks, Accounts)
ROWS = (
    "INSERT INTO {0}.folders VALUES (1, '{0} one'), (2, '{0} two')",
    "INSERT INTO {0}.docs VALUES (1, 's1', '{0}1', 1, 7), (2, 's2', '{0}2', 2, NULL)",
    "INSERT INTO {0}.marks VALUES (1, 1, '{0}11')",
    "SELECT setval('{0}.docs_id_seq', 10)",
)


async def make_tenant(connection: AsyncConnection, schema: str) -> None:
    """Its schema, with folders and docs 1 and 2; doc 1 has a mark, and account 7."""
    await connection.execute(text(f"CREATE SCHEMA {schema}"))
    tables: Any = [each for each in Base.metadata.sorted_tables if each.schema is None]
    renamed = await connection.execution_options(schema_translate_map={None: schema})
    await renamed.run_sync(Base.metadata.create_all, tables=tables)
    for sql in ROWS:
        await connection.execute(text(sql.format(schema)))


async def make_docs(url: str) -> None:
    """Of both tenants."""
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        shared: Any = [Account.__table__]
        await connection.run_sync(Base.metadata.create_all, tables=shared)
        await connection.execute(text("INSERT INTO accounts VALUES (7, 'seven')"))
        for each in TENANTS:
            await make_tenant(connection, each)
    await engine.dispose()


@asynccontextmanager
async def open_docs(
    endpoints: Endpoints,
    settings: Settings | None = None,
    repositories: Iterable[type[Repository[Any, Any]]] = REPOSITORIES,
) -> AsyncIterator[Shop]:
    async with open_shop(endpoints, settings, repositories) as shop:
        yield shop
