"""Scopes where something fails, is given up, or is looked at from elsewhere."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import func, select, text

from repocache import CacheMode, Changed, ChangedAll, KeyOwner, Repository, WriteThrough
from repocache.events import Degraded
from repocache.testing import Endpoints, Servers
from tests.scopes.papers_of import Paper, Papers, open_papers, tenant
from tests.shop import Shop, in_rotation, until


class Stored(Repository[Paper, int]):
    owner = KeyOwner("paper", scope=tenant)
    policy = WriteThrough(ttl=300)


async def test_a_read_that_is_given_up_leaves_no_value(shop: Shop) -> None:
    """By the connections of both kinds of node, and by as many as there are."""
    await in_rotation(shop)
    papers = shop.db[Papers]
    slow = select(Paper.id, func.pg_sleep(0.5))
    for reader in (papers.on_replica(), papers.on_primary()):
        async with shop.db.scoped(tenant="a"):
            tasks = [asyncio.create_task(reader.rows(slow)) for _ in range(4)]
            await asyncio.sleep(0.1)
            for each in tasks:
                each.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    for _ in range(8):
        async with shop.db.scoped(tenant="b"):
            assert await papers.titles() == ["t3", "t4"]
        async with shop.db.reading() as session:
            assert list(await session.scalars(select(Paper.title))) == []


async def test_a_read_that_fails_leaves_no_value(shop: Shop) -> None:
    papers = shop.db[Papers]
    for _ in range(8):
        async with shop.db.scoped(tenant="a"):
            with pytest.raises(Exception, match="division by zero"):
                await papers.find(Paper.id / text("0") == 1)
        async with shop.db.scoped(tenant="b"):
            assert await papers.titles() == ["t3", "t4"]


async def test_without_redis_and_replicas(
    repocache_endpoints: Endpoints, repocache_controls: Servers
) -> None:
    async with open_papers(repocache_endpoints) as shop:
        await in_rotation(shop)
        papers = shop.db[Papers]
        await asyncio.to_thread(repocache_controls.redis.kill)
        for each in repocache_controls.replicas:
            await asyncio.to_thread(each.kill)
        async with shop.db.causal_session(None):
            async with shop.db.scoped(tenant="a"), shop.db.unit_of_work() as work:
                (await work[Papers].require(1)).title = "new"
                await work.commit()
            for value, titles in (("a", ["new", "t2"]), ("b", ["t3", "t4"])):
                async with shop.db.scoped(tenant=value):
                    assert await papers.titles() == titles
                    found = await papers.get_many([1, 2, 3, 4])
                    assert [each.title for each in found.values()] == titles


async def test_a_replica_that_is_behind_is_not_asked(
    repocache_endpoints: Endpoints, repocache_controls: Servers
) -> None:
    async with open_papers(repocache_endpoints) as shop:
        await in_rotation(shop)
        for each in repocache_controls.replicas:
            await asyncio.to_thread(each.pause_replay)
        async with shop.db.causal_session(None), shop.db.scoped(tenant="a"):
            async with shop.db.unit_of_work() as work:
                (await work[Papers].require(1)).title = "new"
                await work.commit()
            assert (await shop.db[Papers].require(1)).title == "new"
            assert (await shop.db[Papers].by_slug.require("s1")).title == "new"
            async with shop.db.reading() as session:
                assert "new" in list(await session.scalars(select(Paper.title)))


async def test_a_feed_names_the_value_before_the_id(shop: Shop) -> None:
    async with shop.db.invalidations(Papers) as changes:
        assert isinstance(await anext(changes), ChangedAll)
        async with shop.db.scoped(tenant="a"), shop.db.unit_of_work() as work:
            await work.session.execute(text("UPDATE papers SET title = 'new' WHERE id = 1"))
            work.changes(Papers, ids=[1])
            await work.commit()
        change = await anext(changes)
    assert isinstance(change, Changed)
    ids: tuple[object, ...] = change.ids
    assert ids == (("a", 1),)


async def test_write_through_stores_nothing_and_says_so(repocache_endpoints: Endpoints) -> None:
    async with open_papers(repocache_endpoints, repositories=[Stored]) as shop:
        told = [each for each in shop.seen.of(Degraded) if "write-through" in each.what]
        assert [each.what for each in told if "scope" in each.what]
        async with shop.db.causal_session(None), shop.db.scoped(tenant="a"):
            await shop.db[Stored].require(1)
            async with shop.db.unit_of_work() as work:
                (await work[Stored].require(1)).title = "new"
                await work.commit()
            assert (await shop.db[Stored].require(1)).title == "new"


async def test_what_is_wrong_is_found_under_its_value(
    shop: Shop, repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    """A write that nobody told: `verify` reads each row under its own value."""
    papers = shop.db[Papers]

    async def warm() -> None:
        for value in ("a", "b"):
            async with shop.db.scoped(tenant=value):
                await papers.get_many([1, 2, 3, 4])

    await warm()
    assert not (await shop.db.verify(within=0.1)).wrong
    database = repocache_endpoints.primary.rpartition("/")[2]
    untold = "UPDATE papers SET title = 'new' WHERE id = 3"
    await asyncio.to_thread(repocache_servers.primary.sql, untold, database)
    found = await shop.db.verify(within=0.1)
    assert found.wrong

    async def is_right() -> bool:
        async with shop.db.scoped(tenant="b"):
            return (await papers.require(3)).title == "new"

    await until(is_right, "the right one is read")


@pytest.mark.parametrize("mode", [CacheMode.OFF, CacheMode.SHADOW])
async def test_in_other_modes(shop: Shop, mode: CacheMode) -> None:
    shop.db.switch(Papers, mode)
    for value, own in (("a", [1, 2]), ("b", [3, 4])):
        async with shop.db.scoped(tenant=value):
            assert list(await shop.db[Papers].get_many([1, 2, 3, 4])) == own
            assert (await shop.db[Papers].by_slug.require("s1")).id == own[0]
    assert not shop.db.shadow(Papers).wrong
