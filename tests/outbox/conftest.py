"""A shop whose database has an outbox, and connections that the library knows nothing of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from repocache.alembic_ops.ddl import create_outbox, create_trigger
from repocache.invalidation.outbox import TABLE
from repocache.testing import Endpoints, Servers
from tests.outbox.roles import Roles, roles_on
from tests.shop import Shop, open_shop, shop_template, until

Sql = Callable[..., Awaitable[list[Any]]]
WATCHED = ("users", "orders", "documents")


@pytest.fixture(scope="session")
def repocache_template(repocache_servers: Servers) -> str:
    return outbox_template(repocache_servers)


def outbox_template(servers: Servers) -> str:
    """The name of a shop's database with what a migration would make, made once a run."""
    name = "outbox_template"
    if not servers.primary.sql(f"SELECT 1 FROM pg_database WHERE datname = '{name}'"):
        servers.primary.create_database(name, shop_template(servers))
        asyncio.run(make_outbox(servers.primary.url(database=name)))
    return name


async def make_outbox(url: str) -> None:
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        for statement in create_outbox("public", ()):
            await connection.execute(text(statement))
    await engine.dispose()


@pytest.fixture(scope="session")
def roles(repocache_servers: Servers) -> Iterator[Roles]:
    with roles_on(repocache_servers.primary) as roles:
        yield roles


@pytest.fixture
async def shop(repocache_endpoints: Endpoints) -> AsyncIterator[Shop]:
    async with open_shop(repocache_endpoints) as shop:
        yield shop


@pytest.fixture
async def engine(repocache_endpoints: Endpoints) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(repocache_endpoints.primary)
    yield engine
    await engine.dispose()


@pytest.fixture
def sql(engine: AsyncEngine) -> Sql:
    """Another program's SQL, each call a transaction."""

    async def run(*statements: str) -> list[Any]:
        rows: list[Any] = []
        async with engine.begin() as connection:
            for statement in statements:
                result = await connection.execute(text(statement))
                rows = list(result) if result.returns_rows else []
        return rows

    return run


@pytest.fixture
async def watched(sql: Sql) -> tuple[str, ...]:
    """Tables with triggers."""
    for table in WATCHED:
        await sql(*create_trigger(table, "public", "public", ("name",) if table == "users" else ()))
    return WATCHED


async def left(sql: Sql) -> int:
    """Rows in the outbox."""
    [(count,)] = await sql(f"SELECT count(*) FROM {TABLE}")
    return int(count)


async def until_empty(sql: Sql) -> None:
    async def empty() -> bool:
        return await left(sql) == 0

    await until(empty, "the outbox is empty")
