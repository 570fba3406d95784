"""Requests that write, under a precondition: they change what their client has seen, or nothing
(RFC 9110, 13.1).

Owns the order: 1. the resource is asked for as its client would, to compare; 2. the method is done,
and its first unit of work locks the rows that were read then, and finds them as they were. So of
two who have seen the same one alone changes it, whoever is between 1 and 2.
"""

from __future__ import annotations

from collections.abc import Sequence

from repocache.errors import PreconditionFailed
from repocache.http.asgi import App, HeaderLine, Message, Receive, Scope, Send
from repocache.http.caching.answering import etag_of_answer
from repocache.http.caching.conditional import Absent, ConditionalAnswer, Current, State, answer
from repocache.http.caching.dates import read_date
from repocache.http.caching.etags import Representation
from repocache.http.caching.exchange import HttpRequest
from repocache.http.caching.policy import RoutePolicy
from repocache.http.caching.rendering import Made
from repocache.http.caching.responding import Response, collect
from repocache.http.caching.verdict import KeepVerdict
from repocache.routing.expected import Expectation
from repocache.routing.recording import Trace
from repocache.runtime.responses import Responses

PRECONDITIONS = (b"if-match", b"if-none-match", b"if-unmodified-since")
_OF_THE_BODY = (b"content-", b"transfer-encoding", b"range", b"if-", b"expect")
_GONE = (404, 410)
FAILED = Response(412, ((b"cache-control", b"no-store"), (b"content-length", b"0")))


class _Seen:
    """The answer of the resource itself, which nobody is sent."""

    def __init__(self) -> None:
        self.response: Response | None = None

    async def whole(self, response: Response) -> None:
        self.response = response

    async def passed(self, message: Message) -> None:
        """It is too long to be compared."""


async def seen(  # noqa: PLR0913  # of one request
    app: App,
    scope: Scope,
    policy: RoutePolicy,
    of: Representation,
    responses: Responses,
    *,
    most: int,
) -> tuple[State, Trace]:
    """How the resource stands, by the ETag that a GET would send, and what that was made of."""
    asked: Scope = {
        **scope,
        "method": "GET",
        "headers": [
            line for line in scope["headers"] if not bytes(line[0]).lower().startswith(_OF_THE_BODY)
        ],
    }
    found = _Seen()
    async with responses.record() as recording:
        await collect(app, asked, _nothing_more(), found, most)
        trace = recording.trace()
    response = found.response
    if response is None:
        return Current(None), trace
    if response.status in _GONE:
        return Absent(), trace
    own = [value for name, value in response.lines if name == b"etag"]
    modified = [read_date(value) for name, value in response.lines if name == b"last-modified"]
    made = Made(response, trace, trace.version, KeepVerdict(policy), recording.since)
    etag = own[0] if own else etag_of_answer(of, made, made.verdict) or None
    return Current(etag, modified[0] if modified else None), trace


def _nothing_more() -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    return receive


def failed_in(send: Send, expectation: Expectation) -> Send:
    """A unit of work that found its rows changed raised, and whatever the application made of that
    error is a 412."""
    instead = False

    async def sending(message: Message) -> None:
        nonlocal instead
        if message["type"] == "http.response.start" and expectation.failed:
            instead = True
            for each in FAILED.messages():
                await send(each)
        if not instead:
            await send(message)

    return sending


class WriteGuard:
    """Of one application."""

    def __init__(self, app: App, responses: Responses, most: int) -> None:
        self._app = app
        self._responses = responses
        self._most = most

    async def __call__(
        self, request: HttpRequest, policy: RoutePolicy, receive: Receive, send: Send
    ) -> None:
        """`policy`: of a GET of the same path."""
        scope = request.scope
        state, trace = await seen(
            self._app, scope, policy, request.of, self._responses, most=self._most
        )
        if answer(request.method, request.lines, state) is not ConditionalAnswer.PROCEED:
            for message in FAILED.messages():
                await send(message)
            return
        with self._responses.expecting(trace) as expectation:
            try:
                await self._app(scope, receive, failed_in(send, expectation))
            except PreconditionFailed:
                if not expectation.failed:
                    raise
                # No application of a framework's: nobody has made an answer of it.
                for message in FAILED.messages():
                    await send(message)


def is_guarded(lines: Sequence[HeaderLine]) -> bool:
    """Whether a request says what it is built upon."""
    return any(name in PRECONDITIONS for name, _ in lines)
