"""One service process: the library wired as `Database` wires it, over simulated servers, and
watched.

Owns start, stop and the requests that it answers. What is right is `oracle`'s.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Column, MetaData, Select, Table
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.util import greenlet_spawn

from proof.simulation.answers import judge
from proof.simulation.columns import Asked, selects_of
from proof.simulation.connections import Connection, Sync
from proof.simulation.engines import Nodes
from proof.simulation.loop import Loop, Owner
from proof.simulation.network import WORLDS
from proof.simulation.oracle import Heard, Oracle, text_of
from proof.simulation.redis import Redis
from proof.simulation.selecting import ENTRIES, Mapped, Selecting
from proof.simulation.server import Key
from proof.simulation.watched import (
    JOINED,
    Found,
    Hears,
    Versions,
    WatchedCache,
    no_load,
    version_of,
)
from repocache.background.home import Home
from repocache.cache.entry import Load, Row, RowRequest, Source
from repocache.cache.freshness import ALWAYS_FRESH, Freshness
from repocache.cache.inflight import InflightLoad
from repocache.cache.policies import CacheAside, Policy, WriteThrough
from repocache.cache.switch import CacheMode
from repocache.cache.values import Values
from repocache.errors import CodecError
from repocache.invalidation.bus import nobody
from repocache.invalidation.feed import Audience, Feed
from repocache.invalidation.outbox import OutboxMode
from repocache.invalidation.registered_tags import CommittedTags
from repocache.keys import KeyOwner, Keys, KeySpace
from repocache.nodes.topology import Topology
from repocache.publication.publisher import CommitPublisher, Lives
from repocache.publication.write_through import WriteThroughHook, WriteThroughOwner
from repocache.records import Registrations
from repocache.redis_link import Address
from repocache.repository.access import CachedAccess, NodeAccess
from repocache.repository.rows import Nodes as RowNodes
from repocache.repository.rows import Rows
from repocache.routing import routing
from repocache.routing.routing import Routing, Stickiness
from repocache.routing.seen import SeenTransactions
from repocache.runtime.cache import RunningCache, open_cache
from repocache.runtime.outbox import NoOutbox, open_outbox
from repocache.runtime.primary_wal import PrimaryWal
from repocache.settings import Settings
from repocache.tags import tag_owner
from repocache.tracking.owners import Owned
from repocache.tracking.tables import OwnedTables
from repocache.transactions.changes import Changes
from repocache.transactions.commit_watch import CommitWatch
from repocache.transactions.transaction import Transaction

OWNERS = ("item", "note", "price")
"""Under cache-aside, write-through and strict write-through."""
NUDGED = 0.001
"""Seconds after which a push that was lost has been followed by another."""
FEED_ROOM = 100
"""Changes that wait for a slow consumer."""
ADDRESS = Address.parse("redis://redis")
PRIMARY, *REPLICAS = (f"postgresql+asyncpg://app@{host}/app" for host in ("primary", "r1", "r2"))


@dataclass(frozen=True, slots=True)
class Outside:
    """What a process finds in its world. `hear`: all that listen to a Redis have heard these
    versions, once they have heard what was said before."""

    loop: Loop
    oracle: Oracle
    nodes: Nodes
    hear: Callable[[Redis, dict[Key, int]], None]


@dataclass(frozen=True, slots=True)
class Release:
    """What a process was made with beside its settings: which repositories, and how long these keep
    rows (seconds). `columns`: those that it knows of its tables, where it caches selects.
    `freshness`: of items."""

    owners: tuple[str, ...] = OWNERS
    ttl: float = 120.0
    local_ttl: float = 120.0
    columns: tuple[str, ...] = ()
    freshness: Freshness = ALWAYS_FRESH


class Service:
    """`owner`: dead after a crash. `redis`: to whom its connection leads, set by the world. `past`:
    key -> when it was last asked of any node, past the cache. `by_redis`: loads that Redis
    answered. `ups`: how often the channel was up."""

    def __init__(
        self, owner: Owner, outside: Outside, settings: Settings, release: Release
    ) -> None:
        self.owner = owner
        self.oracle = outside.oracle
        self.context = owner.context
        self.redis: Redis | None = None
        self.heard = Heard()
        self.began: dict[InflightLoad, tuple[int, float]] = {}
        self.access: dict[str, CachedAccess[Any]] = {}
        self.caches: dict[str, WatchedCache] = {}
        self.past: dict[Key, float] = {}
        self.by_redis: set[InflightLoad] = set()
        self.ups = 0
        self.running = False
        self.nodes = outside.nodes
        self.settings = settings
        self.release = release
        self._outside = outside
        self._home = Home()
        self._stack = AsyncExitStack()
        self.selecting = Selecting(release.owners, release.columns) if release.columns else None

    async def start(self) -> None:
        """As `Database._start`. Raises DatabaseUnavailable."""
        self._home.enter()
        settings, stack, selecting = self.settings, self._stack, self.selecting
        topology = Topology(
            PRIMARY, REPLICAS, settings.topology, settings.observe, self._outside.nodes.engine
        )
        fresh = self.release.freshness
        longest = self.release.ttl + fresh.beyond + self.release.local_ttl
        asides = {"item": fresh.fail_safe} if fresh.fail_safe else {}
        longest = routing.last_fill(longest, settings.cache.lease, settings.topology.staleness)
        longest = max(settings.window, settings.uncovered, longest)
        stickiness = Stickiness(settings.window, longest, settings.monotonic)
        topology.on_history(self._history_changed)
        self.topology, self.routing = topology, Routing(topology, stickiness, settings.observe)
        keys = [Keys(KeyOwner(owner), (int,)) for owner in self.release.owners]
        self._keys = {each.prefix: each for each in keys}
        primary_wal = PrimaryWal(topology)
        self._caching: RunningCache | None = None
        await stack.enter_async_context(topology)
        self._outbox = outbox = await stack.enter_async_context(self._durable(keys))
        cache = await stack.enter_async_context(
            open_cache(
                settings,
                ADDRESS,
                KeySpace([*keys, *(selecting.keys if selecting else ())]),
                primary_wal,
                strict=True,
                tags=self._committed_tags,
                asides=asides,
                recovered=outbox.wake,
                delivered=nobody,
                grace=topology.grace,
            )
        )
        self._caching = cache
        stack.callback(self._end_feeds)
        cache.receivers.append(Hears(self))
        lives = Lives(settings.window, stickiness.uncovered, topology.now, asides)
        through = [
            self._through(each) for each in keys if self._policy(each.prefix).stores_on_commit
        ]
        hook = WriteThroughHook(
            through,
            primary_wal.lineage,
            records=cache.shared.records,
            views=cache.shared.views,
            nonces=cache.nonces,
            evicts=cache.evicts,
            deadline=settings.publish_timeout,
            spawn=cache.tasks.spawn,
            observe=settings.observe,
        )
        commits = CommitPublisher(
            bus=cache.bus,
            tags=cache.tags,
            retry=cache.retry,
            views=cache.shared.views,
            primary=primary_wal,
            lives=lives,
            outbox=outbox,
            write_through=hook,
            in_front=(),
            spawn=cache.tasks.spawn,
            observe=settings.observe,
        )
        outbox.relay_beside(cache.tasks.keep, cache.retry.deliver)
        self.watch = CommitWatch(topology.write_engine, commits, cache.tasks.spawn_to_end, Changes)
        stack.callback(SeenTransactions(topology.write_engine, self.routing, topology).stop)
        stack.push_async_callback(self.watch.close, topology.grace)
        if selecting is not None:
            selecting.owned(keys)
            selecting.open(self, cache, self.release.ttl, self.release.local_ttl)
        for each in keys:
            self.access[each.prefix] = self._access(each, cache)
        self.running = True

    def _committed_tags(self, records: Registrations) -> CommittedTags | None:
        return None if self.selecting is None else self.selecting.committed(self, records)

    def _durable(self, keys: Sequence[Keys]) -> AbstractAsyncContextManager[NoOutbox]:
        if self.settings.outbox is OutboxMode.OFF:
            return nullcontext(NoOutbox())
        if self.selecting is not None:
            return open_outbox(
                self.topology.outbox_engine(),
                self.settings,
                self.selecting.owned(keys),
                self.topology.grace,
            )
        metadata = MetaData()
        tables = [
            Table(each.prefix, metadata, Column("id", BigInteger, primary_key=True))
            for each in keys
        ]
        owned = [
            Owned(each, {table: (table.c.id,)}) for each, table in zip(keys, tables, strict=True)
        ]
        tables_owned = OwnedTables(owned, tables)
        return open_outbox(
            self.topology.outbox_engine(), self.settings, tables_owned, self.topology.grace
        )

    def _access(self, keys: Keys, cache: RunningCache) -> CachedAccess[Any]:
        plan: Any = Versions(keys.prefix)
        if self.selecting is not None:
            plan = Mapped(keys.prefix, self.release.columns)
        nodes = RowNodes(self.topology, self.routing, self.settings.observe)
        policy = self._policy(keys.prefix)
        rows: Rows[Any] = Rows(
            plan, plan, nodes, keys.prefix, strict=not policy.fills_from_replicas
        )
        load = self._loading(keys.prefix, rows.load)
        source = Source(keys, "v", policy, plan, load, plan.id_of_row)
        watched = WatchedCache(source, cache, self)
        self.caches[keys.prefix] = watched
        if self.selecting is not None:
            return self.selecting.access(keys.prefix, rows, watched)
        return CachedAccess(rows, watched, lambda *_: None, monotonic=self.settings.monotonic)

    def _loading(self, owner: str, load: Load) -> Load:
        async def loading(wanted: Sequence[RowRequest]) -> Mapping[Any, Row | CodecError]:
            self.past.update(((owner, want.id), self.now) for want in wanted if want.floor == 0)
            return await load(wanted)

        return loading

    def _policy(self, owner: str) -> Policy:
        ttl, local = self.release.ttl, self.release.local_ttl
        if owner == "item":
            fresh = self.release.freshness
            return CacheAside(ttl=ttl, local_ttl=local, negative_ttl=ttl / 2, freshness=fresh)
        return WriteThrough(ttl=ttl, local_ttl=local, negative_ttl=ttl / 2, strict=owner == "price")

    def _through(self, keys: Keys) -> WriteThroughOwner:
        plan: Any = Versions(keys.prefix)
        policy = self._policy(keys.prefix)
        values = Values(
            Source(keys, "v", policy, plan, no_load, plan.id_of_row), 1000, self.settings.observe
        )
        return WriteThroughOwner(
            keys,
            "v",
            plan,
            plan.row,
            plan.id_of_row,
            values,
            stores=True,
            strict=policy.holds_readers_back,
        )

    async def stop(self) -> None:
        self.running = False
        await self._stack.aclose()

    def _history_changed(self, _: str) -> None:
        if self._caching is not None:
            self._caching.channel.new_history()
            self._outbox.reconnect()

    @property
    def now(self) -> float:
        return self._outside.loop.now

    def applied(self, key: Key) -> int:
        """The newest version of the key that was invalidated in the Redis that this process
        reads."""
        return 0 if self.redis is None else self.oracle.applied(self.redis, key)

    @property
    def astray(self) -> bool:
        """Whether it is with a primary that was replaced: what it caches is nobody else's, and of
        that one."""
        return self.topology.history in self.oracle.parted

    def served_far(self, key: Key, version: int | None, need: int) -> None:
        """Redis has answered. `need`: what was applied there before the read began."""
        if not self.astray:
            self.oracle.served_far(self.owner.name, key, version, need)

    def loaded(self, key: Key, began: float) -> None:
        """L1 may have what a load brought that began then. From a Redis that is no master it may be
        anything."""
        self.heard.loaded(key, began)
        if self.redis is not None and self.redis.replica:
            self.heard.versions.pop(key, None)

    @property
    def caching(self) -> RunningCache:
        assert self._caching is not None
        return self._caching

    async def read(self, owner: str, ids: Sequence[int], *, entity: bool = False) -> Found:
        """The version of each, as a repository reads: L1 at once, then the tiers. `entity`: as
        `get` does, of one."""
        access = self.access[owner]
        found, ups, began, astray = Found(), self.ups, self.now, self.astray
        if len(ids) == 1:
            cell = access.peek(ids[0])
            if cell is not None:
                version = version_of(cell)
                if not self.astray:
                    self.oracle.served_near(self.owner.name, (owner, ids[0]), version, self.heard)
                found[ids[0]] = version
                return found
        told = JOINED.set(found.joined)
        try:
            if entity:
                row = await access.entity(ids[0])
                found[ids[0]] = None if row is None else row[1]
            else:
                for id, cell in (await access.cached_rows(ids)).items():
                    found[id] = version_of(cell)
        finally:
            JOINED.reset(told)
        if ups == self.ups and self.caching.shared.views.alive and not astray:
            self._judge_joined(owner, found, began)
        return found

    def _judge_joined(self, owner: str, found: Found, began: float) -> None:
        """Who would use the cache gets nothing older than what was applied here before he came, of
        another's load either; unless that one found no Redis, or no primary, and went past the
        cache because of it."""
        for (_, id), joined in found.joined.items():
            counts = joined.goes_past or self.past.get((owner, id), -1.0) < began
            # What Redis answered is held against what that Redis had heard of, and against nothing
            # else.
            if joined.need is not None and counts and joined.flight not in self.by_redis:
                self.oracle.served_joined(self.owner.name, (owner, id), found[id], joined.need)

    async def select(self, asked: Asked) -> tuple[list[Any], bool]:
        """Through the cache: rows of ids and versions, or a count; and whether there was an entry
        for it."""
        selecting, access, heard = self.selecting, self.access[asked.owner], self.heard
        assert selecting is not None
        names, statement = selecting.names(asked), asked.statement(self.release.columns)
        keys = self.oracle.keys_of(asked.owner)
        needs, astray = {key: heard.told(names, key[1]) for key in keys}, self.astray
        entries = ENTRIES.set([])
        try:
            if asked.kind == "ids":
                found = list(await access.select(statement))
            else:
                found = list(await access.rows(statement))
            read = ENTRIES.get() or ()
        finally:
            ENTRIES.reset(entries)
        for sure, rows in read if not (astray or self.astray) else ():
            if sure:
                judge(self.oracle, f"{self.owner.name} from an entry", asked, rows, needs)
        return found, bool(read)

    def selects(self, owner: str) -> Sequence[Asked]:
        """Those that its release runs."""
        columns = self.release.columns
        return selects_of(owner, columns) if columns else ()

    def is_astray(self, asked: Asked) -> bool:
        """Only a deposed Redis has heard the last that was told of the answer."""
        assert self.selecting is not None
        names = self.selecting.names(asked)
        keys = self.oracle.keys_of(asked.owner)
        return any((name, key[1]) in self.oracle.astray for name in names for key in keys)

    def told(self, versions: dict[Key, int]) -> None:
        """Its commit has told all that there is to tell."""
        redis = self.redis
        if self.selecting is None or redis is None or redis.deposed or redis.replica:
            return
        whole = self.oracle.published(redis, versions)
        self._outside.loop.call_later(NUDGED, self._outside.hear, redis, whole, context=WORLDS)

    async def find(self, owner: str, ids: Sequence[int]) -> Found:
        """Past the cache, as any select."""
        found = Found(dict.fromkeys(ids))
        for row in await NodeAccess.select(self.access[owner], self.statement(owner, ids)):
            found[row[0]] = row[1]
        return found

    def statement(self, owner: str, ids: Sequence[int]) -> Select[Any]:
        """A select that the simulated database understands."""
        return self.access[owner].all_rows.execution_options(keys=[(owner, id) for id in ids])

    def snapshot(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """As `Database.snapshot`."""
        return self.routing.snapshot()

    def invalidations(self, owner: str) -> Feed[int]:
        """As `Database.invalidations`."""
        window, now = self.settings.window, self.topology.now
        audience = Audience(self.caching.receivers, self._home, lambda: self.topology.history)
        return Feed(self._keys[owner], audience, room=FEED_ROOM, window=window, clock=now)

    def _end_feeds(self) -> None:
        for receiver in tuple(self.caching.receivers):
            if isinstance(receiver, Feed):
                receiver.end()

    def turn(self, owner: str, mode: CacheMode) -> None:
        """As `Database.switch`."""
        self.caches[owner].turn(mode)

    @asynccontextmanager
    async def work(self) -> AsyncIterator[Connection]:
        """One transaction on the primary, as a unit of work or a plain session has it: rolled back
        where the block does not commit it."""
        connection = await self.connection()
        try:
            yield connection
            if not connection.ended:
                await self.roll_back(connection)
        finally:
            await connection.close()

    async def connection(self) -> Connection:
        """Of the primary's, for a transaction."""
        connection: Any = await self.topology.write_engine.connect()
        found: Connection = connection
        engine: Any = self.topology.write_engine.sync_engine
        engine.dispatch.begin(Sync(found))
        return found

    def transaction_of(self, connection: Any) -> Transaction:
        return self.watch.transaction_of(connection)

    async def commit(self, connection: Connection, written: dict[Key, int]) -> None:
        """Raises what the driver raises; then it may have committed or not."""
        engine: Any = self.topology.write_engine.sync_engine
        redis, transaction = self.redis, self.transaction_of(connection)
        changes: Any = transaction.changes

        def commit() -> None:
            engine.dispatch.commit(Sync(connection))
            engine.dialect.do_commit(connection)

        await greenlet_spawn(commit)
        self.heard.wrote(written, self.now)
        mark = transaction.bookmark
        if mark is not None and mark.covered and self.redis is redis:
            keys, whole = changes.owners
            self.told(
                {
                    key: version
                    for key, version in written.items()
                    if key[0] in whole or text_of(key) in keys.get(key[0], ())
                }
            )

    async def roll_back(self, connection: Connection) -> None:
        engine: Any = self.topology.write_engine.sync_engine

        def roll_back() -> None:
            engine.dispatch.rollback(Sync(connection))
            engine.dialect.do_rollback(connection)

        await greenlet_spawn(roll_back)

    def touch(self, connection: Connection, keys: Sequence[Key], whole: str) -> None:
        """`whole`: an owner all of whose keys are said to have changed, or nothing."""
        changes: Any = self.transaction_of(connection).changes
        if self.selecting is not None:
            written = connection.written
            for key in keys:
                self.selecting.touch(changes, key, connection.locked[key], written[key])
        for key in keys:
            changes.touch(key[0], [text_of(key)])
        if whole:
            changes.touch(whole, None)
            if self.selecting is not None:
                changes.touch(tag_owner("public", whole).prefix, None)
