"""Against the number of keys: rows in the table, values in Redis, entries in L1.

A point has them all, and is measured when it is full; so its rounds are by themselves, and the
peer's beside them. A miss reads one of so many rows by keys that no cache has any more.
"""

from __future__ import annotations

import asyncio
import datetime
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from importlib import import_module

from benchmarks._growth.contest import Axis, Contest, Extent, Study, study_of
from benchmarks._growth.ground import Ground
from benchmarks._growth.paths import (
    GET,
    HIT,
    MISS,
    SESSION,
    fill_redis,
    our_hits,
    our_misses,
    put,
    redis_get,
    session_get,
    with_fills,
)
from benchmarks._growth.place import ColdUsers, users
from benchmarks._harness import (
    Call,
    Load,
    Measure,
    Open,
    Table,
    in_a_row,
    opened,
    take_turns,
    under,
)
from benchmarks._memories import card
from benchmarks._shop import Row, Users
from repocache import Database, OutboxMode, Settings
from repocache.events import ignore
from repocache.testing import Endpoints

CALLERS = 16
AT_ONCE = 5_000
DRAWN = 100_000
BYTES_A_KEY = 4_096
L1, TTLCACHE = "L1 hit", "cachetools TTLCache"
CREATED = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)


def row(id: int) -> Row:
    """As the table has it, for the peer's client."""
    texts = f"Ada Lovelace {id}", f"ada{id}@example.org", "she writes " * 12
    name, email, about = texts
    return Row(id, name, email, id % 90, id % 2 == 0, id / 7, "GB", "London", CREATED, 0, about)


@asynccontextmanager
async def in_l1(ends: Endpoints, count: int) -> AsyncIterator[Database]:
    """With every row in this process, and a view of each."""
    settings = Settings(
        outbox=OutboxMode.OFF,
        observe=ignore,
        local_entries=2 * count,
        local_bytes=max(1 << 26, BYTES_A_KEY * count),
    )
    async with Database(
        primary=ends.primary,
        replicas=ends.replicas,
        redis=ends.redis,
        repositories=[Users],
        settings=settings,
    ) as db:
        repository = db[Users]
        for first in range(0, count, AT_ONCE):
            some = range(first, min(first + AT_ONCE, count))
            while not all(repository._peek(id) for id in some):
                await repository.card.get_many(some)
                await asyncio.sleep(0.01)  # an answer comes before its row is in L1
        yield db


@asynccontextmanager
async def our_l1(ends: Endpoints, count: int) -> AsyncIterator[Call]:
    async with in_l1(ends, count) as db:
        yield db[Users].card.get


@asynccontextmanager
async def ttl_cache(count: int) -> AsyncIterator[Call]:
    cache = import_module("cachetools").TTLCache(2 * count, 7_200)
    cache.update((number, card(number)) for number in range(count))

    async def get(number: int) -> object:
        return cache[number]

    yield get


def drawn(count: int, seconds: float) -> Measure:
    """One caller, over all keys at random."""
    draw = random.Random(count)
    return in_a_row(draw.choices(range(count), k=min(DRAWN, 10 * count)), seconds)


def local(ready: dict[str, Open], extent: Extent) -> Contest:
    return Contest(
        L1,
        TTLCACHE,
        lambda _: ready[L1],
        lambda _: ready[TTLCACHE],
        lambda at: drawn(at, extent.closed),
    )


def remote(ends: Endpoints, extent: Extent) -> list[Contest]:
    return [
        Contest(
            HIT,
            GET,
            lambda at: partial(our_hits, ends, users(at)),
            lambda at: partial(redis_get, ends, users(at), Row),
            lambda at: under(Load(CALLERS, at), extent.closed),
        ),
        Contest(
            MISS,
            SESSION,
            lambda at: partial(our_misses, ends, users(at, ColdUsers)),
            lambda at: partial(session_get, ends, users(at, ColdUsers)),
            lambda at: with_fills(Load(CALLERS, at, once=True), extent.closed),
        ),
    ]


async def study(ground: Ground, points: Sequence[int], extent: Extent) -> Study:
    ends, contests = ground.ends, remote(ground.ends, extent)
    found, there = Table(""), 0
    await ground.make_tables()
    for at in points:
        await ground.add_users(there, at - 1)
        await fill_redis(ends, users(at))
        await put(ends, range(at), users(at), row)
        entrants: dict[str, Open] = {
            L1: partial(our_l1, ends, at),
            TTLCACHE: partial(ttl_cache, at),
        }
        async with opened(entrants) as ready:
            near = await take_turns("", local(ready, extent).trials(at), extent.rounds)
        far = await take_turns(
            "",
            {name: each for one in contests for name, each in one.trials(at).items()},
            extent.rounds,
        )
        for table in (near, far):
            found.rounds |= table.rounds
            found.failed |= table.failed
        there = at
    return study_of([local({}, extent), *contests], points, found)


KEYS = Axis("keys", "keys", (1_000, 10_000, 100_000, 1_000_000), (1_000,), study)
