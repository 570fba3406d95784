"""How a worker learns where each answer came from, and when it did what a message says.

Reads take the library's own way; the witness stands beside it. It owns no judgement.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

from proof.faults.records import Applied, Channel, Lived, Recorder, Stall, now
from repocache.bookmark import Bookmark
from repocache.cache.entry import CachedRow
from repocache.cache.inflight import InflightLoad
from repocache.cache.loader import ANY_NODE, Group, Loader
from repocache.cache.tiered import TieredCache
from repocache.events import (
    BookmarkRefused,
    ChannelDown,
    ChannelUp,
    Event,
    HistoryChanged,
    Served,
)
from repocache.records.message import Message
from repocache.repository.answered import Answered
from repocache.repository.query import EntryId, Query
from repocache.repository.query_cache import QueryCache

BEAT = 0.05
"""Seconds between two looks at the event loop."""
STALLED = 0.1
"""Seconds too late that count as a stall."""
REMEMBERED = 2000
"""Loads whose story is kept."""


class Story:
    """What became of a load. `via` and `node` as in `Read`. `direct`: it goes past the cache as
    that was wished, and not because Redis is away."""

    def __init__(self) -> None:
        self.direct = False
        self.via = "past"
        self.node = ""


Trace = dict[Any, tuple[str, Story | None, str]]
"""By id: the way if it is known at once, else the load's story and how it was joined: "" if it was
begun, "joined", or "astray" by somebody who would not have gone past the cache as the load does."""

_ASKED = object()
"""In a trace: a select asked its cache."""

_trace: ContextVar[Trace | None] = ContextVar("trace", default=None)
_loading: ContextVar[Sequence[Story]] = ContextVar("loading", default=())
_refused: ContextVar[str] = ContextVar("refused", default="")


class Witness:
    """Watches the one database of this process, from `watch` on."""

    def __init__(self, recorder: Recorder) -> None:
        self.events: Counter[str] = Counter()
        self._recorder = recorder
        self._stories: OrderedDict[InflightLoad, Story] = OrderedDict()

    def observe(self, seen: Event) -> None:
        match seen:
            case BookmarkRefused(why=why):
                _refused.set(why)
                self.events[f"BookmarkRefused({why})"] += 1
            case _:
                self.events[type(seen).__name__] += 1
        match seen:
            case Served(tier="database", node=node):
                for story in _loading.get():
                    story.node = node
            case ChannelUp() | ChannelDown():
                self._recorder.tell(Channel(isinstance(seen, ChannelUp), now()))
            case HistoryChanged(new=history):
                self._recorder.tell(Lived(history, now()))
            case _:
                pass

    def begin(self) -> Trace:
        """The caller's read begins: what is learnt about it will be found here."""
        trace: Trace = {}
        _trace.set(trace)
        return trace

    def refused(self) -> str:
        """Why the last bookmark that this task gave to a session was not taken, if it was not."""
        return _refused.get()

    def ways(self, trace: Trace) -> Callable[[Any], tuple[str, str]]:
        """By id: way and node of an answer, as in `Read`. What nobody was asked for was in L1."""

        def way(id: Any) -> tuple[str, str]:
            via, story, joined = trace.get(id, ("l1", None, ""))
            if story is None:
                return via, ""
            via = "joined" if joined == "astray" or (joined and story.via != "past") else story.via
            return via, story.node

        return way

    def list_way(self, trace: Trace) -> tuple[str, str]:
        """The same of a select's answer: "list" if it was cached, or is from now on."""
        if _ASKED not in trace:
            return "past", ""  # its owner's mode has no caches
        for id, (_, story, _) in trace.items():
            if isinstance(id, EntryId) and story is not None and story.via == "past":
                return "past", story.node
        return "list", ""

    async def watch_the_loop(self) -> None:
        """For ever."""
        loop = asyncio.get_running_loop()
        while True:
            before, started = loop.time(), now()
            await asyncio.sleep(BEAT)
            if loop.time() - before > BEAT + STALLED:
                self._recorder.tell(Stall(started, now()))

    def install(self) -> None:  # noqa: C901  # a wrapper for each step of a read
        """Stand beside the read path of this process, for good."""
        ask, hit, load, answer = (
            TieredCache._ask,
            TieredCache._hit,
            Loader.load,
            Loader._answer,
        )
        wished: set[InflightLoad] = set()
        read = Loader._read
        witness = self

        def _ask(self: TieredCache, id: Any, bookmark: Bookmark | None) -> InflightLoad:
            asked = ask(self, id, bookmark)
            if _wished(self, asked):
                wished.add(asked)  # it has no reply to wait for: it is loaded next
            return asked

        def _hit(self: TieredCache, asked: InflightLoad, value: bytes | None) -> CachedRow | None:
            cell = hit(self, asked, value)
            trace = _trace.get()
            if cell is not None and trace is not None:
                trace[asked.key[1]] = ("l2", None, "")
            return cell

        def _load(self: Loader, asked: InflightLoad) -> asyncio.Future[CachedRow]:
            wish = asked in wished
            wished.discard(asked)
            before = self._inflight.get(asked.key, direct=asked.direct)
            waiter = load(self, asked)
            flight, trace = self._inflight.get(asked.key, direct=asked.direct), _trace.get()
            if flight is not None and trace is not None:
                story, joined = witness._story(flight), ""
                if flight is before:
                    joined = "astray" if story.direct and not asked.direct else "joined"
                else:
                    story.direct = asked.direct and wish
                trace[asked.key[1]] = ("", story, joined)
            return waiter

        def _answered(self: Loader, flight: InflightLoad, cell: CachedRow, tier: str) -> None:
            if tier == "l2":
                witness._story(flight).via = "l2"
            answer(self, flight, cell, tier)

        async def _read(self: Loader, group: Group) -> None:
            stories = []
            for flight, want in group.wanted:
                story = witness._story(flight)
                story.via = "past" if want.floor == ANY_NODE else "filled"
                stories.append(story)
            token = _loading.set(stories)
            try:
                await read(self, group)
            finally:
                _loading.reset(token)

        TieredCache._ask = _ask  # type: ignore[method-assign]
        TieredCache._hit = _hit  # type: ignore[method-assign]
        Loader.load = _load  # type: ignore[method-assign]
        Loader._answer = _answered  # type: ignore[method-assign,assignment]
        Loader._read = _read  # type: ignore[method-assign]

        self._install_selects()

    def _install_selects(self) -> None:
        select = QueryCache.answer

        async def answer(self: QueryCache, query: Query, bookmark: Bookmark | None) -> Answered:
            trace = _trace.get()
            if trace is not None:
                trace[_ASKED] = ("list", None, "")
            return await select(self, query, bookmark)

        QueryCache.answer = answer  # type: ignore[method-assign]

    def _story(self, flight: InflightLoad) -> Story:
        story = self._stories.get(flight)
        if story is None:
            story = self._stories[flight] = Story()
            while len(self._stories) > REMEMBERED:
                self._stories.popitem(last=False)
        return story


class Hearer:
    """The last receiver on the channel: what a message says has been done when it is told of it."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def up(self) -> None:
        pass

    def down(self) -> None:
        pass

    def new_history(self) -> None:
        """The history is told by an event."""

    def forget_all(self) -> None:
        pass

    def apply(self, message: Message) -> None:
        self._recorder.tell(Applied(message.bucket, message.incarnation, message.seq, now()))


def _wished(cache: TieredCache, asked: InflightLoad) -> bool:
    """Whether a read past the cache goes there by the owner's mode or for its session's sake."""
    bookmark = asked.bookmark
    return not cache.switch.shared or (bookmark is not None and not bookmark.takes_cached)


def covers_everything(bookmark: Bookmark, buckets: Sequence[int]) -> bool:
    """Whether the bookmark says as which invalidation each bucket was changed."""
    return bookmark.wrote is not None and all(bucket in bookmark.wrote for bucket in buckets)
