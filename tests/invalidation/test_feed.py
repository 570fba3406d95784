"""`db.invalidations(...)`: what a service that keeps something of its own is told, on real
servers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import text, update

from repocache import Changed, ChangedAll, UsageError
from repocache.invalidation.feed import Feed
from repocache.testing import Endpoints, Servers
from tests.shop import OrderId, Orders, Shop, User, Users, open_shop


async def told(feed: Feed[Any]) -> Changed[Any] | ChangedAll:
    return await asyncio.wait_for(anext(feed), 20)


async def why(feed: Feed[Any]) -> str:
    change = await told(feed)
    assert isinstance(change, ChangedAll)
    return change.why


async def test_it_begins_with_everything_and_goes_on_with_ids(shop: Shop) -> None:
    async with shop.db.invalidations(Users) as feed:
        assert await why(feed) == "start"
        await shop.rename(7, "Ada")
        change = await told(feed)
        assert isinstance(change, Changed)
        assert change.ids == (7,)


async def test_a_read_behind_the_bookmark_sees_the_change(
    repocache_endpoints: Endpoints, repocache_controls: Servers
) -> None:
    async with (
        open_shop(repocache_endpoints) as writer,
        open_shop(repocache_endpoints) as reader,
        reader.db.invalidations(Users) as feed,
    ):
        assert await why(feed) == "start"
        for replica in repocache_controls.replicas:
            await asyncio.to_thread(replica.pause_replay)
        await writer.rename(7, "Ada")
        change = await told(feed)
        assert isinstance(change, Changed)
        async with reader.db.causal_session(change.bookmark):
            assert (await reader.users.require(7)).name == "Ada"
            assert [user.name for user in await reader.users.find(User.id == 7)] == ["Ada"]


async def test_only_the_owner_that_was_asked_for(shop: Shop) -> None:
    async with shop.db.invalidations(Orders) as feed:
        assert await why(feed) == "start"
        await shop.rename(7, "Ada")
        async with shop.db.unit_of_work() as work:
            (await work[Orders].require(OrderId(1, 2))).total = 5
            await work.commit()
        change = await told(feed)
        assert isinstance(change, Changed)
        assert change.ids == (OrderId(1, 2),)
        assert type(change.ids[0]) is OrderId


async def test_a_whole_owner_is_told_once_and_not_for_each_bucket(shop: Shop) -> None:
    async with shop.db.invalidations(Users) as feed:
        assert await why(feed) == "start"
        async with shop.db.unit_of_work() as work:
            await work.session.execute(text("UPDATE users SET age = age + 1"))
            work.changes(Users)
            await work.commit()
        assert await why(feed) == "owner"
        assert not feed._waiting


async def test_a_lost_connection_is_told(
    repocache_endpoints: Endpoints, repocache_controls: Servers
) -> None:
    async with open_shop(repocache_endpoints) as shop, shop.db.invalidations(Users) as feed:
        assert await why(feed) == "start"
        await asyncio.to_thread(repocache_controls.redis.restart)
        assert await why(feed) == "connected"
        await shop.rename(7, "Ada")
        change = await told(feed)
        assert isinstance(change, Changed)
        assert change.ids == (7,)


async def test_a_slow_reader_is_told_to_rebuild(shop: Shop) -> None:
    async with shop.db.invalidations(Users) as feed:
        assert await why(feed) == "start"
        feed._room = 3
        for number in range(1, 6):
            await shop.rename(number, "Ada")
        assert await why(feed) == "overflow"


async def test_what_is_no_message_is_a_gap(shop: Shop, repocache_servers: Servers) -> None:
    async with shop.db.invalidations(Users) as feed:
        assert await why(feed) == "start"
        await shop.users.require(7)
        channel = shop.db._started.cache.shared.namespace.channel
        await asyncio.to_thread(repocache_servers.redis.command, "PUBLISH", channel, "no message")
        assert await why(feed) == "gap"


async def test_a_rebuild_behind_the_bookmark_sees_what_was_missed(
    repocache_endpoints: Endpoints, repocache_controls: Servers
) -> None:
    async with open_shop(repocache_endpoints) as writer, open_shop(repocache_endpoints) as reader:
        for replica in repocache_controls.replicas:
            await asyncio.to_thread(replica.pause_replay)
        await writer.rename(7, "Ada")
        async with reader.db.invalidations(Users) as feed:
            change = await told(feed)
        assert isinstance(change, ChangedAll)
        assert [user.name for user in await reader.users.find(User.id == 7)] == ["n07"]
        assert not change.bookmark.takes_cached
        async with reader.db.causal_session(change.bookmark):
            assert [user.name for user in await reader.users.find(User.id == 7)] == ["Ada"]
        async with reader.db.causal_session(change.bookmark.encode()):
            assert [user.name for user in await reader.users.find(User.id == 7)] == ["Ada"]


async def test_it_ends_with_the_database(repocache_endpoints: Endpoints) -> None:
    async with open_shop(repocache_endpoints) as shop:
        feed = shop.db.invalidations(Users)
        await feed.__aenter__()
        assert await why(feed) == "start"
        waiting = asyncio.ensure_future(anext(feed))
        await asyncio.sleep(0)
    with pytest.raises(StopAsyncIteration):
        await waiting
    await feed.__aexit__(None, None, None)


async def test_it_is_used_in_a_block_and_once(shop: Shop) -> None:
    feed = shop.db.invalidations(Users)
    with pytest.raises(UsageError, match="use the feed in a block: `async with"):
        await anext(feed)
    async with feed:
        with pytest.raises(UsageError, match="was entered before"):
            await feed.__aenter__()
    with pytest.raises(UsageError, match="was entered before"):
        await feed.__aenter__()
    assert [change async for change in feed] == []


async def test_a_feed_that_was_left_hears_nothing(shop: Shop) -> None:
    async with shop.db.invalidations(Users) as feed:
        assert await why(feed) == "start"
    async with shop.db.unit_of_work() as work:
        await work.session.execute(update(User).where(User.id == 7).values(name="Ada"))
        await work.commit()
    assert [change async for change in feed] == []
