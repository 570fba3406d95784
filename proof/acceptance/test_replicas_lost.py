"""Every replica is lost: the primary stands in for so many reads at once, and stays alive for the
writes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from repocache import PrimaryBudgetExceeded, Settings, TopologySettings
from repocache.events import NodeBack, NodeOut
from repocache.testing import Endpoints, Servers
from tests.shop import Order, Orders, Shop, User, open_shop, until

READS = 4
NARROW = TopologySettings(
    sample_every=0.05, connect_timeout=1.0, primary_reads=READS, primary_wait=0.2
)
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = 'app'"


@asynccontextmanager
async def locked_users(url: str) -> AsyncIterator[None]:
    """Nobody may read the users: reads on the primary take as long as the block."""
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.execute(text("LOCK users IN ACCESS EXCLUSIVE MODE"))
        yield
    await engine.dispose()


async def outcome(shop: Shop, id: int) -> int | str:
    try:
        [user] = await shop.users.find(User.id == id)
    except PrimaryBudgetExceeded as error:
        return "refused" if f"already stands in for {READS} reads" in str(error) else str(error)
    return user.age


async def test_all_replicas_lost(
    repocache_endpoints: Endpoints, repocache_controls: Servers, database: str
) -> None:
    async with open_shop(repocache_endpoints, Settings(topology=NARROW)) as shop:
        for replica in repocache_controls.replicas:
            await asyncio.to_thread(replica.kill)
        await until(
            lambda: len({event.node for event in shop.seen.of(NodeOut)}) == 2, "both are out"
        )
        ids = [1 + number % 60 for number in range(200)]
        async with locked_users(repocache_endpoints.primary):
            reading = [asyncio.create_task(outcome(shop, id)) for id in ids]
            await until(
                lambda: sum(read.done() for read in reading) == 200 - READS,
                "all but so many are refused",
            )
            assert {read.result() for read in reading if read.done()} == {"refused"}
            waiting = await asyncio.to_thread(repocache_controls.primary.sql, WAITING, database)
            assert waiting == [(str(READS),)], "no more than these have reached the primary"
            async with shop.db.unit_of_work() as work:
                work.add(Order(tenant=7, number=7, total=7))
                assert (await work.commit()).covered
            async with shop.db.unit_of_work() as work:
                assert (await work[Orders].find(Order.tenant == 7))[0].total == 7
        outcomes = await asyncio.gather(*reading)
        served = [(got, id) for got, id in zip(outcomes, ids, strict=True) if got != "refused"]
        assert len(served) == READS
        assert all(got == id for got, id in served)
        assert [await outcome(shop, id) for id in ids[:READS]] == ids[:READS], (
            "one after the other they are served"
        )
        users = await asyncio.gather(*(shop.users.get(id) for id in ids))
        assert [user and user.age for user in users] == ids, (
            "and through the cache all at once: it is one statement"
        )
        for replica in repocache_controls.replicas:
            await asyncio.to_thread(replica.start)
        await until(
            lambda: len({event.node for event in shop.seen.of(NodeBack)}) == 2, "both are back"
        )
        assert await asyncio.gather(*(outcome(shop, id) for id in ids)) == ids
