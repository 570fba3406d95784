"""Writes of others, whom this library knows nothing of: a trigger tells the keys of the schema that
it is in, also of one that this process has never used."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from repocache import Changed, ChangedAll
from repocache.alembic_ops.ddl import create_outbox, create_trigger
from repocache.testing import Endpoints, Servers
from tests.scopes.by_schema.docs_of import TENANTS, Doc, Docs, make_tenant, open_docs
from tests.shop import Shop, until


@pytest.fixture
async def watched(repocache_endpoints: Endpoints) -> AsyncIterator[Shop]:
    engine = create_async_engine(repocache_endpoints.primary)
    async with engine.begin() as connection:
        await make_tenant(connection, "c")
        for statement in create_outbox("public", ()):
            await connection.execute(text(statement))
        for schema in (*TENANTS, "c"):
            for statement in create_trigger("docs", schema, "public", ()):
                await connection.execute(text(statement))
    await engine.dispose()
    async with open_docs(repocache_endpoints) as shop:
        yield shop


async def title(shop: Shop, value: str, id: int) -> str | None:
    async with shop.db.scoped(tenant=value):
        doc = await shop.db[Docs].get(id)
        return None if doc is None else doc.title


async def test_a_tenant_s_own_keys_are_told(
    watched: Shop, repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    for value in (*TENANTS, "c"):
        assert await title(watched, value, 1) == f"{value}1"
    database = repocache_endpoints.primary.rpartition("/")[2]
    changed = "UPDATE b.docs SET title = 'new' WHERE id = 1"
    async with watched.db.invalidations(Docs) as changes:
        assert isinstance(await anext(changes), ChangedAll)
        await asyncio.to_thread(repocache_servers.primary.sql, changed, database)
        change = await anext(changes)
    assert isinstance(change, Changed)
    ids: tuple[object, ...] = change.ids
    assert ids == (("b", 1),)

    async def heard() -> bool:
        return await title(watched, "b", 1) == "new"

    await until(heard, "b has heard")
    assert await title(watched, "a", 1) == "a1"


async def test_of_a_schema_that_this_process_has_not_used(
    watched: Shop, repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    database = repocache_endpoints.primary.rpartition("/")[2]
    async with open_docs(repocache_endpoints) as reader:
        assert await title(reader, "c", 2) == "c2"
        changed = "DELETE FROM c.docs WHERE id = 2"
        await asyncio.to_thread(repocache_servers.primary.sql, changed, database)

        async def heard() -> bool:
            return await title(reader, "c", 2) is None

        await until(heard, "the reader has heard")


async def test_what_a_commit_s_own_triggers_noticed_goes_with_it(watched: Shop) -> None:
    """The outbox is left empty by who wrote it."""
    async with watched.db.causal_session(None):
        async with watched.db.scoped(tenant="a"), watched.db.unit_of_work() as work:
            (await work[Docs].require(1)).title = "new"
            work.add(Doc(id=9, slug="s9", title="t9"))
            await work.commit()
        assert await title(watched, "a", 1) == "new"
        assert await title(watched, "a", 9) == "t9"
        assert await title(watched, "b", 9) is None

    async def is_empty() -> bool:
        async with watched.db.engine.connect() as connection:
            left = await connection.exec_driver_sql("SELECT count(*) FROM repocache_outbox")
            return bool(left.scalar_one() == 0)

    await until(is_empty, "the outbox is empty")
