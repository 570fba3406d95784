"""The ASGI app: who may see the page, and what of it is answered."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from urllib.parse import parse_qs

import msgspec

from repocache.database import Database
from repocache.errors import ConfigurationError, NotStarted, OtherLoop
from repocache.events import may_hear
from repocache.http.asgi import HeaderLine, Message, Receive, Scope, Send, values_of
from repocache.http.status_page.document import document
from repocache.http.status_page.gathering import TierReads, gathered
from repocache.http.status_page.layers import MAP_HASH, drawn
from repocache.http.status_page.status import Status
from repocache.http.status_page.style import STYLE_HASH
from repocache.observers import LiveFigures
from repocache.observers import catalogue as metrics

Allow = Callable[[Scope], bool]
POLICY = (
    f"default-src 'none'; style-src 'sha256-{STYLE_HASH}' 'sha256-{MAP_HASH}'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
HEADERS: tuple[HeaderLine, ...] = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", POLICY.encode()),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"vary", b"accept"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)
HTML, JSON, TEXT = b"text/html; charset=utf-8", b"application/json", b"text/plain; charset=utf-8"
LEAST_REFRESH, MOST_REFRESH = 2, 3_600
"""Seconds."""


class StatusPage:
    """An ASGI app to mount: how this process's caches and nodes stand, as HTML or JSON
    (`?format=json`, or Accept). It changes nothing, asks no server, and is not there (404) for
    whoever `allow` does not let in.

        app.mount("/status", StatusPage(db, figures, allow=is_operator))

    `figures`: an observer of this database. `allow`: a function of the request's ASGI scope; only
    True lets in. `show_keys`: whether keys are shown, which have ids in them; else their owners
    alone. `title`: of the application.

    Raises ConfigurationError for an `allow` that is no such function.
    """

    def __init__(
        self,
        db: Database,
        figures: LiveFigures,
        *,
        allow: Allow,
        show_keys: bool = False,
        title: str = "repocache",
    ) -> None:
        if not isinstance(db, Database):
            raise ConfigurationError(f"StatusPage(db={db!r}): give the Database that it shows")
        if not isinstance(figures, LiveFigures):
            raise ConfigurationError(
                "StatusPage(figures=...): give the LiveFigures that observe this database, in "
                "Settings(observe=Observers([LoggingObserver(), figures]))"
            )
        if not _is_plain(allow):
            raise ConfigurationError(
                "StatusPage(allow=...): give a plain function of the request's scope that returns "
                "True for those who may see the page, as an authentication before it has said"
            )
        if not may_hear(db.settings.observe, figures):
            raise ConfigurationError(
                "StatusPage(figures=...): these figures hear nothing of this database: give it "
                "them, Settings(observe=Observers([LoggingObserver(), figures]))"
            )
        self._db = db
        self._figures = figures
        self._allow = allow
        self._show_keys = show_keys
        self._title = title
        self._before: TierReads = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        elif self._allow(scope) is not True or _path(scope) not in ("", "/"):
            await _answer(scope, send, 404, TEXT, b"Not Found")
        elif scope["method"] not in ("GET", "HEAD"):
            await _answer(scope, send, 405, TEXT, b"Method Not Allowed", (b"allow", b"GET, HEAD"))
        else:
            await self._show(scope, send)

    async def _show(self, scope: Scope, send: Send) -> None:
        try:
            status = self._status()
        except (NotStarted, OtherLoop) as error:
            await _answer(scope, send, 503, TEXT, str(error).encode())
            return
        asked = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        if wants_json(scope, asked.get("format", [""])[0]):
            await _answer(scope, send, 200, JSON, msgspec.json.encode(status))
            return
        refresh = seconds_of(asked.get("refresh", [""])[0])
        page = document(status, drawn(self._db, status), title=self._title, refresh=refresh)
        await _answer(scope, send, 200, HTML, page.encode())

    def _status(self) -> Status:
        before, self._before = self._before, self._figures.values(metrics.READS)
        return gathered(self._db, self._figures, before, time.time(), show_keys=self._show_keys)


def _is_plain(given: object) -> bool:
    """Whether it can be called, and what it returns need not be awaited."""
    if not callable(given):
        return False
    of_class = getattr(type(given), "__call__")  # noqa: B004, B009  # of an object's class
    return not (inspect.iscoroutinefunction(given) or inspect.iscoroutinefunction(of_class))


def _path(scope: Scope) -> str:
    """Behind the place where it is mounted."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    return path.removeprefix(root) if root else path


def wants_json(scope: Scope, named: str) -> bool:
    """By the query, or by what is accepted where nothing is said."""
    if named:
        return named == "json"
    accepted = b",".join(values_of(scope, "accept")).lower()
    return b"application/json" in accepted and b"text/html" not in accepted


def seconds_of(text: str) -> int:
    """After which the page loads itself; 0: it does not."""
    if not (text.isascii() and text.isdecimal()) or len(text) > 9:
        return 0
    return min(max(int(text), LEAST_REFRESH), MOST_REFRESH) if int(text) else 0


async def _answer(
    scope: Scope, send: Send, status: int, kind: bytes, body: bytes, *more: HeaderLine
) -> None:
    length = str(len(body)).encode()
    lines = [(b"content-type", kind), (b"content-length", length), *HEADERS, *more]
    start: Message = {"type": "http.response.start", "status": status, "headers": lines}
    await send(start)
    shown = b"" if scope["method"] == "HEAD" else body
    await send({"type": "http.response.body", "body": shown})


async def _live(receive: Receive, send: Send) -> None:
    """It has nothing to start or end."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
