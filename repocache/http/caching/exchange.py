"""One GET or HEAD: by its versions, from a kept page, or by the application.

Owns the order. Who may keep an answer is decided in `verdict`, what a precondition leads to in
`conditional`, where a page lies is `pages`'.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from repocache.errors import UndeclaredDependence
from repocache.events import Observer, ResponseKept
from repocache.http.asgi import App, HeaderLine, Message, Receive, Scope, Send
from repocache.http.caching.answering import AnswerStamp, answered, stamped
from repocache.http.caching.cache_status import CacheHit, WentOn, Why
from repocache.http.caching.conditional import ConditionalAnswer, Current, answer
from repocache.http.caching.etags import Representation, etag_of, listed, versions_etag
from repocache.http.caching.policy import Etag, Private, Public, RoutePolicy
from repocache.http.caching.rendering import Made, Rendering
from repocache.http.caching.responding import Response
from repocache.http.caching.verdict import LASTING, KeepVerdict, lasts
from repocache.http.caching.watched import remedy
from repocache.http.caching.watched_state import LifespanState
from repocache.pages.page import KeptPage, PageKey, Rendered
from repocache.pages.pages import PageFound, Pages
from repocache.routing.around import current_scopes, is_within_a_page, page_begins
from repocache.routing.recording import NOTHING_READ, Trace
from repocache.runtime.responses import Responses

HIDDEN_FROM_PAGES = b"authorization"
"""A request that has it is answered by the application, unless the policy says that it sees it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What all exchanges of an application share. `most`: bytes of a body that is looked at;
    `now`: Unix time, seconds. `strict`: an undeclared dependence is an error."""

    app: App
    responses: Responses
    lifespan: LifespanState
    most: int
    now: Callable[[], float]
    strict: bool
    observe: Observer


class HttpRequest(NamedTuple):
    """A request. `lines`: of its header. `of`: which representation it asks for."""

    scope: Scope
    receive: Receive
    send: Send
    lines: Sequence[HeaderLine]
    of: Representation

    @property
    def method(self) -> str:
        method: str = self.scope["method"]
        return method

    def has(self, name: bytes) -> bool:
        return any(each == name for each, _ in self.lines)

    @property
    def is_peculiar(self) -> bool:
        """Whether it asks for something else than the page of its URL: a part of it, or what the
        application makes of a body."""
        lengths = [value for name, value in self.lines if name == b"content-length"]
        has_body = self.has(b"transfer-encoding") or any(each != b"0" for each in lengths)
        return has_body or self.has(b"range")


class Exchange:
    """Of one request under one policy."""

    def __init__(self, ground: Ground, asked: HttpRequest, policy: RoutePolicy) -> None:
        self._ground = ground
        self._asked = asked
        self._policy = policy
        self._renderings: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """Answers. Returns when the application does, if it was asked; if this request is
        cancelled, so is that."""
        try:
            await self._run()
        except asyncio.CancelledError:
            await self._abandon()
            raise
        finally:
            await self._end()

    async def _run(self) -> None:
        pages, policy = self._ground.responses.pages, self._policy
        if pages is None or not isinstance(policy, Public) or self._asked.is_peculiar:
            return await self._rendered_here()
        key = self._key(policy)
        if is_within_a_page():
            return await self._within(pages, key, policy)
        key.context.run(page_begins, str(key))
        try:
            if await self._not_modified(pages, key, policy):
                return None
            if policy.pages and self._asked.method == "GET" and not self._has_credentials:
                await self._by_pages(pages, key, policy)
            else:
                await self._rendered_here(pages, key)
        finally:
            key.leave()

    async def _within(self, pages: Pages, key: PageKey, policy: Public) -> None:
        """As a part of another page: what is at hand, else rendered here."""
        kept = policy.pages and self._asked.method == "GET" and not self._has_credentials
        found = await pages.at_hand(key) if kept else None
        if found is None:
            await self._rendered_here()
        else:
            await self._answer_found(found, policy)

    @property
    def _has_credentials(self) -> bool:
        sees = {name.lower() for name in self._policy.sees}
        return self._asked.has(HIDDEN_FROM_PAGES) and "authorization" not in sees

    def _key(self, policy: Public) -> PageKey:
        values = {scope.name: value for scope, value in current_scopes().items()}
        whose = [f"{name}={values.get(name)!r}".encode() for name in sorted(policy.scopes)]
        # What was vouched for wrongly is not kept for the release that mends it.
        seen = [b"sees:" + name.encode() for name in policy.sees]
        text = etag_of((b"page", *self._asked.of.parts(), *whose, *seen)).decode()
        context = contextvars.copy_context()
        return PageKey.of(text, self._render, context, behind=self._render_behind)

    async def _not_modified(self, pages: Pages, key: PageKey, policy: Public) -> bool:
        """A 304 that costs neither body nor query: what was read for the page that the client has
        would be read the same now."""
        named = listed([value for name, value in self._asked.lines if name == b"if-none-match"])
        if policy.etag is not Etag.VERSIONS or not isinstance(named, tuple):
            return False  # "*" is whatever is there, if something is
        trace = await pages.trace(key)
        if trace is None:
            return False
        version, late = await self._ground.responses.check(trace)
        if version is None:
            return False
        etag = versions_etag(self._asked.of, [version])
        found = answer(self._asked.method, self._asked.lines, Current(etag))
        if found is not ConditionalAnswer.NOT_MODIFIED:
            return False
        held = held_for(late, policy)
        told = AnswerStamp(held, etag, self._tags(held, trace), CacheHit(detail="versions"))
        await self._send(Response(304, tuple(stamped((), told))))
        self._tell("not modified", held)
        return True

    async def _by_pages(self, pages: Pages, key: PageKey, policy: Public) -> None:
        """What was rendered is looked at once more: to be put away may have taken its time."""
        found = await pages.get(key)
        if not found.rendered:
            return await self._answer_found(found, policy)
        made = self._own
        if made is not None:
            if made.verdict.is_public:
                late = self._ground.responses.changed(made.since, made.trace)
                made = replace(made, verdict=held_for(late, policy))
            await self._answer(made, WentOn(why=Why.URI_MISS, stored=found.page is not None))

    async def _answer_found(self, found: PageFound, policy: Public) -> None:
        """With a page that is kept."""
        held = held_for(found.late, policy)
        page = found.page
        assert page is not None
        if found.stale:
            held = replace_policy(held, policy, "it is being rendered anew")
        response = Response(page.status, page.lines, page.body)
        made = Made(response, found.trace, found.version, held, since=0)
        age = round(self._ground.now() - page.made)
        told = CacheHit(detail="stale" if found.stale else f"page of {max(0, age)} s")
        await self._answer(made, told, "stale" if found.stale else "hit", found)

    async def _render(self) -> Rendered:
        """For the page's key: the application runs in a task of this exchange."""
        self._own = await self._made()
        return self._kept(self._own)

    async def _made(self) -> Made | None:
        rendering = self._rendering(self._forward)
        self._renderings.append(asyncio.create_task(rendering.run()))
        return await rendering.made()

    async def _render_behind(self) -> Rendered:
        """For nobody in particular: to its end."""
        rendering = self._rendering()
        await rendering.run()
        return self._kept(await rendering.made())

    _own: Made | None = None

    def _is_known(self, made: Made) -> bool:
        """Whether its ETag is of the versions of what it was made of."""
        policy, response = made.verdict.policy, made.response
        if not made.verdict.is_public or not isinstance(policy, Public):
            return False
        return response.status == 200 and lasts(response.lines, policy)

    def _kept(self, made: Made | None) -> Rendered:
        """A page of it, if others may have it."""
        policy = self._policy
        if made is None or not made.verdict.is_public or not isinstance(policy, Public):
            return Rendered(None, NOTHING_READ)
        response = made.response
        if response.status not in LASTING or not lasts(response.lines, policy):
            return Rendered(None, made.trace)
        page = KeptPage(response.status, response.lines, response.body, self._ground.now())
        return Rendered(page, made.trace, is_traced=True)

    async def _rendered_here(self, pages: Pages | None = None, key: PageKey | None = None) -> None:
        made = await self._made()
        if made is not None:
            await self._answer(made, WentOn(why=Why.BYPASS))
            if pages is not None and key is not None and self._is_known(made):
                pages.note(str(key), made.trace)

    def _rendering(self, forward: Send | None = None) -> Rendering:
        ground, asked = self._ground, self._asked
        more = {} if forward is None else {"forward": forward}
        return Rendering(
            ground.app,
            asked.scope,
            asked.receive,
            policy=self._policy,
            responses=ground.responses,
            lifespan=ground.lifespan,
            most=ground.most,
            **more,
        )

    async def _forward(self, message: Message) -> None:
        """Of what cannot be collected nobody knows whether it is whole: nobody keeps it."""
        if message["type"] == "http.response.start":
            held = KeepVerdict(Private(no_cache=True, etag=Etag.NONE), "it is streamed")
            lines = message.get("headers") or ()
            own = [(bytes(name).lower(), bytes(value)) for name, value in lines]
            told = AnswerStamp(held, None, (), WentOn(why=Why.BYPASS))
            message = {**message, "headers": stamped(own, told)}
        await self._asked.send(message)

    def _tags(self, held: KeepVerdict, trace: Trace) -> Sequence[HeaderLine]:
        lines = self._ground.responses.tag_lines(trace) if held.is_public else ()
        return lines or ()

    async def _answer(
        self,
        made: Made,
        status: CacheHit | WentOn,
        how: str = "rendered",
        found: PageFound | None = None,
    ) -> None:
        held = made.verdict
        if held.undeclared and self._ground.strict:
            raise UndeclaredDependence(
                f"{self._asked.scope['path']}: {held.why}: {remedy(held.undeclared)}"
            )
        tags = self._tags(held, made.trace)
        if held.is_public and made.trace is not NOTHING_READ and not self._fits(made.trace):
            held = replace_policy(held, self._policy, "it has more tags than an edge takes")
            tags = ()
        response = answered(self._asked, made, held, tags, status)
        self._tell(how, held)
        await self._send(response)

    def _fits(self, trace: Trace) -> bool:
        return self._ground.responses.tag_lines(trace) is not None

    async def _send(self, response: Response) -> None:
        for message in response.messages():
            await self._asked.send(message)

    def _tell(self, how: str, held: KeepVerdict) -> None:
        self._ground.observe(ResponseKept(how, held.why))

    async def _end(self) -> None:
        """The application goes on, as in the background."""
        try:
            for each in self._renderings:
                await asyncio.shield(each)
        except asyncio.CancelledError:
            await self._abandon()
            raise

    async def _abandon(self) -> None:
        running, self._renderings = self._renderings, []
        for each in running:
            each.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def held_for(late: str, policy: Public) -> KeepVerdict:
    """What was looked at anew may be late for others, and right for this session."""
    held = KeepVerdict(policy)
    return replace_policy(held, policy, late) if late else held


def replace_policy(held: KeepVerdict, policy: RoutePolicy, why: str) -> KeepVerdict:
    """For this client alone, who asks again each time."""
    less = Private(no_cache=True, vary=policy.vary, etag=policy.etag)
    return held._replace(policy=less, why=why)
