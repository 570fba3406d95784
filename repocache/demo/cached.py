"""repocache as a service uses it, and how the demo learns which tier and node answered each
read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self
from weakref import WeakKeyDictionary

from sqlalchemy import Engine, event

from repocache.cache.policies import CacheAside
from repocache.database import Database
from repocache.demo.airports import Airport, raise_version
from repocache.demo.contestant import OWNER, POOL, TTL, Bearer, DemoAnswer, Place, Tell, Written
from repocache.demo.records import ALL, Applied, Dropped, Rotation, ToldChannel
from repocache.engines.topology_settings import Replica, TopologySettings
from repocache.events import (
    CacheFailed,
    ChannelDown,
    ChannelUp,
    Event,
    GapSeen,
    Invalidated,
    NodeBack,
    NodeOut,
    Served,
)
from repocache.keys import KeyOwner
from repocache.repository.repository import Repository
from repocache.settings import Settings

LANDING = 20_000_000
"""Nanoseconds after the database's answer within which a read of the row may still have joined that
load."""


class Airports(Repository[Airport, str]):
    """All that an application has to write to have its airports cached."""

    owner = KeyOwner(OWNER)
    policy = CacheAside(ttl=TTL, local_ttl=10.0)


class Witness:
    """Sees what the library does in this process: its events, and the ids in its statements.

    Events do not name rows. A load's statement does, and it runs in the task that says by `Served`
    who answered.
    """

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._asked: WeakKeyDictionary[asyncio.Task[Any], list[str]] = WeakKeyDictionary()
        self._loads: dict[str, tuple[int, str]] = {}
        self._away = True
        self._trouble = 0

    def executed(
        self, _: object, __: object, ___: object, parameters: Any, ____: object, _____: object
    ) -> None:
        """SQLAlchemy's `after_cursor_execute`."""
        self._asked[current_task()] = texts(parameters)

    def observe(self, seen: Event) -> None:
        now = time.monotonic_ns()
        match seen:
            case Served(tier="database", node=node):
                for key in self._asked.pop(current_task(), ()):
                    self._loads[key] = (now, node)
            case Invalidated(keys=keys):
                self._tell(Applied(tuple(key.partition(":")[2] for key in keys), now))
            case GapSeen(bucket=bucket):
                self._tell(Dropped(bucket, now))
            case ChannelUp():
                self._away = False
                self._tell(Dropped(ALL, now))
                self._tell(ToldChannel(up=True, at=now))
            case ChannelDown():
                self._away, self._trouble = True, now
                self._tell(ToldChannel(up=False, at=now))
            case CacheFailed():
                self._trouble = now
            case NodeOut(node=node, why=why):
                self._tell(Rotation(node, why, now))
            case NodeBack(node=node):
                self._tell(Rotation(node, "", now))
            case _:
                pass

    def who(self, key: str, start: int) -> tuple[str, str]:
        """Tier and node of a read that began at `start` and has had to wait: the database if the
        row was loaded meanwhile, or if the cache failed meanwhile; else Redis."""
        loaded, node = self._loads.get(key, (0, ""))
        if loaded >= start - LANDING:
            return "database", node
        if self._away or self._trouble >= start:
            return "database", "unknown"
        return "l2", ""


class Cached:
    """A `Contestant`."""

    def __init__(self, place: Place) -> None:
        self._witness = Witness(place.tell)
        self._database = Database(
            primary=place.primary,
            replicas=[
                Replica(url, name=f"replica{number}")
                for number, url in enumerate(place.replicas, 1)
            ],
            redis=place.redis,
            repositories=[Airports],
            settings=Settings(
                observe=self._witness.observe, topology=TopologySettings(pool_size=POOL)
            ),
        )

    async def __aenter__(self) -> Self:
        event.listen(Engine, "after_cursor_execute", self._witness.executed)
        await self._database.__aenter__()
        self._airports = self._database[Airports]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._database.__aexit__(None, None, None)
        event.remove(Engine, "after_cursor_execute", self._witness.executed)

    async def read(self, key: str) -> DemoAnswer:
        start = time.monotonic_ns()
        waited: list[bool] = []
        asyncio.get_running_loop().call_soon(waited.append, True)
        airport = await self._airports.get(key)
        if airport is None:
            raise LookupError(key)
        if not waited:
            # No turn of the event loop went by: nobody else was asked.
            return DemoAnswer(airport.version, "l1", "")
        return DemoAnswer(airport.version, *self._witness.who(key, start))

    async def write(self, key: str) -> Written:
        async with self._database.unit_of_work() as work:
            version = await raise_version(work.session, key)
            bookmark = await work.commit()
        return Written(version, bookmark.covered)

    @asynccontextmanager
    async def session(self, incoming: str) -> AsyncIterator[Bearer]:
        async with self._database.causal_session(incoming) as session:
            yield session


def current_task() -> asyncio.Task[Any]:
    """Everything in this program runs in some task."""
    task = asyncio.current_task()
    assert task is not None
    return task


def texts(parameters: Any) -> list[str]:
    """All texts in a statement's parameters, however nested."""
    if isinstance(parameters, str):
        return [parameters]
    if isinstance(parameters, dict):
        return texts(list(parameters.values()))
    if isinstance(parameters, list | tuple):
        return [text for each in parameters for text in texts(each)]
    return []
