"""A shop whose database has an outbox and counters, and what is told of it."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from repocache.alembic_ops.ddl import create_outbox, create_purges
from repocache.testing import Servers
from tests.behind.counters import make_counters
from tests.shop import shop_template

NAME = "observed_template"


@pytest.fixture(scope="session")
def repocache_template(repocache_servers: Servers) -> str:
    primary = repocache_servers.primary
    if not primary.sql(f"SELECT 1 FROM pg_database WHERE datname = '{NAME}'"):
        primary.create_database(NAME, shop_template(repocache_servers))
        asyncio.run(make_all(primary.url(database=NAME)))
    return NAME


async def make_all(url: str) -> None:
    await make_counters(url)
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        for statement in (*create_outbox("public", ()), *create_purges("public", ())):
            await connection.execute(text(statement))
    await engine.dispose()
