"""Every rule's switch: inside `with rule_off("lease"):` the library lives without that rule, and
with all others.

A switch replaces the smallest piece in which its rule stands, for databases that are opened inside
the block.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from sqlalchemy import Connection, event, inspect
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import ORMExecuteState, Session
from sqlalchemy.pool import PoolProxiedConnection
from sqlalchemy.util import await_only, greenlet_spawn

from repocache.bookmark import Bookmark, Seen
from repocache.cache import belief as belief_of
from repocache.cache import bucket_views, loader
from repocache.cache.belief import At, Before, Belief, BucketView, Heard, Taken
from repocache.cache.bucket_views import BucketViews
from repocache.cache.entry import CachedRow
from repocache.cache.histories import Histories
from repocache.cache.inflight import InflightLoad
from repocache.cache.loader import Group, Loader
from repocache.cache.policies import WriteThrough
from repocache.cache.tiered import TieredCache
from repocache.errors import CodecError
from repocache.events import GapSeen
from repocache.keys import BUCKETS
from repocache.mapping import plan
from repocache.nodes.reading import NodeRead, NodeReader
from repocache.nodes.replica import ReplicaNode
from repocache.nodes.selection import ReadRequirement, satisfies
from repocache.nodes.shared_poll import SharedPoll
from repocache.nodes.wal import PrimaryIdentity
from repocache.publication.publisher import CommitPublisher
from repocache.publication.write_through import WriteThroughHook, WriteThroughOwner
from repocache.records import Namespace, Nonces, OpenReply, RedisRecords
from repocache.records import redis as redis_records
from repocache.records.message import Message
from repocache.redis_link import Identity, Link, Reply
from repocache.redis_link.connection import Connection as WireConnection
from repocache.redis_link.script import Script
from repocache.repository import rows
from repocache.routing.routing import Route, need_of
from repocache.runtime.primary_wal import PrimaryWal
from repocache.tracking.asking import Asked as AskedOfDatabase
from repocache.transactions import commit_watch
from repocache.transactions.changes import Changes
from repocache.transactions.commit_watch import CommitWatch
from repocache.transactions.tracked_session import TrackedSession
from repocache.transactions.transaction import Outcome, Transaction

SWITCHES: dict[str, Callable[[], AbstractContextManager[None]]] = {}


def rule_off(name: str) -> AbstractContextManager[None]:
    """Live without the rule inside the block. Raises KeyError for a name that is no rule's."""
    return SWITCHES[name]()


def _switch(name: str) -> Callable[[Callable[[], Iterator[None]]], Callable[[], Iterator[None]]]:
    def register(off: Callable[[], Iterator[None]]) -> Callable[[], Iterator[None]]:
        SWITCHES[name] = contextmanager(off)
        return off

    return register


@contextmanager
def _script(name: str, *changes: tuple[str, str]) -> Iterator[None]:
    """Run another text in place of a script, and of the same for many keys. Each piece that is
    replaced must be there."""
    with ExitStack() as stack:
        for each in (name, f"{name}_MANY"):
            script: Script | None = getattr(redis_records, each, None)
            if script is None:
                continue
            source = script.source
            for old, new in changes:
                assert old in source, f"{each} has no {old!r} any more: the switch is out of date"
                source = source.replace(old, new)
            stack.enter_context(patch.object(redis_records, each, Script(source)))
        yield


@_switch("lease")
def _lease() -> Iterator[None]:
    """Any fill lands."""
    unlike = (
        "if redis.pcall('STRLEN', held) ~= #ARGV[8] + 1",
        "if redis.call('GET', held) ~= 'L' .. ARGV[8]",
    )
    with _script("FILL", *((f"{condition} then return 0 end", "") for condition in unlike)):
        yield


@_switch("nonce")
def _nonce() -> Iterator[None]:
    """All leases are alike."""
    with _script(
        "OPEN",
        ("'L' .. ARGV[10]", "'Lsame'"),
        ("answer('lease', ARGV[10])", "answer('lease', 'same')"),
    ):
        yield


@_switch("nonce per lease")
def _nonce_per_lease() -> Iterator[None]:
    """A process holds leases under its own id, the first 16 characters of its nonces."""
    process = "string.sub(ARGV[10], 1, 16)"
    changes = (
        ("'L' .. ARGV[10]", f"'L' .. {process}"),
        ("answer('lease', ARGV[10])", f"answer('lease', {process})"),
    )
    with _script("OPEN", *changes):
        yield


@_switch("generation")
def _generation() -> Iterator[None]:
    """A fill lands under the generation of its lease, also after a bulk change."""
    with _script("FILL", ("(own[4] or own[1]) ~= ARGV[4] or ", "")):
        yield


@_switch("incarnation")
def _incarnation() -> Iterator[None]:
    """A record made anew is called as the one before."""
    renamed = ("incarnation = ARGV[4], seq = '0'", "incarnation = 'same', seq = '0'")
    with _script("OPEN", renamed), _script("INVALIDATE", renamed):
        yield


@_switch("unknown")
def _unknown() -> Iterator[None]:
    """A record made anew has a floor at once: any replica has replayed it."""
    known = (
        "if highest then redis.call('HSET', key, 'm', highest) end",
        "rec.floor = string.rep('0', 16) redis.call('HSET', key, 'f', rec.floor)",
    )
    with _script("OPEN", known), _script("INVALIDATE", known):
        yield


@_switch("server")
def _server() -> Iterator[None]:
    """Every Redis has the same identity."""
    original = RedisRecords.__init__

    def init(
        self: RedisRecords,
        link: Link,
        space: Namespace,
        nonces: Nonces,
        *others: Any,
        max_value: int,
    ) -> None:
        signature, _ = others
        original(
            self,
            link,
            space,
            nonces,
            signature,
            SimpleNamespace(server="redis"),
            max_value=max_value,
        )

    with patch.object(RedisRecords, "__init__", init):
        yield


@_switch("replication id")
def _replication_id() -> Iterator[None]:
    """A Redis is its process, whatever it was meanwhile."""
    with patch.object(Identity, "__str__", lambda self: self.run_id):
        yield


@_switch("pulse")
def _pulse() -> Iterator[None]:
    """Nobody asks a Redis twice who it is."""
    with patch.object(Identity, "why_changed", lambda *_: ""):
        yield


@_switch("own record")
def _own_record() -> Iterator[None]:
    """A session takes a value from whatever record Redis has."""
    with patch.object(Bookmark, "known_to", lambda *_: True):
        yield


@_switch("floor")
def _floor() -> Iterator[None]:
    """A fill reads any replica."""

    def need(
        floor: int | None, bookmark: Bookmark | None, history: str, route: Route
    ) -> ReadRequirement:
        return need_of(0, bookmark, history, route)

    with patch.object(rows, "need_of", need):
        yield


@_switch("owner's floor")
def _owners_floor() -> Iterator[None]:
    """A fill needs what the bucket's record says, whatever the owner's."""
    with patch.object(OpenReply, "needed", property(lambda self: self.floor)):
        yield


@_switch("owner told")
def _owner_told() -> Iterator[None]:
    """A key's message tells of its bucket alone."""
    with patch.object(BucketViews, "_told", lambda *_: None):
        yield


@_switch("owner's record")
def _owners_record() -> Iterator[None]:
    """A session remembers which keys it wrote, and no owner that it wrote as a whole."""

    def of_keys(self: Bookmark) -> dict[int, Seen]:
        return {bucket: seen for bucket, seen in (self.wrote or {}).items() if bucket < BUCKETS}

    with patch.object(Bookmark, "buckets", property(of_keys)):
        yield


@_switch("order")
def _order() -> Iterator[None]:
    """A put lands whenever it comes."""
    own = ("inorder and own.floor and order >= own.floor", "inorder")
    with _script("INVALIDATE", (" and rec.floor and order >= rec.floor", ""), own):
        yield


@_switch("late put")
def _late_put() -> Iterator[None]:
    """A bulk change moves a generation and no floor, and a put takes the generation that it
    finds."""
    with _script(
        "INVALIDATE",
        ("elseif position ~= '' then", "elseif position ~= '' and ARGV[12] ~= '0' then"),
        ("ARGV[at + 2], ARGV[at + 4]\n", "ARGV[at + 2], owners[ARGV[at]].generation\n"),
    ):
        yield


@_switch("write lease")
def _write_lease() -> Iterator[None]:
    """Readers do not look for write leases."""
    with _script("OPEN", ("if hidden then", "if false then")):
        yield


@_switch("others' write leases")
def _others_write_leases() -> Iterator[None]:
    """An invalidation takes all that a key has."""
    leases = "  at = at + 2\nend\nfor _ = 1, tonumber(ARGV[13])"
    with _script(
        "INVALIDATE", (leases, "  redis.call('DEL', KEYS[1] .. ':W:' .. ARGV[at + 1])\n" + leases)
    ):
        yield


@_switch("own write lease")
def _own_write_lease() -> Iterator[None]:
    """A strict put lands whoever holds the key, and replaces what was there."""
    with _script(
        "INVALIDATE",
        (" and mine == strict and held == strict", ""),
        ("    landed = landed + 1", "    landed = landed + 1 redis.call('DEL', writes)"),
    ):
        yield


@_switch("in progress")
def _in_progress() -> Iterator[None]:
    """A write lease past its deadline is over."""

    async def no(*_: object) -> bool:
        return False

    with patch.object(PrimaryWal, "in_progress", no):
        yield


@_switch("strict primary")
def _strict_primary() -> Iterator[None]:
    """Strict owners are filled by any node that has replayed the floor."""
    with patch.object(WriteThrough, "fills_from_replicas", property(_yes)):
        yield


@_switch("read leases")
def _read_leases() -> Iterator[None]:
    """A write lease leaves what lies under its key."""
    with _script("INTEND", ("redis.call('DEL'", "redis.call('EXISTS'")):
        yield


@_switch("by script")
def _by_script() -> Iterator[None]:
    """Strict values are read by their names."""
    with patch.object(WriteThrough, "reads_by_name", property(_yes)):
        yield


@_switch("sent")
def _sent() -> Iterator[None]:
    """Any load of a strict owner is shared as others are."""
    with patch.object(InflightLoad, "sent", property(_no, lambda *_: None)):
        yield


@_switch("as stored")
def _as_stored() -> Iterator[None]:
    """A put is made of the object in memory."""
    flushed: dict[str, tuple[Any, ...]] = {}

    def remember(session: Session, *_: object) -> None:
        for each in session.dirty:
            state = inspect(each)
            values = [state.dict.get(attribute.key) for attribute in state.mapper.column_attrs]
            flushed[f"{state.mapper.local_table.name}:{each.id}"] = tuple(values)

    def rows_in_memory(
        _: WriteThroughHook, __: Connection, owner: WriteThroughOwner, texts: Sequence[str]
    ) -> Any:
        return [
            (owner.keys.prefix, text, *owner.values.encode(text, flushed[text])) for text in texts
        ]

    with (
        _heard(TrackedSession, "before_flush", remember),
        patch.object(WriteThroughHook, "_rows", rows_in_memory),
    ):
        yield


@_switch("settle")
def _settle() -> Iterator[None]:
    """Whoever asks for a position is answered by a poll that is already in flight."""
    original = SharedPoll.ask

    def ask(self: SharedPoll[Any]) -> Any:
        asked = original(self)
        self._answering.append(asked)
        return asked

    with patch.object(SharedPoll, "ask", ask):
        yield


@_switch("sample")
def _sample() -> Iterator[None]:
    """A sample outlives the connections to its server."""

    async def is_elsewhere(*_: object) -> bool:
        return False

    with (
        patch.object(ReplicaNode, "forget", lambda _: None),
        patch.object(ReplicaNode, "_is_elsewhere", is_elsewhere),
    ):
        yield


@_switch("inorder")
def _inorder() -> Iterator[None]:
    """What arrived between a reply and the store does not keep the value out of L1."""
    original_end, original_hit = Loader._end, TieredCache._hit

    def end(self: Loader, load: InflightLoad, *, landed: bool) -> None:
        load.invalidated_since_fill = False
        original_end(self, load, landed=landed)

    def hit(self: TieredCache, asked: InflightLoad, value: bytes | None) -> CachedRow | None:
        asked.invalidations = sum(view.invalidations for view in asked.views if view is not None)
        return original_hit(self, asked, value)

    with patch.object(Loader, "_end", end), patch.object(TieredCache, "_hit", hit):
        yield


@_switch("landed")
def _landed() -> Iterator[None]:
    """L1 keeps what L2 refused."""
    original = Loader._end

    def end(self: Loader, load: InflightLoad, *, landed: bool) -> None:
        original(self, load, landed=True)

    with patch.object(Loader, "_end", end):
        yield


@_switch("waited")
def _waited() -> Iterator[None]:
    """A reader that waited for another's lease in vain keeps its row in L1, as if it had filled."""
    original = Loader._read

    async def read(self: Loader, group: Group) -> None:
        wanted = group.wanted
        if not wanted or group.leased or any(load.direct for load, _ in wanted):
            return await original(self, group)
        found = await self._source.load([want for _, want in wanted])
        for flight, want in wanted:
            row = found.get(want.id)
            assert not isinstance(row, CodecError)
            self._answer(flight, CachedRow(row), "database")
            flight.invalidated_since_fill = False
            self._end(flight, landed=True)

    with patch.object(Loader, "_read", read):
        yield


@_switch("counters")
def _counters() -> Iterator[None]:
    """A gap clears L1 and lets loads in flight go on as if nothing had happened."""
    original, original_give_up = Loader._end, BucketViews._give_up

    def give_up(self: BucketViews, bucket: int, why: str) -> None:
        if bucket < BUCKETS:
            self._observe(GapSeen(bucket, why))
            self._local.clear_bucket(bucket)
        else:
            original_give_up(self, bucket, why)

    def end(self: Loader, load: InflightLoad, *, landed: bool) -> None:
        load.views = self._views.get(load.bucket), self._views.get(load.own)
        original(self, load, landed=landed)

    with (
        patch.object(BucketViews, "_give_up", give_up),
        patch.object(Loader, "_end", end),
    ):
        yield


@_switch("own writes")
def _own_writes() -> Iterator[None]:
    """A commit reaches this process by the channel only."""
    with patch.object(BucketViews, "wrote", lambda *_, **__: None):
        yield


@_switch("bookmark")
def _bookmark() -> Iterator[None]:
    """Bookmarks bound neither L1 hits nor replica reads."""

    def need(
        floor: int | None, bookmark: Bookmark | None, history: str, route: Route, *client: object
    ) -> ReadRequirement:
        return need_of(floor, None, history, route, *client)

    with ExitStack() as stack:
        stack.enter_context(patch.object(BucketViews, "covers", lambda *_: True))
        stack.enter_context(patch.object(rows, "need_of", need))
        stack.enter_context(patch("repocache.routing.routing.need_of", need))
        yield


@_switch("join")
def _join() -> Iterator[None]:
    """Any load in flight is shared."""
    with patch.object(loader, "may_join", lambda *_, **__: True):
        yield


@_switch("epochs")
def _epochs() -> Iterator[None]:
    """A process makes records of another history anew as often as it meets them."""
    with patch.object(Histories, "may_replace", lambda *_: True):
        yield


@_switch("position first")
def _position_first() -> Iterator[None]:
    """A replica's row counts if its position, read no earlier than the row, is enough."""
    original = NodeReader.read

    async def read(
        self: NodeReader, need: ReadRequirement, run: Callable[[AsyncConnection], Awaitable[Any]]
    ) -> NodeRead[Any]:
        if need.primary or not need.position:
            return await original(self, need, run)
        brought = await original(self, replace(need, position=0), run)
        samples = [await node.poll.ask() for node in self._replicas if node.name == brought.node]
        if any(satisfies(sample, need, time.monotonic()) for sample in samples):
            return brought
        return await original(self, need, run)

    with patch.object(NodeReader, "read", read):
        yield


@_switch("primary only")
def _primary_only() -> Iterator[None]:
    """Unlogged tables are read like all others."""
    said, asked = (
        patch.object(plan, "says_primary_only", _no),
        patch.object(rows, "is_primary_only", _no),
    )
    with said, asked:
        yield


def _yes(_: object) -> bool:
    return True


def _no(_: object) -> bool:
    return False


@_switch("postcommit")
def _postcommit() -> Iterator[None]:
    """The position is noted inside the transaction, right before COMMIT."""
    original = CommitPublisher.seal

    async def seal(
        self: CommitPublisher, connection: PoolProxiedConnection, transaction: Transaction
    ) -> None:
        await original(self, connection, transaction)
        transaction.order = await greenlet_spawn(_insert_position, connection)

    def position(
        self: CommitPublisher, transaction: Transaction, _: object
    ) -> tuple[str, int | None]:
        return self._line.history, transaction.order

    with (
        patch.object(CommitPublisher, "seal", seal),
        patch.object(CommitPublisher, "_position", position),
    ):
        yield


def _insert_position(connection: PoolProxiedConnection) -> int:
    cursor = connection.cursor()
    cursor.execute("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint")
    row = cursor.fetchone()
    cursor.close()
    assert row is not None
    return int(row[0])


@_switch("outermost")
def _outermost() -> Iterator[None]:
    """A session publishes when it commits, whether or not the connection does."""

    def publish(session: Session) -> None:
        connection = session.get_bind()
        if isinstance(connection, Connection):
            watch: CommitWatch = connection.dialect.do_commit.__self__  # type: ignore[attr-defined]
            transaction = watch.transaction_of(connection)
            await_only(watch._hooks.committed(transaction, Outcome.COMMITTED))
            transaction.changes = Changes()

    with _heard(TrackedSession, "after_commit", publish):
        yield


@_switch("autocommit")
def _autocommit() -> Iterator[None]:
    """The primary's connections may be in AUTOCOMMIT."""
    with patch.object(commit_watch, "refuse_autocommit", lambda *_: None):
        yield


@_switch("published again")
def _published_again() -> Iterator[None]:
    """A commit whose outcome is unknown is published once."""

    async def nothing(*_: object) -> None:
        """The first publication was enough."""

    with patch.object(CommitPublisher, "_publish_again", nothing):
        yield


@_switch("as locked")
def _as_locked() -> Iterator[None]:
    """A bulk statement has touched the rows that its session had loaded."""
    loaded: list[tuple[Any, ...]] = []

    def remember(state: ORMExecuteState) -> None:
        loaded[:] = [key[1] for key in list(state.session.identity_map.keys())]

    touched = patch.object(AskedOfDatabase, "ids_of", lambda *_: list(loaded))
    with _heard(TrackedSession, "do_orm_execute", remember), touched:
        yield


@_switch("bare")
def _bare() -> Iterator[None]:
    """Scripts run inside MULTI."""

    async def execute(replies: list[asyncio.Future[Reply]]) -> Reply:
        answers = [await reply for reply in replies]
        return answers[-1][0]

    def run(
        self: WireConnection, script: Script, arguments: tuple[Any, ...]
    ) -> asyncio.Future[Reply]:
        commands = (("MULTI",), ("EVAL", script.source, *arguments), ("EXEC",))
        return asyncio.ensure_future(execute([self.send(command) for command in commands]))

    with patch.object(WireConnection, "run", run):
        yield


@contextmanager
def _heard_message(more: Callable[[BucketViews, Message], None]) -> Iterator[None]:
    original = BucketViews.apply

    def apply(self: BucketViews, message: Message) -> None:
        original(self, message)
        more(self, message)

    with patch.object(BucketViews, "apply", apply):
        yield


@_switch("told")
def _told() -> Iterator[None]:
    """What was heard vouches for L1 as what was told does."""

    def tell(self: BucketViews, message: Message) -> None:
        view = self.get(message.bucket)
        if view is not None:
            view.told = view.heard

    with _heard_message(tell):
        yield


def _believe_generations(self: BucketViews, message: Message) -> None:
    view = self.get(message.bucket)
    if view is not None:
        view.generations |= {
            owner: name for owner, name in message.generations.items() if owner in self._keys
        }


@_switch("generation asked")
def _generation_asked() -> Iterator[None]:
    """A message tells an owner's generation."""
    with _heard_message(_believe_generations):
        yield


@_switch("answers alone")
def _answers_alone() -> Iterator[None]:
    """A message tells where its record is, whatever was believed."""

    def believe(self: BucketViews, message: Message) -> None:
        if self.get(message.bucket) is None:
            self.beliefs[message.bucket] = BucketView(
                At(message.incarnation, message.seq, message.tip)
            )
        _believe_generations(self, message)

    with _heard_message(believe):
        yield


@_switch("ahead")
def _ahead() -> Iterator[None]:
    """What was heard is right, however much less the record says when it is asked."""

    def take(belief: Belief, asked: Before, at: At) -> Taken:
        return belief_of.take(belief, asked._replace(heard=0), at)

    with patch.object(bucket_views, "take", take):
        yield


@_switch("tips")
def _tips() -> Iterator[None]:
    """A message is known by its number."""

    def tip(belief: Belief, tip: str) -> str:
        return belief.tip if isinstance(belief, BucketView) else tip

    def hear(belief: Belief, at: At, tip_before: str) -> Heard:
        return belief_of.hear(belief, at, tip(belief, tip_before))

    def take(belief: Belief, asked: Before, at: At) -> Taken:
        return belief_of.take(belief, asked, at._replace(tip=tip(belief, at.tip)))

    with patch.object(bucket_views, "hear", hear), patch.object(bucket_views, "take", take):
        yield


@_switch("server process")
def _server_process() -> Iterator[None]:
    """A history is a system and a timeline, whichever server process writes it."""
    with patch.object(
        PrimaryIdentity, "history", property(lambda self: f"{self.system.cluster}.{self.timeline}")
    ):
        yield


@contextmanager
def _heard(target: Any, name: str, hear: Callable[..., None]) -> Iterator[None]:
    event.listen(target, name, hear)
    try:
        yield
    finally:
        event.remove(target, name, hear)
