"""One service process: the library wired as `Database` wires it, over simulated servers, and watched.

Owns start, stop and the requests that it answers. What is right is `oracle`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Column, MetaData, Table
from sqlalchemy.util import greenlet_spawn

from repocache.bookmark import Bookmark
from repocache.cache.asked import Asked
from repocache.cache.entry import Cell, Row, Source
from repocache.cache.flights import Flight
from repocache.cache.policies import CacheAside, Policy, WriteThrough, is_strict
from repocache.cache.tiered import TieredCache
from repocache.cache.values import Values
from repocache.caching import GRACE, Caching, Needs, caching
from repocache.commits import Commits, Lives
from repocache.db.commit import CommitWatch
from repocache.db.routing import Routing, Stickiness, current_session
from repocache.db.topology import Topology
from repocache.db.transaction import Transaction
from repocache.durable import NotDurable, durable
from repocache.invalidation.outbox import OutboxMode
from repocache.keys import KeyOwner, Keys, KeySpace
from repocache.message import Message
from repocache.repository.access import CachedAccess
from repocache.repository.rows import Nodes as RowNodes
from repocache.repository.rows import Rows
from repocache.settings import Settings
from repocache.standing import Standing
from repocache.tracking.changes import Changes
from repocache.tracking.tables import Owned, OwnedTables
from repocache.wire import Address
from repocache.writing import Means, Puts, Through
from tests.simulation.engines import Connection, Nodes, Sync
from tests.simulation.loop import Loop, Owner
from tests.simulation.oracle import Heard, Oracle, text_of
from tests.simulation.postgres import Key
from tests.simulation.redis import Redis

OWNERS = ("item", "note", "price")
"""Under cache-aside, write-through and strict write-through."""
ADDRESS = Address.parse("redis://redis")
PRIMARY, *REPLICAS = (f"postgresql+asyncpg://app@{host}/app" for host in ("primary", "r1", "r2"))


class Versions:
    """A codec of rows (id, version), and what `Rows` asks of a plan and of a statement."""

    primary_only = False

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self.select: Any = None

    def encode(self, row: Row) -> bytes:
        return b"%d" % row[1]

    def decode(self, payload: bytes) -> Row:
        return (0, int(payload))

    def row(self, row: Row) -> Row:
        return row

    def entity(self, row: Row) -> Row:
        return row

    def id_of_row(self, row: Row) -> Any:
        return row[0]

    def parameters(self, ids: Sequence[int]) -> list[Key]:
        return [(self._owner, id) for id in ids]


class WatchedCache(TieredCache):
    """The read path; what L2 answers is shown to the oracle, with what was applied there before it was asked."""

    service: Service

    def _ask(self, id: Any, bookmark: Bookmark | None) -> Asked:
        asked = super()._ask(id, bookmark)
        if asked.reply is not None:
            self.service.began[asked] = (self.service.applied((self._owner, id)), self.service.now)
        return asked

    def _hit(self, asked: Asked, value: bytes | None) -> Cell | None:
        need, began = self.service.began.pop(asked)
        cell = super()._hit(asked, value)
        if cell is not None:
            key = (self._owner, asked.key[1])
            self.service.oracle.served_far(self.service.owner.name, key, version_of(cell), need)
            self.service.loaded(key, began)
        return cell

    def _load(self, asked: Asked) -> asyncio.Future[Cell]:
        id = asked.key[1]
        waiter = super()._load(asked)
        flight = self._flights.get((self._owner, id))
        if flight is not None and flight not in self.service.began:
            self.service.began[flight] = (self.service.applied((self._owner, id)), self.service.now)
        return waiter

    def answered(self, flight: Flight, cell: Cell, tier: str) -> None:
        need, _ = self.service.began.get(flight, (0, 0.0))
        if tier == "l2":
            service = self.service
            service.oracle.served_far(service.owner.name, (self._owner, flight.key[1]), version_of(cell), need)
        super().answered(flight, cell, tier)

    def ended(self, flight: Flight, keep: bool) -> None:
        _, began = self.service.began.pop(flight, (0, 0.0))
        if keep:
            self.service.loaded((self._owner, flight.key[1]), began)
        super().ended(flight, keep)

    def failed(self, flight: Flight, error: BaseException) -> None:
        self.service.began.pop(flight, None)
        super().failed(flight, error)


def version_of(cell: Cell) -> int | None:
    return None if cell.row is None else cell.row[1]


async def _no_load(_: object) -> Mapping[Any, Row]:
    """Nothing is loaded to be stored."""
    return {}


class Hears:
    """The last of the channel's receivers: what this process was told."""

    def __init__(self, oracle: Oracle, heard: Heard) -> None:
        self._oracle = oracle
        self._heard = heard
        self._last: dict[int, tuple[str, int]] = {}

    def up(self) -> None:
        """What only a deposed Redis has told does not bind the next one, nor who believes that."""
        self._last.clear()
        self._heard.leave(self._oracle.astray)

    def down(self) -> None: ...
    def forget_all(self) -> None: ...

    def apply(self, message: Message) -> None:
        """With those that were lost before it."""
        incarnation, seq = self._last.get(message.bucket, ("", 0))
        first = seq + 1 if incarnation == message.incarnation else message.seq
        for each in range(first, message.seq + 1):
            self._heard.note(self._oracle.meant(message.incarnation, each))
        self._last[message.bucket] = (message.incarnation, message.seq)


@dataclass(frozen=True, slots=True)
class Outside:
    """What a process finds in its world."""

    loop: Loop
    oracle: Oracle
    nodes: Nodes


class Service:
    """`owner`: dead after a crash. `redis`: to whom its connection leads, set by the world."""

    def __init__(self, owner: Owner, outside: Outside, settings: Settings, ttl: float) -> None:
        self.owner = owner
        self.oracle = outside.oracle
        self.context = owner.context
        self.redis: Redis | None = None
        self.heard = Heard()
        self.began: dict[Asked | Flight, tuple[int, float]] = {}
        self.access: dict[str, CachedAccess[Any]] = {}
        self.running = False
        self._outside = outside
        self._settings = settings
        self._ttl = ttl
        self._stack = AsyncExitStack()

    async def start(self) -> None:
        """As `Database._start`. Raises DatabaseUnavailable."""
        settings, stack = self._settings, self._stack
        topology = Topology(PRIMARY, REPLICAS, settings.topology, settings.observe, self._outside.nodes.engine)
        stickiness = Stickiness(settings.window, max(settings.window, self._ttl), settings.monotonic)
        topology.on_history(self._history_changed)
        self.topology, self.routing = topology, Routing(topology, stickiness, settings.observe)
        keys = [Keys(KeyOwner(owner), (int,)) for owner in OWNERS]
        standing = Standing(topology)
        self._caching: Caching | None = None
        await stack.enter_async_context(topology)
        self._outbox = outbox = await stack.enter_async_context(self._durable(keys))
        needs = Needs(strict=True, recovered=outbox.wake)
        cache = await stack.enter_async_context(caching(settings, ADDRESS, KeySpace(keys), standing, needs))
        self._caching = cache
        cache.receivers.append(Hears(self.oracle, self.heard))
        lives = Lives(settings.window, stickiness.uncovered)
        commits = Commits(cache.bus, cache.undelivered, cache.shared.views, standing, lives)
        means = Means(cache.shared.records, cache.shared.views, cache.nonces, cache.evicts, settings.publish_timeout)
        through = [self._through(each) for each in keys if isinstance(self._policy(each.prefix), WriteThrough)]
        commits.start(cache.tasks.spawn, settings.observe, Puts(through, standing, means), outbox)
        outbox.start(cache.tasks.spawn, cache.undelivered.deliver)
        self.watch = CommitWatch(topology.write_engine, commits, cache.tasks.spawn_to_end, Changes)
        stack.push_async_callback(self.watch.close, GRACE)
        for each in keys:
            self.access[each.prefix] = self._access(each, cache)
        self.running = True

    def _durable(self, keys: Sequence[Keys]) -> AbstractAsyncContextManager[NotDurable]:
        if self._settings.outbox is OutboxMode.OFF:
            return nullcontext(NotDurable())
        metadata = MetaData()
        tables = [Table(each.prefix, metadata, Column("id", BigInteger, primary_key=True)) for each in keys]
        owned = [Owned(each, {table: (table.c.id,)}) for each, table in zip(keys, tables, strict=True)]
        return durable(self.topology.outbox_engine(), self._settings, OwnedTables(owned, tables))

    def _access(self, keys: Keys, cache: Caching) -> CachedAccess[Any]:
        plan: Any = Versions(keys.prefix)
        nodes = RowNodes(self.topology, self.routing, self._settings.observe)
        policy = self._policy(keys.prefix)
        rows: Rows[Any] = Rows(plan, plan, nodes, keys.prefix, strict=is_strict(policy))
        watched = WatchedCache(Source(keys, "v", policy, plan, rows.load), cache.shared, current_session)
        watched.service = self
        return CachedAccess(rows, watched, lambda *_: None, monotonic=self._settings.monotonic)

    def _policy(self, owner: str) -> Policy:
        if owner == "item":
            return CacheAside(ttl=self._ttl, local_ttl=self._ttl, negative_ttl=self._ttl / 2)
        strict = owner == "price"
        return WriteThrough(ttl=self._ttl, local_ttl=self._ttl, negative_ttl=self._ttl / 2, strict=strict)

    def _through(self, keys: Keys) -> Through:
        plan: Any = Versions(keys.prefix)
        policy = self._policy(keys.prefix)
        values = Values(Source(keys, "v", policy, plan, _no_load), 1000, self._settings.observe)
        return Through(keys, "v", plan, plan.row, plan.id_of_row, values, stores=True, strict=is_strict(policy))

    async def stop(self) -> None:
        self.running = False
        await self._stack.aclose()

    def _history_changed(self, _: str) -> None:
        if self._caching is not None:
            self._caching.shared.views.forget_all()
            self._outbox.reconnect()

    @property
    def now(self) -> float:
        return self._outside.loop.now

    def applied(self, key: Key) -> int:
        """The newest version of the key that was invalidated in the Redis that this process reads."""
        return 0 if self.redis is None else self.oracle.applied(self.redis, key)

    def loaded(self, key: Key, began: float) -> None:
        """L1 may have what a load brought that began then. From a Redis that is no master it may be anything."""
        self.heard.loaded(key, began)
        if self.redis is not None and self.redis.replica:
            self.heard.versions.pop(key, None)

    @property
    def caching(self) -> Caching:
        assert self._caching is not None
        return self._caching

    async def read(self, owner: str, ids: Sequence[int]) -> dict[int, int | None]:
        """The version of each, as a repository reads: L1 at once, then the tiers."""
        access = self.access[owner]
        found: dict[int, int | None] = {}
        if len(ids) == 1:
            cell = access.near(ids[0])
            if cell is not None:
                version = version_of(cell)
                self.oracle.served_near(self.owner.name, (owner, ids[0]), version, self.heard)
                return {ids[0]: version}
        cells = await access.cells(ids)
        for id, cell in cells.items():
            found[id] = version_of(cell)
        return found

    async def connection(self) -> Connection:
        """Of the primary's, for a transaction."""
        connection: Any = await self.topology.write_engine.connect()
        found: Connection = connection
        return found

    def transaction_of(self, connection: Any) -> Transaction:
        return self.watch.transaction_of(connection)

    async def commit(self, connection: Connection, written: dict[Key, int]) -> None:
        """Raises what the driver raises; then it may have committed or not."""
        engine: Any = self.topology.write_engine.sync_engine

        def commit() -> None:
            engine.dispatch.commit(Sync(connection))
            engine.dialect.do_commit(connection)

        await greenlet_spawn(commit)
        self.heard.wrote(written, self.now)

    async def roll_back(self, connection: Connection) -> None:
        dialect: Any = self.topology.write_engine.sync_engine.dialect
        await greenlet_spawn(dialect.do_rollback, connection)

    def touch(self, connection: Connection, keys: Sequence[Key], whole: str) -> None:
        """`whole`: an owner all of whose keys are said to have changed, or nothing."""
        changes: Any = self.transaction_of(connection).changes
        for key in keys:
            changes.touch(key[0], [text_of(key)])
        if whole:
            changes.touch(whole, None)
