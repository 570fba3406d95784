"""Each HTTP request and each WebSocket in a causal session, whose bookmark goes back with the
answer.

Pure ASGI: the application runs in the task, and so in the context, that the session was begun in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext

from repocache.bookmark import Bookmark
from repocache.database import Database
from repocache.errors import ConfigurationError
from repocache.http.answer import with_lines
from repocache.http.asgi import App, Message, Receive, Scope, Send
from repocache.http.bypass import Bypass
from repocache.http.carriers import Carrier, Header
from repocache.routing.causal_session import CausalSession

IN_HEADERS = Header()
_SESSIONS = ("http", "websocket")
_BEGINS = ("http.response.start", "websocket.accept", "websocket.http.response.start")
"""Messages with the header of an answer."""


class CausalMiddleware:
    """`app.add_middleware(CausalMiddleware, db=db)`, or `CausalMiddleware(app, db)`.

    `carrier`: how bookmarks travel; of several each is asked and all that they bring is merged.
    `client`: of a request's scope, whose reads it makes; see `Database.causal_session`. `bypass`:
    who may read past the caches.

    The answer's header has the bookmark, if it moved, as it is when the answer begins: what a
    stream or a background task commits later only a `Subject` hears of. Before anything is sent it
    has been told of what was committed until then. Raises ConfigurationError for a carrier that
    cannot work with this database.
    """

    def __init__(  # keyword-only, the rest
        self,
        app: App,
        db: Database,
        carrier: Carrier | Iterable[Carrier] = IN_HEADERS,
        *,
        client: Callable[[Scope], str | None] | None = None,
        bypass: Bypass | None = None,
    ) -> None:
        if not isinstance(db, Database):
            raise ConfigurationError(
                f"CausalMiddleware(db={type(db).__name__}): give the Database itself"
            )
        if client is not None and not callable(client):
            raise ConfigurationError(
                f"CausalMiddleware(client={client!r}): give a function of the scope"
            )
        if bypass is not None and not isinstance(bypass, Bypass):
            raise ConfigurationError(
                f"CausalMiddleware(bypass={type(bypass).__name__}): give Bypass(secret=...)"
            )
        self._app = app
        self._db = db
        self._carriers = _checked(carrier, db)
        self._client = client
        self._bypass = bypass

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in _SESSIONS:
            return await self._app(scope, receive, send)
        db = self._db
        incoming = [
            each for carrier in self._carriers for each in await carrier.incoming(db, scope)
        ]
        client = None if self._client is None else self._client(scope)
        bypassed = self._bypass is not None and self._bypass.asked(scope)
        async with db.causal_session(*incoming, client=client) as session:
            answer = _Answer(db, self._carriers, scope, session, send)
            try:
                with db.bypass() if bypassed else nullcontext():
                    await self._app(scope, receive, answer.send)
            finally:
                await answer.keep()


class _Answer:
    """What is sent in one session."""

    def __init__(
        self,
        db: Database,
        carriers: Sequence[Carrier],
        scope: Scope,
        session: CausalSession,
        send: Send,
    ) -> None:
        self._db = db
        self._carriers = carriers
        self._scope = scope
        self._session = session
        self._send = send
        self._began_with = session.bookmark
        self._kept: Bookmark | None = None

    async def send(self, message: Message) -> None:
        """1. A commit is told to the client, by whatever is sent; 2. his next request, from another
        device, asks Redis for his bookmark. So Redis is told first.
        """
        await self.keep()
        if message["type"] in _BEGINS and self._session.bookmark != self._began_with:
            text = self._session.encode()
            lines = [line for carrier in self._carriers for line in carrier.lines(text)]
            if lines:
                own = message.get("headers") or ()
                message = {**message, "headers": with_lines(own, lines)}
        await self._send(message)

    async def keep(self) -> None:
        """What the session did since it was last asked for. All of it begins before any of it is
        waited for: whoever is cancelled here loses nothing."""
        did = self._session.did
        if did == self._kept:
            return
        keeping = [
            each
            for carrier in self._carriers
            for each in carrier.keep(self._db, self._scope, self._session)
        ]
        for each in keeping:
            await each
        self._kept = did


def _checked(carrier: Carrier | Iterable[Carrier], db: Database) -> tuple[Carrier, ...]:
    given: object = carrier
    carriers = (given,) if isinstance(given, Carrier) else given
    if isinstance(given, type) or not isinstance(carriers, Iterable):
        raise ConfigurationError(
            f"CausalMiddleware(carrier={carrier!r}): give a carrier, as Header(), or several"
        )
    found = tuple(carriers)
    for each in found:
        if not isinstance(each, Carrier) or isinstance(each, type):
            raise ConfigurationError(
                f"CausalMiddleware(carrier=...): {each!r} is no carrier, as Header() is one"
            )
        each.check(db)
    if not found:
        raise ConfigurationError("CausalMiddleware(carrier=()): give a carrier, as Header()")
    return found
