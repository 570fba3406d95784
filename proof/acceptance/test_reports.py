"""A report runs on one connection to a replica; what happens to the others of that node is no
affair of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from repocache.events import NodeBack, NodeOut
from repocache.testing import Endpoints, Servers
from tests.shop import User, open_shop, until
from tests.tcp_proxy import TcpProxy

NOWHERE = "postgresql://127.0.0.1:1/"
LOCK = text("SELECT pg_advisory_lock(1)")
AGES = select(func.sum(User.age))
OTHERS = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND backend_type = "
    "'client backend'"
)
WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory' AND datname = "
    "current_database()"
)


@asynccontextmanager
async def locked(url: str) -> AsyncIterator[AsyncConnection]:
    """A statement that asks for the same lock takes as long as the block."""
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        await connection.execute(LOCK)
        yield connection
    await engine.dispose()


async def pid(connection: AsyncConnection) -> int:
    return int((await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one())


async def test_a_report_outlives_all_other_connections_of_its_node(
    repocache_endpoints: Endpoints, repocache_servers: Servers, database: str
) -> None:
    server = repocache_servers.replicas[0]

    async def waits() -> bool:
        return await asyncio.to_thread(server.sql, WAITING, database) == [("1",)]

    async with (
        TcpProxy(repocache_endpoints.replicas[0]) as proxy,
        open_shop(replace(repocache_endpoints, replicas=(proxy.url,))) as shop,
        shop.db.snapshot() as report,
    ):
        node = shop.db.nodes[1].name
        assert (await report.execute(text("SELECT pg_is_in_recovery()"))).scalar_one()
        ages = (await report.execute(AGES)).scalar_one()
        await asyncio.gather(*(shop.users.find(User.id == id) for id in range(1, 6)))
        async with locked(repocache_endpoints.replicas[0]) as holder:
            spared = f"({await pid(holder)}, {await pid(report)}, pg_backend_pid())"
            slow = asyncio.create_task(report.execute(LOCK))
            await until(waits, "the report's statement runs")
            proxy.lead_to(NOWHERE)
            ended = (
                f"SELECT count(pg_terminate_backend(pid)) FROM ({OTHERS} AND pid NOT IN "
                f"{spared}) others"
            )
            [(count,)] = await asyncio.to_thread(server.sql, ended, database)
            assert int(count) >= 2, "the sampler's, and some of the pool"
            await until(
                lambda: node in {event.node for event in shop.seen.of(NodeOut)}, "the node is out"
            )
            [user] = await shop.users.find(User.id == 7)
            assert user.age == 7, "others read elsewhere"
            await shop.rename(7, "new")
            assert not slow.done()
        await slow
        await asyncio.to_thread(
            server.await_position, await asyncio.to_thread(repocache_servers.primary.position)
        )
        assert (await report.execute(AGES)).scalar_one() == ages
        name = select(User.name).where(User.id == 7)
        assert (await report.execute(name)).scalar_one() == "n07", "it is still the same snapshot"
        proxy.lead_to(repocache_endpoints.replicas[0])
        await until(
            lambda: node in {event.node for event in shop.seen.of(NodeBack)}, "the node is back"
        )
        assert (await report.execute(AGES)).scalar_one() == ages
