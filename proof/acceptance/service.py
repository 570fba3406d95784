"""One service process: `python -m proof.acceptance.service`, with its setup and its orders as JSON
lines on stdin.

What it did, and the events that tests wait for, go out on stdout. It ends when nobody gives orders
any more.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import msgspec
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import QueuePool

from proof.acceptance.storm import CancellingStorm, Storm, Tally, bump
from repocache import CacheAside, CacheSettings, Database, Settings, TopologySettings
from repocache.cache.leases import Leases
from repocache.errors import CommitOutcomeUnknown
from repocache.events import (
    ChannelUp,
    Event,
    Filled,
    Invalidated,
    Published,
    Routed,
    Sampled,
    Served,
)
from repocache.redis_link import LinkSettings
from tests.shop import REPOSITORIES, User, Users

MANY = (Served, Sampled, Routed, Filled, Invalidated, Published)
"""Not told, but counted."""


class Setup(msgspec.Struct):
    """Where everything is, and how the process is to behave. Seconds: `ttl` and `local_ttl` of the
    users, `window` of bookmarks."""

    primary: str
    replicas: tuple[str, ...]
    redis: str
    topology: TopologySettings
    link: LinkSettings
    cache: CacheSettings = CacheSettings()
    ttl: float = 300.0
    local_ttl: float = 60.0
    window: float = 60.0

    def settings(self, observe: Callable[[Event], None]) -> Settings:
        return Settings(
            observe=observe,
            topology=self.topology,
            link=self.link,
            cache=self.cache,
            window=self.window,
        )

    def repositories(self) -> tuple[Any, ...]:
        policy = CacheAside(
            ttl=self.ttl, local_ttl=self.local_ttl, negative_ttl=min(30.0, self.ttl)
        )
        users = type("PolicyUsers", (Users,), {"policy": policy})
        return (users, *REPOSITORIES[1:])

    def database(self, observe: Callable[[Event], None]) -> tuple[Database, type[Users]]:
        """The database, and the users' class in it."""
        repositories = self.repositories()
        db = Database(
            self.primary,
            replicas=self.replicas,
            redis=self.redis,
            repositories=repositories,
            settings=self.settings(observe),
        )
        return db, repositories[0]


class Order(msgspec.Struct):
    number: int
    do: str
    using: dict[str, Any]


class Service:
    """Does what it is ordered to; every public method is an order."""

    def __init__(self, setup: Setup) -> None:
        self._db, self._class = setup.database(self._observe)
        self._started: Users | None = None
        self._tally = Tally()
        self._storm: asyncio.Task[None] | None = None
        self._recent: list[Served] = []
        self._counts: dict[str, int] = {}
        self._most_on_primary = 0
        self._open = 0
        for engine in (self._db._topology.write_engine, self._db._topology._primary.engine):
            event.listen(engine.sync_engine, "connect", self._opened)
            for name in ("close", "close_detached"):
                event.listen(engine.sync_engine, name, self._closed)

    def _opened(self, *_: object) -> None:
        self._open += 1

    def _closed(self, *_: object) -> None:
        self._open -= 1

    @property
    def _users(self) -> Users:
        assert self._started is not None, "orders come after the start"
        return self._started

    async def serve(self) -> None:
        loop = asyncio.get_running_loop()
        lines = asyncio.StreamReader(limit=2**20)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        async with self._db, asyncio.TaskGroup() as orders:
            self._started = self._db[self._class]
            tell({"ready": os.getpid()})
            while line := await lines.readline():
                orders.create_task(self._obey(msgspec.json.decode(line, type=Order)))
            os._exit(1)

    async def _obey(self, order: Order) -> None:
        try:
            got = await getattr(self, order.do)(**order.using)
        except Exception as error:  # noqa: BLE001  # the test judges it
            tell({"number": order.number, "failed": type(error).__name__, "text": str(error)})
        else:
            tell({"number": order.number, "got": got})

    def _observe(self, told: Event) -> None:
        name = type(told).__name__
        self._counts[name] = self._counts.get(name, 0) + 1
        if isinstance(told, Served):
            self._recent.append(told)
            del self._recent[:-20]
        if isinstance(told, Filled) and told.landed:
            self._counts["landed"] = self._counts.get("landed", 0) + 1
        if isinstance(told, Routed):
            self._counts[told.node] = self._counts.get(told.node, 0) + 1
            self._most_on_primary = max(self._most_on_primary, self._db.nodes[0].in_flight)
        if not isinstance(told, MANY):
            about = {field: getattr(told, field) for field in told.__struct_fields__}
            if isinstance(told, ChannelUp):
                about["local"] = len(self._db._started.cache.shared.local) if self._started else 0
            tell({"event": name, "about": about})

    async def read(self, id: int, bookmark: str = "") -> dict[str, Any]:
        """The version, and who served it; only when nobody else reads."""
        if not bookmark:
            return await self._seen(id)
        async with self._db.causal_session(bookmark):
            return await self._seen(id)

    async def _seen(self, id: int) -> dict[str, Any]:
        self._recent.clear()
        user = await self._users.get(id)
        served = self._recent[-1] if self._recent else Served("user", "l1", "", "")
        return {
            "age": user and user.age,
            "tier": served.tier,
            "node": served.node,
            "why": served.why,
        }

    async def read_many(self, ids: Sequence[int]) -> list[int | None]:
        """The versions of all, by reads of one moment."""
        users = await asyncio.gather(*(self._users.get(id) for id in ids))
        return [None if user is None else user.age for user in users]

    async def find(self, id: int, bookmark: str = "") -> int:
        """The version, past the cache."""
        async with self._db.causal_session(bookmark):
            [user] = await self._users.find(User.id == id)
            return user.age

    async def write(self, id: int, bookmark: str = "") -> dict[str, Any]:
        """Raise the version; what a session that did it read right after, and from where. `age`:
        None if the outcome of the COMMIT is not known."""
        async with self._db.causal_session(bookmark) as session:
            age: int | None = None
            with suppress(CommitOutcomeUnknown):
                age = await bump(self._db, id)
            seen = await self._seen(id)
            covered = session.bookmark.covered
            about = {"age": age, "read": seen["age"], "tier": seen["tier"], "node": seen["node"]}
            return about | {"bookmark": session.encode(), "covered": covered}

    async def everything(self, ids: Sequence[int], tier: str) -> list[int | None]:
        """The versions in the cache, from L1 on or, with an empty L1, from L2 on."""
        if tier == "l2":
            self._db._started.cache.shared.local.clear()
        found = await self._users.get_many(ids)
        return [found[id].age if id in found else None for id in ids]

    async def storm(self, callers: int, cancelling: bool = False) -> None:
        kind = CancellingStorm if cancelling else Storm
        storm = self._blowing = kind(self._db, self._users, self._tally)
        self._storm = asyncio.create_task(storm.run(callers))

    async def calm(self) -> None:
        if self._storm is not None:
            self._blowing.calm()
            await self._storm
            self._storm = None

    async def tally(self) -> Tally:
        return self._tally

    async def counts(self) -> dict[str, int]:
        """Events so far, by kind; fills that landed; and statements, by node."""
        return self._counts

    async def most_on_primary(self) -> int:
        """Reads on the primary at once, at the most."""
        return self._most_on_primary

    async def undelivered(self) -> int:
        return len(self._db._started.cache.retry)

    async def under_way(self) -> dict[str, int]:
        """What is not at rest: connections out of their pools, statements, loads and
        publications."""
        topology, caching = self._db._topology, self._db._started.cache
        engines = {"writes": topology.write_engine, "primary": topology._primary.engine}
        engines |= {node.name: node.engine for node in topology._replicas}
        return {
            **{name: _pool(engine).checkedout() for name, engine in engines.items()},
            "statements": sum(node.in_flight for node in topology.nodes),
            "loads": len(caching.shared.inflight),
            "publications": len(caching.tasks._must_end),
        }

    async def connections(self) -> int:
        """How many the pools believe to be open to the primary, and the sampler's."""
        return self._open + 1

    async def stop_before_fill(self) -> None:
        """The next fill under a lease finds this process stopped (SIGSTOP) before it is sent."""
        fill = Leases.fill

        def stopping(leases: Leases, rows: Sequence[Any]) -> Any:
            if rows:
                Leases.fill = fill  # type: ignore[method-assign]
                os.kill(os.getpid(), signal.SIGSTOP)
            return fill(leases, rows)

        Leases.fill = stopping  # type: ignore[assignment,method-assign]


def _pool(engine: AsyncEngine) -> QueuePool:
    assert isinstance(engine.pool, QueuePool)
    return engine.pool


def tell(what: dict[str, Any]) -> None:
    """One line, written at once: a kill does not make it unsaid."""
    os.write(1, msgspec.json.encode(what) + b"\n")


if __name__ == "__main__":
    with open(0, "rb", buffering=0, closefd=False) as first:
        setup = msgspec.json.decode(first.readline(), type=Setup)
    asyncio.run(Service(setup).serve())
