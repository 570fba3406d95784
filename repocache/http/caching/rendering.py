"""One run of the application for one request, watched and recorded."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from repocache.http.asgi import App, Message, Receive, Scope, Send
from repocache.http.caching.policy import Public, RoutePolicy
from repocache.http.caching.responding import Response, collect
from repocache.http.caching.verdict import KeepVerdict, ResponseFacts, verdict
from repocache.http.caching.watched import WatchedScope, hidden, hidden_by
from repocache.http.caching.watched_state import LifespanState
from repocache.routing.recording import NOTHING_READ, Recording, Trace
from repocache.runtime.responses import Responses
from repocache.tags import named_tag


@dataclass(frozen=True, slots=True)
class Made:
    """A whole response. `trace`: of what it was made of, in `version`; `verdict`: who may keep it;
    `since`: of the changes that were known when it was begun."""

    response: Response
    trace: Trace
    version: bytes
    verdict: KeepVerdict
    since: int


async def dropped(message: Message) -> None:
    """Of a rendering that nobody waits for."""


class Rendering:
    """`run` runs the application, once, to its end; `made` has the response as soon as all of it is
    there, and while the application may go on. `forward`: gets what cannot be collected, as it
    comes; then `made` is None.
    """

    def __init__(  # noqa: PLR0913  # keyword-only, the rest
        self,
        app: App,
        scope: Scope,
        receive: Receive,
        *,
        policy: RoutePolicy,
        responses: Responses,
        lifespan: LifespanState,
        forward: Send = dropped,
        most: int,
    ) -> None:
        self._app = app
        self._receive = receive
        self._policy = policy
        self._responses = responses
        self._forward = forward
        self._most = most
        self._watched: WatchedScope | None = None
        self._recording: Recording | None = None
        if isinstance(policy, Public):
            self._watched = WatchedScope(hidden(scope, hidden_by(policy)))
            self._watched.watch_parts(lifespan)
        self._scope: Scope = scope if self._watched is None else self._watched
        self._ready: asyncio.Future[Made | None] = asyncio.get_running_loop().create_future()

    async def made(self) -> Made | None:
        """Waits for it. Raises what the application raises before."""
        return await asyncio.shield(self._ready)

    async def run(self) -> None:
        """Never raises: `made` does; after that, what the application raises is raised here."""
        try:
            await self._run()
        except BaseException as error:
            if self._ready.done():
                raise
            self._ready.set_exception(error)
            # Retrieved here too: who waits may have gone.
            self._ready.exception()
            if not isinstance(error, Exception):
                raise
        finally:
            self._is_ready(None)

    async def _run(self) -> None:
        """What is not for everybody is recorded by nobody."""
        if self._watched is None:
            return await self._collect()
        named = [named_tag(tag) for tag in self._policy.tags]
        async with self._responses.record(named) as self._recording:
            await self._collect()

    async def _collect(self) -> None:
        receive = self._receive if self._watched is None else self._watched_receive
        await collect(self._app, self._scope, receive, self, self._most)

    async def _watched_receive(self) -> Message:
        message = await self._receive()
        if self._watched is not None:
            self._watched.was_given(message)
        return message

    def _is_ready(self, made: Made | None) -> None:
        if not self._ready.done():
            self._ready.set_result(made)

    async def whole(self, response: Response) -> None:
        """See `Onward`. The application still runs: what is known of it is looked at last."""
        facts, trace = ResponseFacts(response.status, response.lines), NOTHING_READ
        recording = self._recording
        if self._watched is not None and recording is not None:
            trace = recording.trace()
            facts = facts._replace(
                looked=self._watched.looked,
                scopes=recording.scopes,
                hindrance=self._responses.hindrance(recording, trace),
            )
        found = verdict(self._policy, facts)
        trace = trace if found.is_public else NOTHING_READ
        since = 0 if recording is None else recording.since
        self._is_ready(Made(response, trace, trace.version, found, since))

    async def passed(self, message: Message) -> None:
        """See `Onward`."""
        self._is_ready(None)
        await self._forward(message)
