"""Accounts with unique emails, pages with unique slugs, and staff who share a table."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import ForeignKey, UniqueConstraint, insert
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from repocache import CacheAside, KeyOwner, Lookup, Repository, Settings, WriteThrough
from repocache.testing import Endpoints
from tests.shop import QUICK, Shop, in_rotation, open_shop


class Base(DeclarativeBase):
    pass


class Account(Base):
    __tablename__ = "accounts"
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str | None] = mapped_column(unique=True)
    name: Mapped[str]
    token: Mapped[uuid.UUID] = mapped_column(unique=True, default=uuid.uuid4)


class Page(Base):
    __tablename__ = "pages"
    __table_args__ = (UniqueConstraint("tenant", "slug"),)
    tenant: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    slug: Mapped[str]
    title: Mapped[str]


class Team(Base):
    __tablename__ = "teams"
    id: Mapped[int] = mapped_column(primary_key=True)


class Player(Base):
    """Goes with its team."""

    __tablename__ = "players"
    id: Mapped[int] = mapped_column(primary_key=True)
    team: Mapped[int] = mapped_column(ForeignKey("teams.id", ondelete="CASCADE"))
    nick: Mapped[str] = mapped_column(unique=True)


class Person(Base):
    __tablename__ = "people"
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "person"}  # noqa: RUF012
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    badge: Mapped[str] = mapped_column(unique=True)


class Boss(Person):
    __mapper_args__ = {"polymorphic_identity": "boss"}  # noqa: RUF012


class Accounts(Repository[Account, int]):
    owner = KeyOwner("account")
    policy = CacheAside(ttl=300, local_ttl=60, negative_ttl=30)
    by_email = Lookup(Account.email)
    by_token = Lookup(Account.token)


class Pages(Repository[Page, tuple[int, int]]):
    owner = KeyOwner("page")
    policy = CacheAside(ttl=300, local_ttl=60, negative_ttl=30)
    by_slug = Lookup(Page.tenant, Page.slug)


class Players(Repository[Player, int]):
    owner = KeyOwner("player")
    policy = WriteThrough(ttl=300, local_ttl=60, negative_ttl=30)
    by_nick = Lookup(Player.nick)


class Bosses(Repository[Boss, int]):
    owner = KeyOwner("boss")
    policy = CacheAside(ttl=300, local_ttl=60, negative_ttl=30)
    by_badge = Lookup(Boss.badge)


STAFF: Any = Person.__table__
REPOSITORIES = (Accounts, Pages, Players, Bosses)


async def make_accounts(url: str) -> None:
    """Accounts 1 to 20, every tenth without an email; pages of two tenants; players of two teams;
    a boss, and one who is none."""
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        rows = [
            {"id": n, "email": f"{n}@x" if n % 10 else None, "name": f"n{n}", "token": token(n)}
            for n in range(1, 21)
        ]
        await connection.execute(insert(Account), rows)
        pages = [
            {"tenant": t, "number": n, "slug": f"s{n}", "title": f"{t}.{n}"}
            for t in (1, 2)
            for n in (1, 2)
        ]
        await connection.execute(insert(Page), pages)
        await connection.execute(insert(Team), [{"id": 1}, {"id": 2}])
        players = [{"id": n, "team": 1 + n % 2, "nick": f"p{n}"} for n in range(1, 7)]
        await connection.execute(insert(Player), players)
        staff = [("person", "p"), ("boss", "b")]
        people = [{"id": n, "kind": k, "badge": b} for n, (k, b) in enumerate(staff, 1)]
        await connection.execute(insert(STAFF), people)
    await engine.dispose()


def token(number: int) -> uuid.UUID:
    return uuid.UUID(int=number)


@asynccontextmanager
async def open_accounts(
    ends: Endpoints, settings: Settings | None = None, repositories: Any = REPOSITORIES
) -> AsyncIterator[Shop]:
    """A database on these servers, all its nodes in the rotation."""
    settings = settings or Settings(topology=QUICK)
    async with open_shop(ends, settings, repositories) as shop:
        await in_rotation(shop)
        yield shop
