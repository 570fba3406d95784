"""How long a bookmark counts: as long as anything old may still be met, whoever's clock and
settings made it."""

from __future__ import annotations

import asyncio
import contextvars
import time
from dataclasses import replace
from unittest.mock import patch

from proof.protocol.guard import guards
from proof.protocol.items import Item
from proof.protocol.process import Process, until
from proof.protocol.world import STILL, World, behind, clock_ahead
from repocache.bookmark import Bookmark
from repocache.cache.entry import CacheSettings
from repocache.cache.policies import CacheAside
from repocache.engines.topology_settings import TopologySettings
from repocache.keys import KeyOwner
from repocache.redis_link import Limits, LinkSettings
from repocache.repository.repository import Repository
from repocache.settings import Settings
from repocache.transactions.unit_of_work import NOT_PUBLISHED

HOUR = 3600.0
LINK = LinkSettings(limits=Limits(reply_timeout=0.15, pulse=0.15))
"""A connection that is silent is known to be lost before the shortest of the windows is over."""
SECRETS = ("one secret for all processes",)
LONG = replace(STILL, window=HOUR)
QUICK = Settings(
    topology=TopologySettings(sample_every=0.05, max_lag=0.2, probe_timeout=0.2, catch_up_wait=0.0),
    cache=CacheSettings(lease=0.1),
    publish_timeout=10.0,
    window=0.5,
    link=LINK,
)
"""A bookmark of it ends soon."""


class BriefItems(Repository[Item, int]):
    owner = KeyOwner("item")
    policy = CacheAside(ttl=0.3, local_ttl=0.0, jitter=0.0)


class ShortItems(Repository[Item, int]):
    owner = KeyOwner("item")
    policy = CacheAside(ttl=1.5, local_ttl=0.0, jitter=0.0)


@guards("long lives")
async def test_a_bookmark_that_lives_longer_than_its_reader_would_let_it_is_taken(
    world: World,
) -> list[str]:
    """1. A process with a window of an hour commits; 2. its session reads at b, whose window is two
    minutes."""
    writer = await world.process("writer", settings=LONG)
    await world.settle()
    await world.stop_replay()
    bookmark = await writer.write(2)
    return behind(await world.b.find_behind(bookmark.encode()), 2)


@guards("long lives")
async def test_a_signature_does_not_grow_old(world: World) -> list[str]:
    """1. A process with a window of an hour signed a bookmark a quarter of an hour ago; 2. its
    session reads at another one, whose window is two minutes."""
    writer = await world.process("writer", settings=replace(LONG, secrets=SECRETS))
    reader = await world.process("reader", settings=replace(STILL, secrets=SECRETS))
    await world.settle()
    await world.stop_replay()
    now = time.time
    async with writer.db.causal_session() as session:
        await writer.write(2)
        with patch("time.time", lambda: now() - HOUR / 4):
            signed = session.encode()
    return behind(await reader.find_behind(signed), 2)


@guards("long lives")
async def test_a_bookmark_without_an_end_is_taken(world: World) -> list[str]:
    """1. A process is ended between COMMIT and its publication: all that it says is that no cache
    may be believed;
    2. the session reads at b, which has cached the row."""
    await world.settle()
    await cached(world.b)
    world.a.stop_publishing()
    await world.a.write(2)
    return behind(await world.b.get_behind(NOT_PUBLISHED.encode()), 2)


@guards("reader's life")
async def test_a_bookmark_counts_for_as_long_as_its_readers_values_live(world: World) -> list[str]:
    """1. b has cached the row, for minutes; 2. a process whose values live for less than a second
    commits, and cannot publish; 3. the life ends that it gave its bookmark; 4. its session reads at
    b."""
    brief = await world.process("brief", settings=QUICK, repositories=[BriefItems])
    await world.settle()
    await cached(world.b)
    brief.stop_publishing()
    bookmark = await brief.write(2)
    assert not bookmark.covered
    await ended(bookmark)
    return behind(await world.b.get_behind(bookmark.encode()), 2)


@guards("primary's clock")
async def test_a_bookmark_is_alive_for_a_process_whose_clock_is_ahead(world: World) -> list[str]:
    """1. A commit is not published; 2. its session reads at a process whose clock is an hour
    ahead."""
    return await in_another_time(world, ahead=HOUR)


@guards("primary's clock")
async def test_a_bookmark_is_alive_that_a_process_made_whose_clock_is_behind(
    world: World,
) -> list[str]:
    """1. A process whose clock is an hour behind commits, and cannot publish; 2. its session reads
    at b."""
    with clock_ahead(-HOUR):
        writer = await world.process("writer", ahead=-HOUR)
    await world.settle()
    await cached(world.b)
    writer.stop_publishing()
    with clock_ahead(-HOUR):
        bookmark = await writer.write(2)
    return behind(await world.b.get_behind(bookmark.encode()), 2)


@guards("positions stay")
async def test_a_position_counts_when_the_bookmarks_time_is_over(world: World) -> list[str]:
    """The bookmark does not say when it was made: the release before did not.

    1. A process with a short window commits; 2. its session begins at b, whose replica may be
    further behind than that window, and is; 3. the bookmark's time ends; 4. the session reads, and
    one of the bookmark's text does.
    """
    writer = await world.process("writer", settings=QUICK)
    await world.settle()
    await world.stop_replay()
    own = await writer.write(2)
    told = Bookmark(
        history=own.history,
        position=own.position,
        wrote=own.wrote,
        covered=own.covered,
        expires=own.expires,
    )
    async with world.b.db.causal_session(told):
        await ended(told)
        found = behind(await world.b.find(), 2)
    return found + behind(await world.b.find_behind(told.encode()), 2)


@guards("last fill")
async def test_a_bookmark_outlives_the_last_value_that_does_not_know_its_write(
    world: World,
) -> list[str]:
    """1. A reader has a lease and the old row; 2. a commit that cannot be published; 3. all values
    end that were in the cache then; 4. the reader fills; 5. the commit's session reads."""
    settings = Settings(
        topology=TopologySettings(sample_every=0.1, max_lag=0.4, probe_timeout=0.5),
        cache=CacheSettings(lease=60.0),
        publish_timeout=10.0,
        window=1.1,
        link=LINK,
    )
    writer, reader = [
        await world.process(name, settings=settings, repositories=[ShortItems])
        for name in ("writer", "reader")
    ]
    await world.settle()
    gate = reader.hold_rows()
    slow = world.start(reader.get())
    await gate.reached()
    writer.stop_publishing()
    bookmark = await writer.write(2)
    assert not bookmark.covered
    gone = time.monotonic() + ShortItems.policy.ttl + ShortItems.policy.local_ttl + 0.01
    await until(lambda: time.monotonic() > gone, "all values have ended that were in the cache")
    gate.open()
    assert await slow == 1
    await reader.idle()
    return behind(await reader.get_behind(bookmark.encode()), 2)


@guards("asked")
async def test_a_load_asks_for_what_its_bookmark_said_when_it_was_joined(world: World) -> list[str]:
    """The primary has been restarted since: only the bookmarks' time says that they count.

    1. A session reads, and its bookmark has still a moment to live; 2. one with a bookmark of the
    same position, that lives for longer, joins its load; 3. the first bookmark ends; 4. the load
    asks a node.
    """
    await world.settle()
    await world.stop_replay()
    world.a.stop_publishing()
    own = await world.a.write(2)
    cluster, timeline, process = own.history.split(".")
    before = f"{cluster}.{timeline}.{'0' * len(process)}"
    now = time.time()
    gate = world.b.hold_load()
    short, long = [
        Bookmark(history=before, position=own.position, wrote={}, covered=False, expires=now + life)
        for life in (1.0, 60.0)
    ]
    inside = [await context_of(world.b, bookmark) for bookmark in (short, long)]
    loop = asyncio.get_running_loop()
    first, second = [loop.create_task(world.b.get(), context=each) for each in inside]
    await gate.reached()
    await ended(short)
    gate.open()
    await first
    return behind(await second, 2)


async def context_of(process: Process, bookmark: Bookmark) -> contextvars.Context:
    """Inside the bookmark's session."""
    async with process.db.causal_session(bookmark):
        return contextvars.copy_context()


async def cached(process: Process) -> None:
    await process.get()
    await process.idle()


async def ended(bookmark: Bookmark) -> None:
    await until(lambda: time.time() > bookmark.expires, "the bookmark's time is over")


async def in_another_time(world: World, ahead: float) -> list[str]:
    """What the session of a commit that is not published reads at a process whose clock is
    ahead."""
    other = await world.process("other", ahead=ahead)
    await world.settle()
    with clock_ahead(ahead):
        await cached(other)
    world.a.stop_publishing()
    bookmark = await world.a.write(2)
    with clock_ahead(ahead):
        async with other.db.causal_session(bookmark.encode()):
            return behind(await other.get(), 2)
