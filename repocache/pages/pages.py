"""THE path of a page: the trace of its last rendering, the versions of now, the page that was made
of these; else it is rendered."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from contextvars import Context
from dataclasses import dataclass
from typing import Any, Protocol

from repocache.bookmark import Bookmark, says_something
from repocache.cache.entry import CachedRow
from repocache.cache.tiered import TieredCache
from repocache.pages.loaders import NotThere, RenderedElsewise
from repocache.pages.page import BodyId, KeptPage, LastRight, PageKey, Rendered, body_id
from repocache.routing.recording import Trace

TURNS = 3
"""Times that a page is looked for under another name, as when it changes all the time."""


class CheckedVersion(Protocol):
    """`version`: None: it cannot be said. `late`: why it may be older than what was invalidated."""

    @property
    def version(self) -> bytes | None: ...

    @property
    def late(self) -> str: ...


class Versions(Protocol):
    """What pages ask of their database."""

    async def check(self, trace: Trace) -> CheckedVersion:
        """The same reads now, for the caller's session."""
        ...


@dataclass(frozen=True, slots=True)
class PageFound:
    """A page, and how it was come by: `rendered` just now, or kept; `stale`: not right any more,
    and about to be rendered anew. `trace`: of what it was made of, in `version`. `page`: None: it
    was rendered, and is none to be kept. `late`: why it may be older than what was invalidated."""

    page: KeptPage | None
    trace: Trace
    version: bytes
    rendered: bool = False
    stale: bool = False
    late: str = ""


def just_rendered(rendered: Rendered) -> PageFound:
    """Whether it is kept or not."""
    trace = rendered.trace
    return PageFound(rendered.page, trace, trace.version, rendered=True)


class Pages:
    """Of one database. `traces`, `bodies`: the caches of both entries. `asking`: what the caller's
    session asks. `renew`: replaces a key's trace. `stale`: seconds, as `stale_while_revalidate`."""

    def __init__(  # noqa: PLR0913  # keyword-only
        self,
        *,
        traces: TieredCache,
        bodies: TieredCache,
        versions: Versions,
        asking: Callable[[], Bookmark | None],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        renew: Callable[[str, Trace], None],
        stale: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._traces = traces
        self._bodies = bodies
        self._versions = versions
        self._asking = asking
        self._spawn = spawn
        self._renew = renew
        self._stale = stale
        self._clock = clock
        self._last = LastRight()

    async def trace(self, key: PageKey) -> Trace | None:
        """Of the last rendering; None: nobody has rendered it lately. Nothing is rendered."""
        try:
            cached = await _read(self._traces, _unwanted(key), self._asking())
        except (NotThere, RenderedElsewise):
            return None
        return None if cached.row is None else cached.row[1]

    async def get(self, key: PageKey) -> PageFound:
        """The page. Raises what rendering it raises."""
        bookmark = self._asking()
        try:
            for _ in range(TURNS):
                found = await self._look(key, bookmark)
                if key.failed is not None:
                    raise key.failed
                if found is not None:
                    return found
        except RenderedElsewise as elsewise:
            if elsewise.key is key:
                return just_rendered(elsewise.rendered)
        return just_rendered(key.rendered or await key.render())

    async def at_hand(self, key: PageKey) -> PageFound | None:
        """The page, if this process has it and it is right. It waits for nobody's rendering: of two
        pages that show each other, and are rendered at once, each would wait for the other."""
        cached = self._traces.peek_for_caller(key)
        trace: Trace | None = None if cached is None or cached.row is None else cached.row[1]
        if trace is None:
            return None
        checked = await self._versions.check(trace)
        if checked.version is None:
            return None
        body = self._bodies.peek_for_caller(body_id(key, checked.version))
        if body is None or body.row is None:
            return None
        return PageFound(body.row[1], trace, checked.version, late=checked.late)

    def note(self, text: str, trace: Trace) -> None:
        """Of a page that is not kept itself: so that it can be said whether the same would be made
        again."""
        known = self._traces.peek_l1(text)
        if known is None or known.row is None or known.row[1].tags != trace.tags:
            self._spawn(self._note(text, trace))

    async def _note(self, text: str, trace: Trace) -> None:
        there = await self.trace(PageKey.of(text, not_wanted, Context()))
        if there is None or there.tags != trace.tags or there.version != trace.version:
            self._renew(text, trace)

    async def _look(self, key: PageKey, bookmark: Bookmark | None) -> PageFound | None:
        """None: it is to be looked for again, or cannot be. Raises RenderedElsewise."""
        try:
            cached = await _read(self._traces, key, bookmark)
        except NotThere:
            return None  # joined a load of who only asked whether it is there, or has gone
        if key.rendered is not None:
            return just_rendered(key.rendered)
        assert cached.row is not None
        trace: Trace = cached.row[1]
        checked = await self._versions.check(trace)
        version = checked.version
        if version is None:
            return just_rendered(await key.render())
        id = body_id(key, version, page=key, trace=trace)
        body = self._bodies.peek_for_caller(id)
        if body is None:
            stale = await self._still_given(key, trace, version, bookmark)
            return stale or await self._render(key, id, checked.late, bookmark)
        self._last.note(key, version, self._clock())
        assert body.row is not None
        return PageFound(body.row[1], trace, version, late=checked.late)

    async def _render(
        self, key: PageKey, id: BodyId, late: str, bookmark: Bookmark | None
    ) -> PageFound | None:
        """What lies in Redis, or is rendered. As `_look`."""
        try:
            body = await self._bodies.read_past_l1(id, bookmark)
        except NotThere:
            return None
        except RenderedElsewise as elsewise:
            if elsewise.key is key:
                raise
            return None
        self._last.note(key, id.version, self._clock())
        if key.rendered is not None:
            return just_rendered(key.rendered)
        assert body.row is not None
        return PageFound(body.row[1], id.trace, id.version, late=late)

    async def _still_given(
        self, key: PageKey, trace: Trace, version: bytes, bookmark: Bookmark | None
    ) -> PageFound | None:
        """The page as it was a moment ago, to who has written nothing; it is rendered behind."""
        now = self._clock()
        at, last = self._last.of(key) or (0.0, trace.version)
        wrote = bookmark is not None and says_something(bookmark)
        if not self._stale or wrote or last == version:
            return None
        page = await self._kept(body_id(key, last), bookmark)
        if page is None or now - max(at, page.made) > self._stale:
            return None
        self._spawn(self._render_behind(key.again(), version, trace))
        return PageFound(page, trace, last, stale=True)

    async def _kept(self, id: BodyId, bookmark: Bookmark | None) -> KeptPage | None:
        """Nothing is rendered."""
        try:
            cached = await _read(self._bodies, id, bookmark)
        except NotThere:
            return None
        page: KeptPage | None = None if cached.row is None else cached.row[1]
        return page

    async def _render_behind(self, key: PageKey, version: bytes, trace: Trace) -> None:
        """By one of the fleet: who comes second finds it, or waits for it."""
        id = body_id(key, version, page=key, trace=trace)
        try:
            await self._bodies.read_past_l1(id, None)
        except RenderedElsewise:
            pass
        except NotThere:
            if key.failed is not None:
                raise key.failed from None
        finally:
            key.leave()


async def _read(cache: TieredCache, id: str, bookmark: Bookmark | None) -> CachedRow:
    return cache.peek_for_caller(id) or await cache.read_past_l1(id, bookmark)


def _unwanted(key: PageKey) -> PageKey:
    """Of the same text; nobody renders it."""
    return PageKey.of(str(key), not_wanted, Context())


async def not_wanted() -> Rendered:
    """It is only asked whether it is there."""
    raise NotThere
