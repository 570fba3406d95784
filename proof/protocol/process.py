"""One process as scenarios see it: a `Database` of its own, to be held between any two steps."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from proof.protocol.items import KEY, Item, Items
from repocache.bookmark import Bookmark
from repocache.cache.entry import Row, RowRequest
from repocache.cache.loader import Loader
from repocache.cache.process_cache import ProcessCache
from repocache.cache.tiered import TieredCache
from repocache.database import Database
from repocache.errors import CacheUnavailable
from repocache.events import ChannelUp, Event, Filled
from repocache.nodes.probe import Probe
from repocache.nodes.topology import Topology
from repocache.records import RedisRecords
from repocache.records.message import Message
from repocache.repository.repository import Repository

DEADLINE = 20.0
"""Seconds until a condition that never comes true fails its test."""


async def until(condition: Callable[[], bool | Awaitable[bool]], what: str) -> None:
    """Wait for a condition; AssertionError at the deadline."""
    try:
        async with asyncio.timeout(DEADLINE):
            while True:
                held = condition()
                if held if isinstance(held, bool) else await held:
                    return
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise AssertionError(f"waited {DEADLINE} s in vain until {what}") from None


class Gate:
    """Holds the first who comes until it is opened; those who come later pass."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._taken = False
        self._held = asyncio.Event()
        self._opened = asyncio.Event()

    async def hold(self) -> None:
        if not self._taken:
            self._taken = True
            self._held.set()
            await self._opened.wait()

    @property
    def is_held(self) -> bool:
        return self._held.is_set()

    async def reached(self) -> None:
        await until(self._held.is_set, f"somebody is held at {self._what}")

    def open(self) -> None:
        self._opened.set()


class Process:
    """One process: a database with its cache, and every step of it within reach."""

    def __init__(
        self,
        name: str,
        db: Database,
        events: list[Event],
        items: type[Repository[Any, Any]] = Items,
    ) -> None:
        self.name = name
        self.db = db
        self.events = events
        self._repository = items
        self.items: Items = db[items]  # type: ignore[assignment]
        self._deliveries = 0
        self._count_deliveries()

    @property
    def topology(self) -> Topology:
        return self.db._topology

    @property
    def shared(self) -> ProcessCache:
        return self.db._started.cache.shared

    @property
    def records(self) -> RedisRecords:
        records = self.shared.records
        assert isinstance(records, RedisRecords)
        return records

    @property
    def cache(self) -> TieredCache:
        cache: TieredCache = self.items._access._cache  # type: ignore[attr-defined]
        return cache

    @property
    def loader(self) -> Loader:
        return self.cache._loader

    async def get(self, id: int = KEY) -> int:
        """The version that a read by id brings, 0: there is no such row."""
        item = await self.items.get(id)
        return 0 if item is None else item.version

    async def get_behind(self, bookmark: Bookmark | str, id: int = KEY) -> int:
        """The same in the session of a bookmark."""
        async with self.db.causal_session(bookmark):
            return await self.get(id)

    async def find(self, id: int = KEY) -> int:
        """The version that a read past the cache brings."""
        return (await self.items.find(Item.id == id))[0].version

    async def find_behind(self, bookmark: Bookmark | str, id: int = KEY) -> int:
        """The same in the session of a bookmark."""
        async with self.db.causal_session(bookmark):
            return await self.find(id)

    async def sampled(self) -> None:
        await asyncio.gather(*(node.poll.ask() for node in self.topology._replicas))

    async def write(self, version: int, id: int = KEY) -> Bookmark:
        """Commit a version."""
        async with self.db.unit_of_work() as work:
            (await work[self._repository].require(id)).version = version
            bookmark = await work.commit()
        assert bookmark is not None
        return bookmark

    async def heard(self) -> None:
        """Whatever Redis has sent to this process by now was handled."""
        await self.records._link.call("PING")

    def ups(self) -> int:
        """How often the connection to Redis was made."""
        return len([event for event in self.events if isinstance(event, ChannelUp)])

    async def alive(self) -> None:
        await until(lambda: self.shared.views.alive, f"{self.name} is connected to Redis")

    async def idle(self) -> None:
        """No load is in flight."""
        await until(lambda: len(self.shared.inflight) == 0, f"{self.name} has loaded")

    async def delivered(self) -> None:
        """Nothing is left to be published by this process, at once or later."""
        await until(lambda: not self._delivering(), f"{self.name} has delivered all")

    def _delivering(self) -> bool:
        later, running = self.db._started.cache.retry, self.db._started.cache.tasks._others
        names = {task.get_coro().__qualname__ for task in running}  # type: ignore[union-attr]
        return (
            bool(later)
            or later._wake.is_set()
            or self._deliveries > 0
            or "CommitPublisher._publish_again" in names
        )

    def _count_deliveries(self) -> None:
        later = self.db._started.cache.retry
        original = later._deliver

        async def deliver() -> None:
            self._deliveries += 1
            try:
                await original()
            finally:
                self._deliveries -= 1

        later._deliver = deliver  # type: ignore[method-assign]

    def hold_rows(self) -> Gate:
        """Hold the next load between its database read and its answer."""
        gate, source = Gate(f"the rows of {self.name}"), self.loader._source

        async def load(wanted: Sequence[RowRequest]) -> Any:
            rows = await source.load(wanted)
            await gate.hold()
            return rows

        self.loader._source = replace(source, load=load)
        return gate

    def hold_load(self) -> Gate:
        """Hold the next load right before its database read."""
        gate, source = Gate(f"the load of {self.name}"), self.loader._source

        async def load(wanted: Sequence[RowRequest]) -> Any:
            await gate.hold()
            return await source.load(wanted)

        self.loader._source = replace(source, load=load)
        return gate

    def hold_get(self) -> Gate:
        """Hold the reply of the next GET before its caller sees it."""
        return self._hold_reply("get")

    def hold_fill(self) -> Gate:
        """Hold the reply of the next fill before its caller sees it."""
        return self._hold_reply("fill")

    def _hold_reply(self, call: str) -> Gate:
        gate, original = Gate(f"the reply of {call} in {self.name}"), getattr(self.records, call)

        async def held(answer: Awaitable[Any]) -> Any:
            reply = await answer
            await gate.hold()
            return reply

        setattr(self.records, call, lambda *arguments: held(original(*arguments)))
        return gate

    def hold_poll(self) -> Gate:
        """Hold the next poll of the primary between its reading and its outcome."""
        return self._hold_reading(self.topology._primary.probe, "primary")

    def hold_replica_poll(self) -> Gate:
        """The same of the first replica."""
        return self._hold_reading(self.topology._replicas[0].probe, "replica")

    def _hold_reading(self, probe: Probe, call: str) -> Gate:
        gate, original = Gate(f"the poll of {call} in {self.name}"), getattr(probe, call)

        async def held() -> Any:
            reading = await original()
            await gate.hold()
            return reading

        setattr(probe, call, held)
        return gate

    def hold_seal(self) -> Gate:
        """Hold the next commit right before COMMIT, inside the transaction."""
        hooks = self.db._started.watch._hooks
        gate, original = Gate(f"COMMIT in {self.name}"), hooks.seal

        async def seal(*arguments: Any) -> None:
            await original(*arguments)
            await gate.hold()

        hooks.seal = seal  # type: ignore[method-assign, assignment]
        return gate

    def hold_publication(self) -> Gate:
        """Hold the next commit between COMMIT and the scripts that publish it."""
        gate, original = Gate(f"the publication of {self.name}"), self.records.change

        async def change(*arguments: Any) -> Any:
            await gate.hold()
            return await original(*arguments)

        self.records.change = change  # type: ignore[method-assign, assignment]
        return gate

    def lose_next_message(self) -> None:
        """The next message never arrives here."""
        views = self.shared.views
        original = views.apply

        def apply(message: Message) -> None:
            views.apply = original  # type: ignore[method-assign]

        views.apply = apply  # type: ignore[method-assign]

    def stop_publishing(self) -> Callable[[], None]:
        """No invalidation reaches Redis from here until the returned function is called."""
        records = self.records
        original = records.change

        def change(*_: object) -> Awaitable[Any]:
            raise CacheUnavailable("a test is in the way")

        records.change = change  # type: ignore[method-assign, assignment]

        def publish_on() -> None:
            records.change = original  # type: ignore[method-assign]

        return publish_on

    def hold_open(self) -> Gate:
        """Hold the reply of the next script that asks for a lease."""
        return self._hold_reply("open")

    def stop_reading(self) -> Callable[[], None]:
        """What Redis sends stays in the socket until the returned function is called."""
        transport = self.records._link._connection._transport  # type: ignore[union-attr]
        assert transport is not None
        transport.pause_reading()
        return transport.resume_reading

    def in_l1(self, id: int = KEY) -> int | None:
        """The version that L1 would serve to a caller without a session, 0: that there is no such
        row."""
        cell = self.cache.peek_l1(id)
        return None if cell is None else self.version(cell.row)

    def version(self, row: Row | None) -> int:
        return 0 if row is None else self.items._entity(row).version

    def filled(self) -> list[bool]:
        """Of each fill so far whether it landed."""
        return [event.landed for event in self.events if isinstance(event, Filled)]
