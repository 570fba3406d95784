"""Every pattern as a reader and a writer of one column of a user."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from benchmarks._shop import User, plain_engine
from repocache import (
    AlwaysConsistent,
    CacheAside,
    CachedQueries,
    Database,
    Flush,
    Freshness,
    KeyOwner,
    Reader,
    ReadThrough,
    Repository,
    Settings,
    Uncached,
    WriteAround,
    WriteBehind,
    WriteThrough,
)
from repocache.cache.policies import Policy
from repocache.events import Event, Served
from repocache.testing import Endpoints

TTL = 60.0
BRIEF = 0.5
"""Seconds, of what is renewed: longer than the run none would be."""
PLAIN, BEHIND = "no cache: SQLAlchemy on the primary", "WriteBehind"
COMPUTED, QUERY = "ReadThrough (computed)", "CachedQueries (a select)"

Read = Callable[[int], Awaitable[int]]
"""The column of a row."""
Write = Callable[[int, int], Awaitable[object]]
"""Sets the column of a row to a number that is one higher than before."""


@dataclass(slots=True)
class Side:
    """What a process opens. `engine`: whose COMMITs are the writes, None: a write is done when it
    is accepted. `loads`: rows that the database was asked for."""

    read: Read
    write: Write
    engine: AsyncEngine | None
    loads: int = 0

    def observe(self, event: Event) -> None:
        if isinstance(event, Served) and event.tier == "database":
            self.loads += event.count


Opening = Callable[[Endpoints], AbstractAsyncContextManager[Side]]


class Users(Repository[User, int]):
    """Of the pattern that has the policy."""

    owner = KeyOwner("user")


class Lists(Users):
    """Its selects are cached."""

    policy = CacheAside(ttl=TTL, local_ttl=TTL)
    queries = CachedQueries(ttl=TTL, local_ttl=TTL)


class Visits(ReadThrough[int, int]):
    """The column as a value of its own."""

    owner = KeyOwner("visits")
    policy = CacheAside(ttl=TTL, local_ttl=TTL)

    async def load(self, keys: Sequence[int], reader: Reader) -> Mapping[int, int]:
        found: dict[int, int] = {}
        for key in keys:
            for (visits,) in await reader.execute(select(User.visits).where(User.id == key)):
                found[key] = visits
        return found


class Pending(WriteBehind[User, int]):
    """Written in batches."""

    owner = KeyOwner("pending")
    flush = Flush(every=0.2, most=5_000)


async def nothing(_: int) -> int:
    raise AssertionError("this side does not read")


async def no_write(_id: int, _number: int) -> None:
    raise AssertionError("this side does not write")


@asynccontextmanager
async def plain(ends: Endpoints) -> AsyncIterator[Side]:
    async with plain_engine(ends) as engine:
        sessions = async_sessionmaker(engine, expire_on_commit=False)

        async def read(id: int) -> int:
            async with sessions() as session:
                side.loads += 1
                return (await session.get_one(User, id)).visits

        async def write(id: int, number: int) -> None:
            async with sessions() as session:
                await changed(session, id, number)
                await session.commit()

        side = Side(read, write, engine)
        yield side


async def changed(session: AsyncSession, id: int, number: int) -> None:
    await session.execute(update(User).where(User.id == id).values(visits=number))


@asynccontextmanager
async def through(ends: Endpoints, repositories: Sequence[Any]) -> AsyncIterator[tuple[Side, Any]]:
    """A side that writes in units of work; it is to be given what it reads by."""
    side = Side(nothing, no_write, None)
    async with Database(
        primary=ends.primary,
        replicas=ends.replicas,
        redis=ends.redis,
        repositories=repositories,
        settings=Settings(observe=side.observe),
    ) as db:

        async def write(id: int, number: int) -> None:
            async with db.unit_of_work() as work:
                await changed(work.session, id, number)
                await work.commit()

        side.write, side.engine = write, db.engine
        yield side, db


@asynccontextmanager
async def under(policy: Policy, ends: Endpoints) -> AsyncIterator[Side]:
    class Own(Users):
        pass

    Own.policy = policy
    async with through(ends, [Own]) as (side, db):
        users = db[Own]

        async def read(id: int) -> int:
            return int((await users.require(id)).visits)

        side.read = read
        yield side


@asynccontextmanager
async def computed(ends: Endpoints) -> AsyncIterator[Side]:
    async with through(ends, [Users, Visits]) as (side, db):
        side.read = db[Visits].require
        yield side


@asynccontextmanager
async def query(ends: Endpoints) -> AsyncIterator[Side]:
    async with through(ends, [Lists]) as (side, db):
        users = db[Lists]

        async def read(id: int) -> int:
            [(visits,)] = await users.rows(select(User.visits).where(User.id == id))
            return int(visits)

        side.read = read
        yield side


@asynccontextmanager
async def behind(ends: Endpoints) -> AsyncIterator[Side]:
    async with through(ends, [Users, Pending]) as (side, db):
        pending = db[Pending]

        async def read(id: int) -> int:
            side.loads += 1
            return int((await pending.require(id)).visits)

        async def write(id: int, _: int) -> None:
            await pending.add(id, visits=1)

        side.read, side.write, side.engine = read, write, None
        yield side
        await pending.flushed()


PATTERNS: Mapping[str, Opening] = {
    PLAIN: plain,
    "Uncached": partial(under, Uncached()),
    "AlwaysConsistent": partial(under, AlwaysConsistent()),
    "CacheAside": partial(under, CacheAside(ttl=TTL, local_ttl=TTL)),
    f"CacheAside, ttl {BRIEF:g} s, stale-while-revalidate": partial(
        under,
        CacheAside(
            ttl=BRIEF, local_ttl=BRIEF, freshness=Freshness(stale_while_revalidate=10 * BRIEF)
        ),
    ),
    "WriteThrough": partial(under, WriteThrough(ttl=TTL, local_ttl=TTL)),
    "WriteThrough(strict=True)": partial(under, WriteThrough(ttl=TTL, strict=True)),
    "WriteAround": partial(under, WriteAround(ttl=TTL, local_ttl=TTL)),
    BEHIND: behind,
    COMPUTED: computed,
    QUERY: query,
}
