"""Processes over real servers, each a `Database` of its own, and the means to hold them between any two steps.

Nothing here decides what is right but `World.stale`: the newest published version against what the caches hold.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from itertools import count
from typing import Any, TypeVar

from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from repocache.bookmark import Bookmark
from repocache.cache.entry import CacheSettings, Row, Wanted
from repocache.cache.loader import Loader
from repocache.cache.policies import CacheAside
from repocache.cache.shared import Shared
from repocache.cache.tiered import TieredCache
from repocache.cache.values import is_lease
from repocache.database import Database
from repocache.db.settings import TopologySettings
from repocache.db.topology import Topology
from repocache.errors import CacheUnavailable
from repocache.events import Event, Filled
from repocache.keys import KeyOwner, bucket_of
from repocache.message import Message
from repocache.records import Namespace, RedisRecords
from repocache.repository.repository import Repository
from repocache.settings import Settings
from repocache.testing import Endpoints, Servers
from repocache.testing.postgres import PostgresServer

T = TypeVar("T")
DEADLINE = 20.0
"""Seconds until a condition that never comes true fails its test."""

KEY = 1
BUCKET = bucket_of(f"item:{KEY}")
NEIGHBOUR = next(id for id in count(KEY + 1) if bucket_of(f"item:{id}") == BUCKET)
"""Another key of the same bucket."""

SCHEMA = """
CREATE TABLE item (id int PRIMARY KEY, version int NOT NULL);
CREATE UNLOGGED TABLE draft (id int PRIMARY KEY, version int NOT NULL);
ALTER TABLE item OWNER TO app;
ALTER TABLE draft OWNER TO app;
"""
ROWS = f"""
TRUNCATE item, draft;
INSERT INTO item VALUES ({KEY}, 1), ({NEIGHBOUR}, 1);
INSERT INTO draft VALUES ({KEY}, 1);
"""


class Base(DeclarativeBase):
    pass


class Item(Base):
    __tablename__ = "item"
    id: Mapped[int] = mapped_column(primary_key=True)
    version: Mapped[int]


class Draft(Base):
    __tablename__ = "draft"
    __table_args__ = {"prefixes": ["UNLOGGED"]}  # noqa: RUF012  # SQLAlchemy's way
    id: Mapped[int] = mapped_column(primary_key=True)
    version: Mapped[int]


class Items(Repository[Item, int]):
    owner = KeyOwner("item")
    policy = CacheAside(ttl=300, local_ttl=100, jitter=0.0)


class Drafts(Repository[Draft, int]):
    owner = KeyOwner("draft")
    policy = CacheAside(ttl=300, local_ttl=100, jitter=0.0)


STILL = Settings(
    topology=TopologySettings(sample_every=20.0, max_lag=40.0),
    cache=CacheSettings(lease=60.0, patience=0.02),
)
"""Nothing is polled unless somebody asks, and no lease ends by time: what happens is what a scenario makes happen."""


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

    async def reached(self) -> None:
        await until(self._held.is_set, f"somebody is held at {self._what}")

    def open(self) -> None:
        self._opened.set()


class Process:
    """One process: a database with its cache, and every step of it within reach."""

    def __init__(self, name: str, db: Database, events: list[Event]) -> None:
        self.name = name
        self.db = db
        self.events = events
        self.items = db[Items]
        self._deliveries = 0
        self._count_deliveries()

    @property
    def topology(self) -> Topology:
        return self.db._topology

    @property
    def shared(self) -> Shared:
        return self.db._caching.shared

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

    async def get_behind(self, bookmark: Bookmark, id: int = KEY) -> int:
        """The same in the session of a bookmark."""
        async with self.db.causal_session(bookmark):
            return await self.get(id)

    async def write(self, version: int, id: int = KEY) -> Bookmark:
        """Commit a version."""
        async with self.db.unit_of_work() as work:
            item = await work[Items].require(id)
            item.version = version
            bookmark = await work.commit()
        assert bookmark is not None
        return bookmark

    async def heard(self) -> None:
        """Whatever Redis has sent to this process by now was handled."""
        await self.records._link.call("PING")

    async def alive(self) -> None:
        await until(lambda: self.shared.views.alive, f"{self.name} is connected to Redis")

    async def idle(self) -> None:
        """No load is in flight."""
        await until(lambda: len(self.shared.flights) == 0, f"{self.name} has loaded")

    async def delivered(self) -> None:
        """Nothing is left to be published by this process, at once or later."""
        await until(lambda: not self._delivering(), f"{self.name} has delivered all")

    def _delivering(self) -> bool:
        later, running = self.db._caching.undelivered, self.db._caching.tasks._others
        names = {task.get_coro().__qualname__ for task in running}  # type: ignore[union-attr]
        return bool(later) or later._wake.is_set() or self._deliveries > 0 or "Commits._publish_again" in names

    def _count_deliveries(self) -> None:
        later = self.db._caching.undelivered
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

        async def load(wanted: Sequence[Wanted]) -> Any:
            rows = await source.load(wanted)
            await gate.hold()
            return rows

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
        probe = self.topology._primary.probe
        gate, original = Gate(f"the poll of {self.name}"), probe.primary

        async def primary() -> Any:
            reading = await original()
            await gate.hold()
            return reading

        probe.primary = primary  # type: ignore[method-assign]
        return gate

    def hold_seal(self) -> Gate:
        """Hold the next commit right before COMMIT, inside the transaction."""
        hooks = self.db._watch._hooks
        gate, original = Gate(f"COMMIT in {self.name}"), hooks.seal

        async def seal(*arguments: Any) -> None:
            await original(*arguments)
            await gate.hold()

        hooks.seal = seal  # type: ignore[method-assign, assignment]
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
        """The version that L1 would serve to a caller without a session, 0: that there is no such row."""
        cell = self.cache.near(id)
        return None if cell is None else self.version(cell.row)

    def version(self, row: Row | None) -> int:
        return 0 if row is None else self.items._entity(row).version

    def filled(self) -> list[bool]:
        """Of each fill so far whether it landed."""
        return [event.landed for event in self.events if isinstance(event, Filled)]


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
            repositories=[Items, Drafts],
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
