"""Processes over real servers: what happens to the servers, and what the caches hold that is too old.

Nothing here decides what is right but `World.stale`: the newest published version against what the caches hold.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any, TypeVar

from repocache.cache.entry import CacheSettings
from repocache.cache.values import is_lease
from repocache.database import Database
from repocache.db.settings import TopologySettings
from repocache.events import Event
from repocache.keys import bucket_of
from repocache.records import Namespace
from repocache.settings import Settings
from repocache.testing import Endpoints, Servers
from repocache.testing.postgres import PostgresServer
from tests.protocol.items import KEY, Drafts, Items, Prices, Stocks
from tests.protocol.process import Process, until

T = TypeVar("T")

STILL = Settings(
    topology=TopologySettings(sample_every=20.0, max_lag=40.0),
    cache=CacheSettings(lease=60.0, patience=0.02),
    publish_timeout=10.0,
)
"""Nothing is polled unless somebody asks, and no lease ends by time: what happens is what a scenario makes happen."""


class World:
    """The servers and the processes `a`, `b` and as many more as a scenario asks for."""

    def __init__(self, servers: Servers, endpoints: Endpoints, stack: AsyncExitStack) -> None:
        self.servers = servers
        self.endpoints = endpoints
        self.processes: dict[str, Process] = {}
        self._stack = stack
        self._tasks: list[asyncio.Task[Any]] = []

    @property
    def a(self) -> Process:
        return self.processes["a"]

    @property
    def b(self) -> Process:
        return self.processes["b"]

    @property
    def replica(self) -> PostgresServer:
        """The one replica that the processes know."""
        return self.servers.replicas[0]

    @property
    def database(self) -> str:
        return self.endpoints.primary.rpartition("/")[2]

    async def process(self, name: str, primary: str = "") -> Process:
        """Start another one. `primary`: URL of another server that it takes for the primary; then without replicas."""
        events: list[Event] = []
        db = Database(
            primary=primary or self.endpoints.primary,
            replicas=[] if primary else self.endpoints.replicas[:1],
            redis=self.endpoints.redis,
            repositories=[Items, Drafts, Stocks, Prices],
            settings=replace(STILL, observe=events.append),
        )
        await self._stack.enter_async_context(db)
        self.processes[name] = process = Process(name, db, events)
        await process.items.exists()  # a node's first connection costs its sample
        return process

    def start(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run beside the scenario."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.append(task)
        return task

    async def end_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def settle(self, id: int = KEY) -> None:
        """The bucket's record is there with a known floor, the replica level with the primary, the key in no tier."""
        await self.a.get(id)
        await until(lambda: self._is_settled(id), "the floor is known")
        await self.evict(id)
        await self.catch_up()

    async def _is_settled(self, id: int) -> bool:
        return b"f" in await self.record(id)

    async def catch_up(self) -> None:
        """The replica has replayed all that was written, and every process knows."""
        await self.sql("SELECT pg_logical_emit_message(true, '', '')")  # its commit flushes what nobody waited for
        position = await asyncio.to_thread(self.servers.primary.position)
        await asyncio.to_thread(self.replica.await_position, position)
        for process in self.processes.values():
            await asyncio.gather(*(node.poll.ask() for node in process.topology._replicas))

    async def stop_replay(self) -> None:
        """From here on the replica sees nothing new."""
        self._stack.callback(self.replica.resume_replay)
        await asyncio.to_thread(self.replica.pause_replay)

    async def record(self, id: int = KEY) -> dict[bytes, bytes]:
        """The fields of the key's record."""
        name = Namespace(STILL.app).record(bucket_of(f"item:{id}"))
        fields: dict[bytes, bytes] = await self.a.records._link.call("HGETALL", name)
        return fields

    async def evict_record(self, id: int = KEY) -> None:
        """Redis needed room."""
        await self.a.records._link.call("DEL", Namespace(STILL.app).record(bucket_of(f"item:{id}")))

    async def evict(self, id: int = KEY) -> None:
        """The key leaves L2, and L1 everywhere."""
        await self.a.records._link.call("DEL", await self._name(id))
        for process in self.processes.values():
            process.shared.local.discard(("item", id))

    async def in_l2(self, id: int = KEY) -> int | None:
        """The version in Redis, 0: that there is no such row."""
        value = await self.a.records._link.call("GET", await self._name(id))
        if value is None or is_lease(value):
            return None
        cell = self.a.cache._values.decode(f"item:{id}", value)
        assert cell is not None
        return self.a.version(cell.row)

    async def _name(self, id: int) -> str:
        record = await self.record(id)
        incarnation, generation = record.get(b"i", b"").decode(), record.get(b"g:item", b"0").decode()
        fingerprint = self.a.loader._source.fingerprint
        return Namespace(STILL.app).prefix(bucket_of(f"item:{id}"), incarnation, generation, fingerprint) + f"item:{id}"

    async def stale(self, version: int, id: int = KEY) -> list[str]:
        """What the tiers hold that is older than `version`, the newest whose invalidation was delivered."""
        found: list[str] = []
        for process in self.processes.values():
            await process.heard()
            held = process.in_l1(id)
            if held is not None and held < version:
                found.append(f"L1 of {process.name} holds version {held} after the invalidation of {version}")
        held = await self.in_l2(id)
        if held is not None and held < version:
            found.append(f"L2 holds version {held} after the invalidation of {version}")
        return found

    def sql(self, script: str, server: PostgresServer | None = None) -> Awaitable[list[tuple[str, ...]]]:
        """As the superuser, in the world's database."""
        return asyncio.to_thread((server or self.servers.primary).sql, script, self.database)


def behind(seen: int, committed: int) -> list[str]:
    """What a session saw that had itself committed, or carries the bookmark of, a later version."""
    return [] if seen == committed else [f"a session got version {seen}, it had committed {committed}"]


@asynccontextmanager
async def open_world(
    servers: Servers, endpoints: Endpoints, primaries: Sequence[str] = ("", "")
) -> AsyncIterator[World]:
    """`primaries`: URLs of what `a` and `b` take for the primary, if that is not the primary."""
    async with AsyncExitStack() as stack:
        world = World(servers, endpoints, stack)
        for name, primary in zip("ab", primaries, strict=True):
            await world.process(name, primary)
        try:
            yield world
        finally:
            await world.end_tasks()
