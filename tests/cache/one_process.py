"""The read path of one process without servers: records in memory, a primary that is told where it
stands, and loads that end when the test says so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from repocache.background.tasks import Grace, Tasks
from repocache.bookmark import Bookmark
from repocache.cache.bucket_views import BucketViews
from repocache.cache.entry import CachedRow, CacheSettings, Row, RowRequest, Source
from repocache.cache.inflight import InflightLoads
from repocache.cache.l1_reader import ReadRecorder
from repocache.cache.local_store import LocalStore
from repocache.cache.policies import CacheAside
from repocache.cache.process_cache import ProcessCache
from repocache.cache.settler import Line, Settler
from repocache.cache.tiered import TieredCache
from repocache.errors import CacheUnavailable, CodecError
from repocache.events import Event
from repocache.keys import KeyOwner, Keys, KeySpace, bucket_of, owner_bucket
from repocache.records import (
    CallerHistory,
    Change,
    Fill,
    Intent,
    IntentReply,
    Lease,
    LookReply,
    MemoryRecords,
    Namespace,
    Nonces,
    OpenReply,
    OpenRequest,
    Receipt,
    Registration,
)

T = TypeVar("T")
E = TypeVar("E", bound=Event)

USERS = Keys(KeyOwner("user"), (int,))
ORDERS = Keys(KeyOwner("order"), (int, int))
NEVER_JITTERED = CacheAside(ttl=300, local_ttl=60, negative_ttl=30, jitter=0)


class Plain:
    """Rows as msgpack. What begins with "bad" is no row of its own."""

    def encode(self, row: Row) -> bytes:
        if row[0] == "cannot be kept":
            raise CodecError("cannot be kept")
        return msgspec.msgpack.encode(row)

    def decode(self, payload: bytes) -> Row:
        try:
            return msgspec.msgpack.decode(payload, type=tuple[Any, ...])
        except msgspec.MsgspecError as error:
            raise CodecError(str(error)) from error


class Call:
    """One load under way."""

    def __init__(self, wanted: Sequence[RowRequest]) -> None:
        self.wanted = tuple(wanted)
        self.answer: asyncio.Future[Mapping[Any, Row]] = asyncio.get_running_loop().create_future()

    @property
    def ids(self) -> list[Any]:
        return [want.id for want in self.wanted]

    def brings(self, *ids: Any) -> None:
        """Rows for these ids, of which the others have none."""
        self.answer.set_result({id: row(id) for id in ids})


def id_of(row: Row) -> Any:
    return row[0] if row else None


def row(id: Any, name: str = "n") -> Row:
    return (id, f"{name}{id}")


class Loads:
    """The database: each call waits for its answer, or all are answered at once if `rows` says with
    what."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.rows: dict[Any, Row] | None = None

    async def __call__(self, wanted: Sequence[RowRequest]) -> Mapping[Any, Row]:
        call = Call(wanted)
        self.calls.append(call)
        if self.rows is not None:
            return {id: self.rows[id] for id in call.ids if id in self.rows}
        return await call.answer


@dataclass
class Standing:
    """A primary that stands where it is told. `polls`: each waits for its outcome if `gated`."""

    history: str = "h1"
    position: int = 100
    gated: bool = False
    away: bool = False
    polls: list[asyncio.Future[None]] = field(default_factory=list)
    met_histories: list[str] = field(default_factory=list)

    @property
    def lineage(self) -> Line:
        """It tells itself."""
        return self

    def writes_with(self, server: object) -> str:
        return self.history

    async def insert_position(self) -> tuple[str, int] | None:
        poll: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.polls.append(poll)
        if self.gated:
            await poll
        return None if self.away else (self.history, self.position)

    async def in_progress(self, xid: str) -> bool:
        return False

    def met(self, history: str) -> None:
        self.met_histories.append(history)


class Away:
    """Records in memory, behind a Redis that may be away: `refuses` names the calls that fail as
    they are sent, `loses` those that fail as they are awaited, with `failure`. What `held` names is
    done at once, and answered only when the test lets it be."""

    def __init__(self, records: MemoryRecords) -> None:
        self.real = records
        self.refuses: set[str] = set()
        self.loses: set[str] = set()
        self.held: set[str] = set()
        self.failure: Exception = CacheUnavailable("away")
        self.waiting: list[asyncio.Future[None]] = []
        self.sent: list[str] = []

    def _through(self, name: str, call: Callable[[], Awaitable[T]]) -> Awaitable[T]:
        self.sent.append(name)
        if name in self.refuses:
            raise self.failure
        return self._answer(name, call())

    def _answer(self, name: str, answer: Awaitable[T]) -> asyncio.Future[T]:
        gate: asyncio.Future[None] | None = None
        if name in self.held:
            gate = asyncio.get_running_loop().create_future()
            self.waiting.append(gate)
        lost = name in self.loses

        async def wait() -> T:
            if gate is not None:
                await gate
            if lost:
                raise self.failure
            return await answer

        return asyncio.ensure_future(wait())

    def let_go(self) -> None:
        """Answer what is held."""
        self.held.clear()
        for gate in self.waiting:
            gate.set_result(None)
        self.waiting.clear()

    def get(self, name: str) -> Awaitable[bytes | None]:
        return self._through("get", lambda: self.real.get(name))

    def left(self, name: str) -> Awaitable[float]:
        return self._through("left", lambda: self.real.left(name))

    def open(self, ask: OpenRequest, terms: CallerHistory) -> Awaitable[OpenReply]:
        return self._through("open", lambda: self.real.open(ask, terms))

    def fill(
        self, lease: Lease, terms: CallerHistory, value: bytes, life: float
    ) -> Awaitable[bool]:
        return self._through("fill", lambda: self.real.fill(lease, terms, value, life))

    def open_all(
        self, asks: Sequence[OpenRequest], terms: CallerHistory
    ) -> Sequence[Awaitable[OpenReply]]:
        return [self.open(ask, terms) for ask in asks]

    def fill_all(self, fills: Sequence[Fill], terms: CallerHistory) -> Sequence[Awaitable[bool]]:
        return [self.fill(lease, terms, value, life) for lease, value, life in fills]

    def settle(
        self, bucket: int, terms: CallerHistory, incarnation: str, position: int
    ) -> Awaitable[bool]:
        return self._through(
            "settle", lambda: self.real.settle(bucket, terms, incarnation, position)
        )

    def change(self, change: Change, terms: CallerHistory) -> Awaitable[Receipt]:
        return self._through("change", lambda: self.real.change(change, terms))

    def intend(self, intent: Intent, terms: CallerHistory) -> Awaitable[IntentReply]:
        return self._through("intend", lambda: self.real.intend(intent, terms))

    def release(self, intent: Intent) -> Awaitable[None]:
        return self._through("release", lambda: self.real.release(intent))

    def look(self, bucket: int, owner: str, terms: CallerHistory) -> Awaitable[LookReply | None]:
        return self._through("look", lambda: self.real.look(bucket, owner, terms))

    def register(
        self, owner: str, shapes: Sequence[str], terms: CallerHistory
    ) -> Awaitable[Registration]:
        return self._through("register", lambda: self.real.register(owner, shapes, terms))


class Seen(list[Event]):
    """An observer that keeps what it sees."""

    def __call__(self, event: Event) -> None:
        self.append(event)

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self if isinstance(event, kind)]


class NobodysSession:
    """A session as L1 asks for it."""

    def __init__(self, bookmark: Bookmark) -> None:
        self.bookmark = bookmark
        self.stale: list[str] = []
        self.recorder: ReadRecorder | None = None

    def shown_stale(self, key: str) -> None:
        self.stale.append(key)


@dataclass
class Process:
    """One process's cache. `session`: of whoever reads L1 now."""

    shared: ProcessCache
    records: Away
    primary: Standing
    tasks: Tasks
    loads: Loads
    seen: Seen
    source: Source
    session: NobodysSession | None = None

    def __post_init__(self) -> None:
        self.users = TieredCache(self.source, self.shared, lambda: self.session)

    @property
    def views(self) -> BucketViews:
        return self.shared.views

    def read(
        self, *ids: int, bookmark: Bookmark | None = None
    ) -> asyncio.Task[dict[int, CachedRow]]:
        return asyncio.create_task(self.users.get_many(ids, bookmark))

    async def rows(self, *ids: int, bookmark: Bookmark | None = None) -> list[Row | None]:
        async with asyncio.timeout(10):
            return [cell.row for cell in (await self.users.get_many(ids, bookmark)).values()]

    async def change(
        self, *ids: int, position: int | None = 50, owners: tuple[str, ...] = ()
    ) -> Receipt:
        """Somebody else's commit, announced: of users of one bucket, or of whole owners of one."""
        texts = [USERS.text(id) for id in ids]
        bucket = owner_bucket(owners[0]) if owners else bucket_of(texts[0])
        change = Change(bucket, tuple(("user", text) for text in texts), owners, position)
        return await self.records.real.change(change, CallerHistory(self.primary.history))

    async def call(self, number: int) -> Call:
        """The load of this number, once it is under way."""
        await until(lambda: len(self.loads.calls) > number)
        return self.loads.calls[number]

    def bookmark(self, position: int | None = 1, *, covered: bool = True) -> Bookmark:
        return Bookmark(self.primary.history, position, {}, covered, time.time() + 60)


@asynccontextmanager
async def process(
    settings: CacheSettings | None = None,
    policy: CacheAside = NEVER_JITTERED,
    records: MemoryRecords | None = None,
) -> AsyncIterator[Process]:
    """A process whose channel is up. `records`: those of another one, which tell this one
    nothing."""
    seen, primary, flights = Seen(), Standing(), InflightLoads()
    local = LocalStore(1000, 1_000_000, time.monotonic)
    nonces = Nonces()
    views = BucketViews(local, flights, KeySpace([USERS, ORDERS]), nonces.process, seen)
    views.up()
    away = Away(records or MemoryRecords(views.apply, nonces, time.monotonic, 1000))
    loads = Loads()
    async with Tasks(Grace(0.0), seen) as tasks:
        settler = Settler(away, primary, tasks.spawn, seen)
        shared = ProcessCache(
            away, Namespace("memory"), local, views, flights, primary, settler, tasks.spawn, seen,
            settings or CacheSettings(),
        )  # fmt: skip
        yield Process(
            shared,
            away,
            primary,
            tasks,
            loads,
            seen,
            Source(USERS, "f1", policy, Plain(), loads, id_of),
        )


async def until(condition: Callable[[], object]) -> None:
    """Let the loop turn until it holds."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # what is waited for has no event
            await asyncio.sleep(0)


async def turns(number: int = 10) -> None:
    """Let the loop turn so often that whatever can happen has happened."""
    for _ in range(number):
        await asyncio.sleep(0)


def neighbours(count: int) -> list[int]:
    """Ids of users whose keys are in one bucket."""
    bucket, id = bucket_of(USERS.text(1)), 0
    found: list[int] = []
    while len(found) < count:
        id += 1
        if bucket_of(USERS.text(id)) == bucket:
            found.append(id)
    return found
