"""Processes over real servers: what happens to the servers, and what the caches hold that is too
old.

Nothing here decides what is right but `World.stale`: the newest published version against what the
caches hold.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, TypeVar
from unittest.mock import patch

import pytest

from proof.protocol.items import KEY, Drafts, Items, Prices, Stocks
from proof.protocol.process import Process, until
from repocache.cache.entry import CacheSettings
from repocache.cache.values import is_lease
from repocache.database import Database
from repocache.edges.declared import Edges
from repocache.engines.topology_settings import TopologySettings
from repocache.events import Event
from repocache.keys import bucket_of, owner_bucket
from repocache.records import Namespace
from repocache.repository.repository import Repository
from repocache.settings import Settings
from repocache.testing import Endpoints, Servers
from repocache.testing.errors import NotOurs
from repocache.testing.postgres import PostgresServer
from repocache.testing.process import processes

T = TypeVar("T")

STILL = Settings(
    topology=TopologySettings(sample_every=20.0, max_lag=40.0),
    cache=CacheSettings(lease=60.0, patience=0.02),
    publish_timeout=10.0,
    window=120.0,
)
"""Nothing is polled unless somebody asks, and no lease ends by time: what happens is what a
scenario makes happen."""
REPOSITORIES: tuple[type[Repository[Any, Any]], ...] = (Items, Drafts, Stocks, Prices)

_ahead: ContextVar[float] = ContextVar(
    "seconds by which the clock of the code that runs is ahead", default=0.0
)
_time = time.time


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

    async def process(
        self,
        name: str,
        primary: str = "",
        *,
        replicas: Sequence[str] | None = None,
        settings: Settings = STILL,
        repositories: Sequence[type[Repository[Any, Any]]] = REPOSITORIES,
        ahead: float = 0.0,
        edges: Edges | None = None,
    ) -> Process:
        """Start another one. `primary`: URL of another server that it takes for the primary; then
        without replicas, unless these are named. `repositories`: the first is that of the items.
        `ahead`: seconds by which its clock is; what it is asked to do is to be done inside
        `clock_ahead` too. `edges`: in front of it."""
        events: list[Event] = []
        if replicas is None:
            replicas = [] if primary else self.endpoints.replicas[:1]
        with clock_ahead(ahead):
            db = Database(
                primary=primary or self.endpoints.primary,
                replicas=replicas,
                redis=self.endpoints.redis,
                repositories=repositories,
                settings=replace(settings, observe=events.append),
                edges=edges,
            )
            await self._stack.enter_async_context(db)
            self.processes[name] = process = Process(name, db, events, repositories[0])
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
        """The records are there with known floors, the replica level with the primary, the key in
        no tier."""
        await self.a.get(id)
        await until(lambda: self._is_settled(id), "the floor is known")
        await self.evict(id)
        await self.catch_up()

    async def _is_settled(self, id: int) -> bool:
        own = await self.a.records._link.call(
            "HEXISTS", Namespace(STILL.app).record(owner_bucket("item")), "f"
        )
        return b"f" in await self.record(id) and bool(own)

    async def catch_up(self) -> None:
        """The replica has replayed all that was written, and every process knows."""
        # Its commit flushes what nobody waited for.
        await self.sql("SELECT pg_logical_emit_message(true, '', '')")
        position = await asyncio.to_thread(self.servers.primary.position)
        await asyncio.to_thread(self.replica.await_position, position)
        for process in self.processes.values():
            await process.sampled()

    async def stop_replay(self, replica: PostgresServer | None = None) -> None:
        """From here on the replica sees nothing new."""
        replica = replica or self.replica
        self._stack.callback(replica.resume_replay)
        await asyncio.to_thread(replica.pause_replay)

    async def stop_backend(self, server: PostgresServer, kind: str) -> None:
        """Stop the server's process of this kind where it is, until the end of the scenario."""
        ((pid,),) = await self.sql(
            f"SELECT pid FROM pg_stat_activity WHERE backend_type = '{kind}'", server
        )
        try:
            ours = (int(pid), server.pid) in set(processes())
        except NotOurs:
            ours = False
        if not ours:
            pytest.skip("the servers do not run on this machine")
        self._stack.callback(self.run_on, int(pid))
        os.kill(int(pid), signal.SIGSTOP)

    def run_on(self, pid: int) -> None:
        """Let a stopped process go on, if it is still there."""
        try:
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            return

    async def record(self, id: int = KEY) -> dict[bytes, bytes]:
        """The fields of the key's record."""
        name = Namespace(STILL.app).record(bucket_of(f"item:{id}"))
        fields: dict[bytes, bytes] = await self.a.records._link.call("HGETALL", name)
        return fields

    async def evict_record(self, id: int = KEY) -> None:
        """Redis needed room."""
        await self.a.records._link.call("DEL", Namespace(STILL.app).record(bucket_of(f"item:{id}")))

    async def evict_owner(self) -> None:
        """It needed room, and took the owner's record."""
        await self.a.records._link.call("DEL", Namespace(STILL.app).record(owner_bucket("item")))

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
        cell = self.a.cache._values.decode(f"item:{id}", value, id)
        assert cell is not None
        return self.a.version(cell.row)

    async def _name(self, id: int) -> str:
        record = await self.record(id)
        own = Namespace(STILL.app).record(owner_bucket("item"))
        fields = await self.a.records._link.call("HMGET", own, "g:item", "i")
        incarnation, generation = (
            record.get(b"i", b"").decode(),
            (fields[0] or fields[1] or b"").decode(),
        )
        fingerprint = self.a.loader._source.fingerprint
        return (
            Namespace(STILL.app).prefix(
                bucket_of(f"item:{id}"), incarnation, generation, fingerprint
            )
            + f"item:{id}"
        )

    async def stale(self, version: int, id: int = KEY) -> list[str]:
        """What the tiers hold that is older than `version`, the newest whose invalidation was
        delivered."""
        found: list[str] = []
        for process in self.processes.values():
            await process.heard()
            held = process.in_l1(id)
            if held is not None and held < version:
                found.append(
                    f"L1 of {process.name} holds version {held} after the invalidation of {version}"
                )
        held = await self.in_l2(id)
        if held is not None and held < version:
            found.append(f"L2 holds version {held} after the invalidation of {version}")
        return found

    def sql(
        self, script: str, server: PostgresServer | None = None
    ) -> Awaitable[list[tuple[str, ...]]]:
        """As the superuser, in the world's database."""
        return asyncio.to_thread((server or self.servers.primary).sql, script, self.database)


def behind(seen: int, committed: int) -> list[str]:
    """What a session saw that had itself committed, or carries the bookmark of, a later version."""
    return (
        [] if seen == committed else [f"a session got version {seen}, it had committed {committed}"]
    )


def prefer(process: Process, number: int) -> None:
    """Of several replicas that may answer, this one does from now on."""
    for other, node in enumerate(process.topology._replicas):
        node.weight = 1.0 if other == number else 1e-9


@contextmanager
def clock_ahead(seconds: float) -> Iterator[None]:
    """What is begun in the block, and all that follows from it, lives so many seconds ahead of the
    other clocks."""
    token = _ahead.set(seconds)
    try:
        yield
    finally:
        _ahead.reset(token)


@asynccontextmanager
async def open_world(
    servers: Servers, endpoints: Endpoints, primaries: Sequence[str] = ("", "")
) -> AsyncIterator[World]:
    """`primaries`: URLs of what `a` and `b` take for the primary, if that is not the primary."""
    async with AsyncExitStack() as stack:
        stack.enter_context(patch("time.time", lambda: _time() + _ahead.get()))
        world = World(servers, endpoints, stack)
        for name, primary in zip("ab", primaries, strict=True):
            await world.process(name, primary)
        try:
            yield world
        finally:
            await world.end_tasks()
