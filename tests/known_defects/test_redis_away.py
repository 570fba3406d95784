"""Redis that is not there, falls silent, or talks nonsense: reads answer, commits stand, and
nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from repocache import ConfigurationError, Database
from repocache.events import CacheFailed, ChannelDown, ChannelUp, Degraded, Published, PublishFailed
from repocache.records import Namespace
from repocache.testing import Endpoints, Servers
from tests.known_defects.shops import PATIENT, heard, in_l1, names, records
from tests.shop import Shop, Users, open_shop, until
from tests.tcp_proxy import TcpProxy

NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture
async def proxy(repocache_endpoints: Endpoints) -> AsyncIterator[TcpProxy]:
    async with TcpProxy(repocache_endpoints.redis) as proxy:
        yield proxy


@pytest.fixture
async def far(proxy: TcpProxy, repocache_endpoints: Endpoints) -> AsyncIterator[Shop]:
    """A process whose way to Redis leads through the proxy."""
    async with open_shop(replace(repocache_endpoints, redis=proxy.url), PATIENT) as far:
        await until(lambda: records(far)._link.alive, "it is connected")
        yield far


async def test_without_redis_requests_do_not_fail(repocache_endpoints: Endpoints) -> None:
    """Defect 10: a Redis that was away made errors of reads."""
    async with open_shop(replace(repocache_endpoints, redis=NOWHERE), PATIENT) as shop:
        assert await names(shop, 7, 7000, 8) == ["n07", "n08"]
        assert await shop.users.get(7000) is None
        card = await shop.users.card.get(7)
        assert card is not None
        assert card.name == "n07"
        async with shop.db.causal_session():
            await shop.rename(7, "Ada")
            assert await names(shop, 7) == ["Ada"]
        assert shop.seen.of(CacheFailed), "it is told"


@pytest.mark.parametrize(
    "url", ["localhost:6379", "memcached://localhost", "redis://localhost:no", "redis://h/x", ""]
)
def test_a_wrong_address_of_redis_is_refused(url: str) -> None:
    """Defect 10: with a wrong configuration there was silently no cache at all."""
    with pytest.raises(ConfigurationError, match="redis: "):
        Database("postgresql+asyncpg://app@db/shop", redis=url, repositories=[Users])


async def test_that_there_is_no_redis_is_told(repocache_endpoints: Endpoints) -> None:
    """Defect 10: silently no cache at all."""
    async with open_shop(replace(repocache_endpoints, redis=""), PATIENT) as shop:
        assert "redis" in [event.what for event in shop.seen.of(Degraded)]
        await in_l1(shop, 7)


async def test_an_invalidation_that_redis_did_not_take_is_delivered_later(
    far: Shop, proxy: TcpProxy, other: Shop, repocache_endpoints: Endpoints
) -> None:
    """Defect C12: while Redis was away deletes silently did nothing, and other processes kept the
    old rows."""
    for each in (far, other):
        await in_l1(each, 7)
    proxy.lead_to(NOWHERE)
    await proxy.cut()
    await until(lambda: bool(far.seen.of(ChannelDown)), "the connection is lost")
    async with far.db.unit_of_work() as work:
        (await work[Users].require(7)).name = "Ada"
        bookmark = await work.commit()
    assert not bookmark.covered
    assert [event.keys for event in far.seen.of(PublishFailed)] == [1], "it is told"
    assert await names(other, 7) == ["n07"], "nobody could tell it"
    async with other.db.causal_session(bookmark):
        assert await names(other, 7) == ["Ada"], "but the bookmark"
    proxy.lead_to(repocache_endpoints.redis)
    await until(lambda: any(event.keys for event in far.seen.of(Published)), "it is delivered")
    await heard(other)
    for each in (far, other):
        assert await names(each, 7) == ["Ada"]


async def test_nothing_that_arrives_ends_the_listening(
    far: Shop, shop: Shop, repocache_servers: Servers
) -> None:
    """Defect C4: an exception that was not foreseen ended the task that listens, for good."""
    channel = Namespace(PATIENT.app).channel
    good = '{"v":1,"b":0,"i":"x","s":1,"h":""}'
    for number, nonsense in enumerate(
        ("", "{", "null", "[]", "7", '{"v":1}', good[:-2], good.replace("0", '"x"'))
    ):
        await in_l1(far, 7)
        assert await asyncio.to_thread(
            repocache_servers.redis.command, "PUBLISH", channel, nonsense
        )
        await heard(far, shop)
        await in_l1(far, 7)
        await shop.rename(7, f"Ada {number}")
        await heard(far)
        assert far.users._peek(7) is None, f"deaf after {nonsense!r}"
        assert await names(far, 7) == [f"Ada {number}"]


async def test_a_lost_connection_is_made_again_and_what_was_missed_is_forgotten(
    far: Shop, proxy: TcpProxy, shop: Shop
) -> None:
    """Defect C4: a lost connection, and what was written meanwhile."""
    for number in range(3):
        await in_l1(far, 7)
        ups = len(far.seen.of(ChannelUp))
        await proxy.cut()
        await shop.rename(7, f"Ada {number}")
        await until(lambda ups=ups: len(far.seen.of(ChannelUp)) > ups, "it listens again")  # type: ignore[misc]
        assert await names(far, 7) == [f"Ada {number}"]
        await in_l1(far, 7)
        await shop.rename(7, f"Bob {number}")
        await heard(far)
        assert await names(far, 7) == [f"Bob {number}"]


async def test_a_redis_that_falls_silent_keeps_nobody_waiting(
    far: Shop, proxy: TcpProxy, other: Shop
) -> None:
    """Defect C15: on a connection that had died silently the listener waited for ever, and old rows
    were served."""
    await in_l1(far, 7)
    proxy.freeze()
    await other.rename(7, "Ada")
    async with asyncio.timeout(20):
        assert await names(far, 8) == ["n08"], "a miss waits for no reply for long"
    await until(lambda: bool(far.seen.of(ChannelDown)), "the silence is noticed")
    async with far.db.causal_session():
        assert await names(far, 7) == ["Ada"], "L1 does not count any more"
        await far.rename(7, "Bob")
        assert await names(far, 7) == ["Bob"]
    proxy.thaw()
    await until(
        lambda: any(event.keys for event in far.seen.of(Published)),
        "what it could not tell is delivered",
    )
    await heard(other)
    assert await names(other, 7) == ["Bob"]
