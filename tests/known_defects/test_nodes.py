"""Nodes that die, and nodes of different strength."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from repocache import Database, DatabaseUnavailable, Replica
from repocache.events import NodeBack, NodeOut, Routed
from repocache.testing import Endpoints
from tests.known_defects.shops import PATIENT, in_l1, names
from tests.shop import Seen, Shop, User, Users, open_shop, until
from tests.tcp_proxy import TcpProxy

NOWHERE = "postgresql+asyncpg://app@127.0.0.1:1/nothing"


async def lose(proxy: TcpProxy) -> None:
    """The server is gone: connections end, and no new one is made."""
    proxy.lead_to(NOWHERE)
    await proxy.cut()


async def answers(shop: Shop) -> set[str]:
    """The nodes that answer many reads, none of which fails."""
    told = len(shop.seen.of(Routed))
    for _ in range(10):
        assert [user.name for user in await shop.users.find(User.id == 7)] == ["n07"]
    lists = await asyncio.gather(*(shop.users.find(User.id == id) for id in range(1, 11)))
    assert [user.id for users in lists for user in users] == list(range(1, 11))
    return {event.node for event in shop.seen.of(Routed)[told:]}


async def test_dead_replicas_fail_no_read(repocache_endpoints: Endpoints) -> None:
    """Defect 20: with one of two replicas dead every second read failed: it was not taken out, and
    nobody stood in."""
    urls = repocache_endpoints.replicas
    async with (
        TcpProxy(urls[0]) as one,
        TcpProxy(urls[1]) as two,
        open_shop(replace(repocache_endpoints, replicas=(one.url, two.url)), PATIENT) as shop,
    ):
        first, second = (node.name for node in shop.db.nodes[1:])
        assert await answers(shop) == {first, second}
        await lose(one)
        await answers(shop)
        await until(lambda: [event.node for event in shop.seen.of(NodeOut)] == [first], "it is out")
        assert await answers(shop) == {second}
        await lose(two)
        await answers(shop)
        await until(lambda: len(shop.seen.of(NodeOut)) == 2, "both are out")
        assert await answers(shop) == {"primary"}
        assert await names(shop, 1, 2, 3) == ["n01", "n02", "n03"]
        one.lead_to(urls[0])
        await until(lambda: first in [event.node for event in shop.seen.of(NodeBack)], "it is back")

        async def answering() -> bool:
            return await answers(shop) == {first}

        await until(answering, "it answers again, alone")


async def test_without_the_primary_reads_are_answered(repocache_endpoints: Endpoints) -> None:
    """Defect 20: "continue serving reads even if primary is under maintenance" was promised and not
    kept."""
    async with (
        TcpProxy(repocache_endpoints.primary) as proxy,
        open_shop(replace(repocache_endpoints, primary=proxy.url), PATIENT) as shop,
    ):
        await in_l1(shop, 7)
        await lose(proxy)
        assert "primary" not in await answers(shop)
        assert await names(shop, 7, 8, 7000) == ["n07", "n08"]
        with pytest.raises((DatabaseUnavailable, OSError)):
            await shop.rename(7, "Ada")
        proxy.lead_to(repocache_endpoints.primary)
        await shop.rename(7, "Ada")
        assert await names(shop, 7) == ["Ada"]


async def test_weights_are_heeded(repocache_endpoints: Endpoints) -> None:
    """Defect 21: weights were documented and never read: 9 to 1 was 1 to 1."""
    strong, weak = repocache_endpoints.replicas
    seen = Seen()
    async with Database(
        repocache_endpoints.primary,
        replicas=[
            Replica(strong, weight=9.0, name="strong"),
            Replica(weak, weight=1.0, name="weak"),
        ],
        redis=repocache_endpoints.redis,
        repositories=[Users],
        settings=replace(PATIENT, observe=seen),
    ) as db:
        for _ in range(200):
            await db[Users].exists()
        nodes = Counter(event.node for event in seen.of(Routed) if event.node != "primary")
    assert nodes["strong"] > 150, "180 are to be expected, and of equals 100"
    assert nodes["weak"] > 0
