"""Writes of others, who need not be bound by row-level security: each value's readers hear of
them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from repocache.alembic_ops.ddl import create_outbox, create_trigger
from repocache.testing import Endpoints, Servers
from tests.scopes.papers_of import Papers, open_papers
from tests.shop import Shop, until


@pytest.fixture(params=[("tenant",), ()], ids=["with the column", "without"])
async def watched(
    repocache_endpoints: Endpoints, request: pytest.FixtureRequest
) -> AsyncIterator[Shop]:
    """`columns`: those that the trigger is told beyond the primary key."""
    engine = create_async_engine(repocache_endpoints.primary)
    async with engine.begin() as connection:
        for statement in (
            *create_outbox("public", ()),
            *create_trigger("papers", "public", "public", request.param),
        ):
            await connection.execute(text(statement))
    await engine.dispose()
    async with open_papers(repocache_endpoints) as shop:
        yield shop


async def has(shop: Shop, value: str, id: int) -> str | None:
    async with shop.db.scoped(tenant=value):
        paper = await shop.db[Papers].get(id)
        return None if paper is None else paper.title


async def test_a_row_that_changes_hands(
    watched: Shop, repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    assert [await has(watched, value, 1) for value in ("a", "b")] == ["t1", None]
    database = repocache_endpoints.primary.rpartition("/")[2]
    moves = "UPDATE papers SET tenant = 'b', slug = 'own', title = 'moved' WHERE id = 1"
    await asyncio.to_thread(repocache_servers.primary.sql, moves, database)

    async def heard() -> bool:
        return [await has(watched, value, 1) for value in ("a", "b")] == [None, "moved"]

    await until(heard, "both have heard")
