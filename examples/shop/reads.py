"""What the last requests have read, and what writes have told: heard from the database's events.

An event belongs to the request in whose context it is told. What is told elsewhere, as by a load
that several share, belongs to the one request that is under way, if it is one, else to nobody.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from repocache.events import (
    EdgePurged,
    EdgePurgeFailed,
    Event,
    Filled,
    HitSampled,
    Invalidated,
    Observer,
    Published,
    ResponseKept,
    Served,
)

REQUESTS, CHANGES, KEYS = 25, 60, 2_000
"""How many are remembered."""
PATH = "/_reads"
SECRET_OWNERS = frozenset({"session", "cart", "customer"})
"""Whose keys are not shown."""
READ_NOW = 0.0


@dataclass(frozen=True)
class Read:
    """`age`: seconds since the value was read from the database, as far as this process has seen;
    of a hit in L1 the least that it can be, since nothing of its owner was put there later. None:
    not known."""

    owner: str
    tier: str
    node: str
    why: str
    count: int
    age: float | None


@dataclass
class Seen:
    """One request. `kept`: how its answer was come by, and why edges may not keep it. `ages`: of
    hits in L1 that were sampled, in seconds, by owner."""

    at: float
    method: str
    where: str
    status: int = 0
    cache_status: str = ""
    cache_control: str = ""
    kept: str = ""
    reads: list[Read] = field(default_factory=list)
    ages: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Told:
    """One step of a write's way to the caches. `at`: Unix time, seconds. `by`: the request that
    wrote, where that is known."""

    at: float
    what: str
    detail: str
    by: str


class Trail:
    """An observer, and what remembers. `requests`, `changes`: the newest first."""

    def __init__(self, also: Observer) -> None:
        """`also`: hears of everything too."""
        self._also = also
        self._current: ContextVar[Seen | None] = ContextVar("seen", default=None)
        self._under_way: list[Seen] = []
        self._filled: dict[str, float] = {}
        self._brought: dict[str, float] = {}
        self.requests: deque[Seen] = deque(maxlen=REQUESTS)
        self.changes: deque[Told] = deque(maxlen=CHANGES)

    def __call__(self, event: Event) -> None:
        self._also(event)
        if isinstance(event, Filled):
            self._note_filled(event)
        elif isinstance(event, Served | HitSampled | ResponseKept):
            self._note_read(event)
        else:
            detail = told_by(event)
            if detail is not None:
                own = self._current.get()
                by = "" if own is None else f"{own.method} {own.where}"
                told = Told(time.time(), type(event).__name__, detail, by)
                self.changes.appendleft(told)

    @contextmanager
    def following(self, seen: Seen) -> Iterator[None]:
        """What is heard in the block is this request's."""
        token = self._current.set(seen)
        self._under_way.append(seen)
        self.requests.appendleft(seen)
        try:
            yield
        finally:
            self._under_way.remove(seen)
            self._current.reset(token)

    def _of_now(self) -> Seen | None:
        own = self._current.get()
        if own is None and len(self._under_way) == 1:
            return self._under_way[0]
        return own if own in self._under_way else None

    def _note_filled(self, event: Filled) -> None:
        self._filled.pop(event.key, None)
        self._filled[event.key] = time.monotonic()
        if len(self._filled) > KEYS:
            del self._filled[next(iter(self._filled))]

    def _note_read(self, event: Served | HitSampled | ResponseKept) -> None:
        if isinstance(event, Served) and event.tier != "l1":
            self._brought[event.owner] = time.monotonic()
        seen = self._of_now()
        if seen is None:
            return
        if isinstance(event, ResponseKept):
            seen.kept = f"{event.how}; {event.why}" if event.why else event.how
        elif isinstance(event, Served):
            read = Read(
                event.owner, event.tier, event.node, event.why, event.count, self._age(event)
            )
            add(seen.reads, read)
        else:  # of one hit; `Served` tells of each
            seen.ages[event.owner] = event.age

    def _age(self, event: Served) -> float | None:
        if event.tier == "database":
            return READ_NOW
        at = self._brought.get(event.owner) if event.tier == "l1" else self._filled.get(event.key)
        return None if at is None else time.monotonic() - at


def add(reads: list[Read], read: Read) -> None:
    """Several of one kind are one, as old as the oldest of them."""
    for at, each in enumerate(reads):
        if replace(each, count=read.count, age=read.age) == read:
            ages = (each.age, read.age)
            known = [age for age in ages if age is not None]
            age = max(known) if len(known) == len(ages) else None
            reads[at] = replace(each, count=each.count + read.count, age=age)
            return
    reads.append(read)


def told_by(event: Event) -> str | None:
    """What is shown of it; None: nothing."""
    match event:
        case Published(keys=keys, tags=tags, seconds=seconds):
            return f"keys: {keys}, tags of selects among them: {tags}; {1000 * seconds:.1f} ms"
        case Invalidated(keys=keys, mine=mine) if keys:
            whose = "this process's own" if mine else "another process's"
            return f"{', '.join(map(shown_key, keys))} ({whose} write)"
        case EdgePurged(edge=edge, tags=tags, seconds=seconds):
            return f"{edge}, tags: {tags}; {1000 * seconds:.0f} ms after they were told"
        case EdgePurgeFailed(edge=edge, tags=tags, why=why):
            return f"{edge}, tags: {tags}; to be tried again: {why}"
    return None


def shown_key(key: str) -> str:
    """Without what tells persons apart."""
    owner = key.partition(":")[0]
    whose = owner.partition("-")[0]
    return f"{owner}:…" if whose in SECRET_OWNERS else key


class Following:
    """Pure ASGI, around everything: tells the trail of each request but those for its page. Neither
    queries nor cookies are remembered."""

    def __init__(self, app: ASGIApp, trail: Trail) -> None:
        self._app = app
        self._trail = trail

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] == PATH:
            return await self._app(scope, receive, send)
        host = next((value for name, value in scope["headers"] if name == b"host"), b"")
        where = f"{host.decode('latin-1')}{scope['path']}"
        seen = Seen(time.time(), scope["method"], where)

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                said = dict(message.get("headers") or ())
                seen.status = message["status"]
                seen.cache_status = said.get(b"cache-status", b"").decode("latin-1")
                seen.cache_control = said.get(b"cache-control", b"").decode("latin-1")
            await send(message)

        with self._trail.following(seen):
            return await self._app(scope, receive, noting)
