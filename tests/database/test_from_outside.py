"""What comes from outside and is no bookmark, no message or no record of ours: refused, and nothing
raises."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from repocache import Changed, ChangedAll
from repocache.bookmark import Bookmark, Refused, Seen, decode
from repocache.events import BookmarkRefused, CacheFailed, GapSeen
from repocache.keys import bucket_of
from repocache.records import Namespace
from repocache.records.message import WIRE_VERSION
from repocache.testing import Servers
from tests.shop import Shop, Users, until

NAMES = Namespace("app")


async def test_a_bookmark_may_come_as_bytes(shop: Shop) -> None:
    async with shop.db.causal_session() as first:
        await shop.rename(7, "Ada")
    async with shop.db.causal_session(first.encode().encode()) as second:
        assert second.bookmark.wrote == first.bookmark.wrote
        assert second.bookmark.position == first.bookmark.position
        assert (await shop.users.require(7)).name == "Ada"
    assert not shop.seen.of(BookmarkRefused)


@pytest.mark.parametrize(
    "given",
    [
        b"\xff\xfe",
        b"abc",
        b"a" * 5000,
        "\ud800",
        7,
        1.5,
        True,
        [],
        {},
        object(),
        bytearray(b"abc"),
        10**5000,
        Bookmark("h", 2**64, {}, True, 4e9),
        Bookmark("", 0, {1: Seen("i", 2**70)}, True, 4e9),
        Bookmark(7, "x", [], None, "soon"),  # type: ignore[arg-type]
    ],
    ids=lambda given: f"{type(given).__name__}",
)
async def test_whatever_a_session_is_given_it_begins(given: Any, shop: Shop) -> None:
    async with shop.db.causal_session(given) as session:
        assert (await shop.users.require(7)).name == "n07"
        assert isinstance(decode(session.encode(), None), Bookmark)
        await shop.rename(7, "Ada")
        assert (await shop.users.require(7)).name == "Ada"
    assert len(shop.seen.of(BookmarkRefused)) == 1


@pytest.mark.parametrize("empty", [None, "", b""])
async def test_nothing_is_no_bookmark_and_nothing_to_refuse(empty: Any, shop: Shop) -> None:
    async with shop.db.causal_session(empty):
        assert (await shop.users.require(7)).name == "n07"
    assert not shop.seen.of(BookmarkRefused)


def sent(**fields: object) -> str:
    bucket = bucket_of("user:7")
    return json.dumps(
        {"v": WIRE_VERSION, "b": bucket, "i": "i", "s": 1, "h": "h", "k": ["user:7"]} | fields
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"s": 2**64},
        {"s": 2**63},
        {"s": -1},
        {"b": 2**64},
        {"f": "f" * 16},
        {"f": "1" + "0" * 16},
        {"f": "-1"},
    ],
    ids=str,
)
async def test_a_message_beyond_all_bounds_is_none(
    fields: dict[str, object], shop: Shop, repocache_servers: Servers
) -> None:
    """It is a message that was not understood: anything may have been missed."""
    async with shop.db.invalidations(Users) as changes:
        assert isinstance(await anext(changes), ChangedAll)
        await asyncio.to_thread(
            repocache_servers.redis.command, "PUBLISH", NAMES.channel, sent(**fields)
        )
        change = await anext(changes)
        assert change == ChangedAll("gap", change.bookmark)
        assert not isinstance(decode(change.bookmark.encode(), None), Refused)
    assert [event.what for event in shop.seen.of(CacheFailed)] == ["message"]


async def test_the_bookmark_of_any_message_that_is_taken_can_be_sent_on(
    shop: Shop, repocache_servers: Servers
) -> None:
    async with shop.db.invalidations(Users) as changes:
        assert isinstance(await anext(changes), ChangedAll)
        furthest = sent(s=2**63 - 1, f="7" + "f" * 15, h=shop.db._topology.history)
        await asyncio.to_thread(repocache_servers.redis.command, "PUBLISH", NAMES.channel, furthest)
        change = await anext(changes)
        assert isinstance(change, Changed)
        assert decode(change.bookmark.encode(), None) == change.bookmark


@pytest.mark.parametrize("seq", ["18446744073709551616", "-7"])
async def test_a_record_beyond_all_bounds_makes_no_bookmark(
    seq: str, shop: Shop, repocache_servers: Servers
) -> None:
    """The read goes on without it, and the commit's bookmark can be sent."""
    assert await shop.users.get(7) is not None
    record = NAMES.record(bucket_of("user:7"))
    assert await asyncio.to_thread(repocache_servers.redis.command, "EXISTS", record) == 1
    await asyncio.to_thread(repocache_servers.redis.command, "HSET", record, "s", seq)
    async with shop.db.causal_session() as session:
        await shop.rename(7, "Ada")
        assert (await shop.users.require(7)).name == "Ada"
        assert isinstance(decode(session.encode(), None), Bookmark)
    await until(lambda: bool(shop.seen.of(GapSeen)), "it is told that the record was made anew")
