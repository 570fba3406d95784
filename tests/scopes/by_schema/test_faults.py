"""Schemas where something fails, is new, or is looked at from elsewhere."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from repocache import CacheMode, KeyOwner, Repository, Scope
from repocache.events import Degraded
from repocache.testing import Endpoints, Servers
from tests.scopes.by_schema.docs_of import Accounts, Doc, Docs, Folder, make_tenant, open_docs
from tests.shop import Shop, in_rotation, until


async def add_tenant(endpoints: Endpoints, schema: str) -> None:
    engine = create_async_engine(endpoints.primary)
    async with engine.begin() as connection:
        await make_tenant(connection, schema)
    await engine.dispose()


async def test_a_tenant_that_comes_while_processes_run(
    shop: Shop, other: Shop, repocache_endpoints: Endpoints
) -> None:
    await add_tenant(repocache_endpoints, "c")
    for each in (shop, other):
        async with each.db.scoped(tenant="c"):
            assert (await each.db[Docs].on_primary().require(1)).title == "c1"
    async with shop.db.causal_session(None) as session:
        async with shop.db.scoped(tenant="c"), shop.db.unit_of_work() as work:
            (await work[Docs].require(1)).title = "new"
            await work.commit()
        async with other.db.causal_session(session.bookmark), other.db.scoped(tenant="c"):
            assert (await other.db[Docs].require(1)).title == "new"


async def test_a_replica_that_has_not_heard_of_a_tenant(
    repocache_endpoints: Endpoints, repocache_controls: Servers
) -> None:
    """Its answer is an error, and the next node's is asked for."""
    async with open_docs(repocache_endpoints) as shop:
        await in_rotation(shop)
        for each in repocache_controls.replicas:
            await asyncio.to_thread(each.pause_replay)
        await add_tenant(repocache_endpoints, "c")
        async with shop.db.scoped(tenant="c"):
            assert (await shop.db[Docs].require(1)).title == "c1"
            assert await shop.db[Docs].titles() == ["c1", "c2"]
            assert (await shop.db[Docs].by_slug.require("s2")).title == "c2"


async def test_many_who_use_a_schema_first_ask_once(shop: Shop) -> None:
    async def use() -> None:
        async with shop.db.scoped(tenant="a"):
            assert (await shop.db[Docs].require(1)).title == "a1"

    await asyncio.gather(*(use() for _ in range(30)))
    assert shop.db._registry.schemas.knows("a")
    assert not shop.db._registry.used._turns


async def test_who_is_cancelled_while_a_schema_is_asked_about_leaves_the_others(
    shop: Shop,
) -> None:
    async def use() -> str:
        async with shop.db.scoped(tenant="a"):
            return (await shop.db[Docs].require(1)).title

    tasks = [asyncio.create_task(use()) for _ in range(6)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    tasks[3].cancel()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [each for each in found if each == "a1"] == ["a1"] * 4
    assert not shop.db._registry.used._turns


async def test_without_the_primary_reads_go_on(
    repocache_endpoints: Endpoints, repocache_controls: Servers
) -> None:
    async with open_docs(repocache_endpoints) as shop, open_docs(repocache_endpoints) as other:
        await in_rotation(other)
        async with other.db.scoped(tenant="b"):
            assert (await other.db[Docs].require(1)).title == "b1"
        await asyncio.to_thread(repocache_controls.primary.kill)
        async with shop.db.scoped(tenant="b"):
            assert (await shop.db[Docs].require(1)).title == "b1"
        told = [each.what for each in shop.seen.of(Degraded)]
        assert "schema 'b'" in told


async def test_without_redis(repocache_endpoints: Endpoints, repocache_controls: Servers) -> None:
    async with open_docs(repocache_endpoints) as shop:
        await in_rotation(shop)
        await asyncio.to_thread(repocache_controls.redis.kill)
        async with shop.db.causal_session(None):
            async with shop.db.scoped(tenant="a"), shop.db.unit_of_work() as work:
                (await work[Docs].require(1)).title = "new"
                await work.commit()
            for value, titles in (("a", ["a2", "new"]), ("b", ["b1", "b2"])):
                async with shop.db.scoped(tenant=value):
                    found = await shop.db[Docs].get_many([1, 2])
                    assert sorted(each.title for each in found.values()) == titles


async def test_what_is_wrong_is_found_under_its_value(
    shop: Shop, repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    """A write that nobody told: `verify` reads each row in its own schema."""
    docs = shop.db[Docs]
    for value in ("a", "b"):
        async with shop.db.scoped(tenant=value):
            await docs.get_many([1, 2, 3])
            await docs.by_slug.get_many(["s1", "s2"])
    assert not (await shop.db.verify(within=0.1)).wrong
    database = repocache_endpoints.primary.rpartition("/")[2]
    untold = "UPDATE b.docs SET title = 'new' WHERE id = 1"
    await asyncio.to_thread(repocache_servers.primary.sql, untold, database)
    assert (await shop.db.verify(within=0.1)).wrong

    async def is_right() -> bool:
        async with shop.db.scoped(tenant="b"):
            return (await docs.require(1)).title == "new"

    await until(is_right, "the right one is read")
    async with shop.db.scoped(tenant="a"):
        assert (await docs.require(1)).title == "a1"


@pytest.mark.parametrize("mode", [CacheMode.OFF, CacheMode.SHADOW])
async def test_in_other_modes(shop: Shop, mode: CacheMode) -> None:
    shop.db.switch(Docs, mode)
    for value in ("a", "b"):
        async with shop.db.scoped(tenant=value):
            found = await shop.db[Docs].get_many([1, 2, 3])
            assert [each.title for each in found.values()] == [f"{value}1", f"{value}2"]
            assert (await shop.db[Docs].by_slug.require("s1")).title == f"{value}1"
    assert not shop.db.shadow(Docs).wrong


async def test_keys_are_described_with_the_schema(shop: Shop) -> None:
    described = {each.prefix: each for each in shop.db.owners}
    assert described["doc"].key == "doc:{tenant: str}:{id: int}"
    assert described["doc"].tables == ("*.docs",)
    assert described["doc-by_slug"].key == "doc-by_slug:{tenant: str}:{slug: str}"
    assert described["account"].tables == ("public.accounts",)
    async with shop.db.scoped(tenant="a"):
        await shop.db[Docs].require(1)
        assert "doc:a:1" in await shop.db.invalidate(Docs, [1])


class OddDocs(Repository[Doc, int]):
    owner = KeyOwner(
        "doc", scope=Scope("tenant", schema=True, schemas=('q"; DROP SCHEMA a CASCADE; --',))
    )


async def test_a_name_that_needs_quotes_is_a_name(repocache_endpoints: Endpoints) -> None:
    odd = 'q"; DROP SCHEMA a CASCADE; --'
    engine = create_async_engine(repocache_endpoints.primary)
    quoted = '"' + odd.replace('"', '""') + '"'
    async with engine.begin() as connection:
        await connection.execute(text(f"CREATE SCHEMA {quoted}"))
        renamed = await connection.execution_options(schema_translate_map={None: odd})
        tables: Any = [Folder.__table__, Doc.__table__]
        await renamed.run_sync(Doc.metadata.create_all, tables=tables)
    await engine.dispose()
    async with (
        open_docs(repocache_endpoints, repositories=[OddDocs, Accounts]) as shop,
        shop.db.causal_session(None),
        shop.db.scoped(tenant=odd),
    ):
        for title in ("one", "two"):
            async with shop.db.unit_of_work() as work:
                doc = await work[OddDocs].get(1)
                if doc is None:
                    work.add(Doc(id=1, slug="s", title=title))
                else:
                    doc.title = title
                await work.commit()
            assert (await shop.db[OddDocs].require(1)).title == title
            assert [each.title for each in await shop.db[OddDocs].find()] == [title]
        async with shop.db.unit_of_work() as work:
            await work.delete(await work[OddDocs].require(1))
            await work.commit()
        assert await shop.db[OddDocs].get(1) is None
    async with open_docs(repocache_endpoints) as shop, shop.db.scoped(tenant="a"):
        assert (await shop.db[Docs].require(1)).title == "a1"
