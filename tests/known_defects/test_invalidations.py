"""What an invalidation reaches, however it falls between the steps of a read, and what one that is
lost costs."""

from __future__ import annotations

import asyncio
import time
from itertools import count
from typing import cast

from sqlalchemy import text

from repocache.cache.shelf import Entry
from repocache.events import GapSeen
from repocache.keys import bucket_of
from repocache.records.message import Message
from repocache.testing import Servers
from tests.known_defects.shops import heard, hold_get, hold_rows, in_l1, names, shared
from tests.shop import Shop, User, Users, until

NEIGHBOUR = next(id for id in count(8) if bucket_of(f"user:{id}") == bucket_of("user:7"))
"""Another user of the same bucket."""


def lose_next_message(shop: Shop) -> None:
    """The next message never arrives here."""
    views = shared(shop).views
    apply = views.apply

    def lose(_: Message) -> None:
        views.apply = apply  # type: ignore[method-assign]

    views.apply = lose  # type: ignore[method-assign, assignment]


async def test_an_invalidation_between_reply_and_fill_keeps_the_value_out(
    shop: Shop, other: Shop
) -> None:
    """Defect C1: an invalidation that came between the reply of GET and the fill of L1 left the old
    value there, for good."""
    await in_l1(other, 7)
    shared(other).local.discard(("user", 7))
    gate = hold_get(other)
    slow = asyncio.ensure_future(other.users.require(7))
    await gate.reached()
    await shop.rename(7, "Ada")
    await heard(other)
    gate.open()
    await slow
    await until(lambda: len(shared(other).inflight) == 0, "it has been read")
    assert other.users._peek(7) is None
    assert await names(other, 7) == ["Ada"]


async def test_an_invalidation_during_the_load_keeps_the_row_out_of_both_tiers(
    shop: Shop, other: Shop
) -> None:
    """Defect C1: the same between the database's answer and the fill, in L1 and in Redis."""
    gate = hold_rows(other)
    slow = asyncio.ensure_future(other.users.require(7))
    await gate.reached()
    await shop.rename(7, "Ada")
    gate.open()
    assert (await slow).name == "n07"
    await until(lambda: len(shared(other).inflight) == 0, "the fill was tried")
    assert other.users._peek(7) is None
    for each in (other, shop):
        assert await names(each, 7) == ["Ada"]


async def test_what_comes_from_redis_lies_in_l1_for_a_time(shop: Shop, other: Shop) -> None:
    """Defect C2: what was filled from Redis had no time to live in L1."""
    for each in (shop, other):
        await in_l1(each, 7)
        await each.users.get(7000)
        await until(lambda each=each: each.users._peek(7000) is not None, "L1 has it")  # type: ignore[misc]
        now = time.monotonic()
        for id, longest in ((7, Users.policy.local_ttl), (7000, Users.policy.negative_ttl)):
            entry: Entry = shared(each).local.shelf("user").entries[id]
            assert 0 < entry.expires - now <= longest


async def test_a_message_that_was_lost_is_missed_at_the_next(shop: Shop, other: Shop) -> None:
    """Defect C2: a message that was lost silently was never missed, and what it would have dropped
    stayed."""
    async with shop.db.unit_of_work() as work:
        work.add(User(id=NEIGHBOUR, name="neighbour", age=1))
        await work.commit()
    for each in (shop, other):
        await in_l1(each, 7, NEIGHBOUR)
    lose_next_message(other)
    await shop.rename(7, "Ada")
    await heard(other)
    assert await names(other, 7) == ["n07"], "it was lost"
    await shop.rename(NEIGHBOUR, "Bob")
    await heard(other)
    assert [event.why for event in other.seen.of(GapSeen)][-1] == "messages were lost"
    assert await names(other, 7, NEIGHBOUR) == ["Ada", "Bob"]


async def test_a_message_that_was_lost_is_no_matter_to_who_carries_the_bookmark(
    shop: Shop, other: Shop
) -> None:
    """Defect C2: what a lost message would have dropped was served to whoever had written it,
    too."""
    await in_l1(other, 7)
    lose_next_message(other)
    async with shop.db.unit_of_work() as work:
        (await work[Users].require(7)).name = "Ada"
        bookmark = await work.commit()
    await heard(other)
    assert await names(other, 7) == ["n07"], "it was lost"
    async with other.db.causal_session(bookmark):
        assert await names(other, 7) == ["Ada"]
    assert await names(other, 7) == ["Ada"], "and its loss has been noticed"


async def test_a_write_of_ones_own_swallows_no_others(shop: Shop, other: Shop) -> None:
    """Defect C3: for five seconds after a write of one's own the next invalidation of the key was
    taken for its echo, also if it was another's."""
    for _ in range(3):
        await other.rename(7, "mine")
        await in_l1(other, 7)
        await shop.rename(7, "another's")
        await heard(other)
        assert await names(other, 7) == ["another's"]
    await asyncio.gather(shop.rename(8, "one"), other.rename(8, "two"))
    await heard(shop, other)
    last = (await shop.users.on_primary().require(8)).name
    assert (await names(shop, 8), await names(other, 8)) == ([last], [last])


async def test_a_change_of_all_rows_reaches_those_that_are_being_filled(
    shop: Shop, other: Shop, repocache_servers: Servers
) -> None:
    """Defect C7: the keys of a tag were kept in a set beside them: a key that was stored before it
    was in the set, or whose set had been removed meanwhile, was never invalidated."""
    some = list(range(1, 60))
    for each in (shop, other):
        await in_l1(each, *some)
    gate = hold_rows(other)
    slow = asyncio.ensure_future(other.users.require(60))
    await gate.reached()
    async with shop.db.unit_of_work() as work:
        await work.session.execute(text("UPDATE users SET name = 'all'"))
        work.changes(Users)
        await work.commit()
    gate.open()
    await slow
    await until(lambda: len(shared(other).inflight) == 0, "the fill was tried")
    await heard(other)
    for each in (shop, other):
        assert set(await names(each, *some, 60)) == {"all"}
    keys = cast("list[str]", repocache_servers.redis.command("KEYS", "*"))
    kinds = {str(repocache_servers.redis.command("TYPE", key)) for key in keys}
    assert kinds == {"hash", "string"}, "there is no index that could differ from what it lists"
