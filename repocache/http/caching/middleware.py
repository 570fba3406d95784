"""`app.add_middleware(HttpCache, db=db, routes={...})`: what each route's answers may be kept for,
by whom, and their kept pages.

Pure ASGI. It stands within `CausalMiddleware`, and around whatever else looks at requests.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from repocache.database import Database
from repocache.errors import ConfigurationError
from repocache.http.asgi import App, HeaderLine, Message, Receive, Scope, Send
from repocache.http.caching.directives import cache_control, targeted
from repocache.http.caching.etags import Representation
from repocache.http.caching.exchange import Exchange, Ground, HttpRequest
from repocache.http.caching.guard import WriteGuard, is_guarded
from repocache.http.caching.policy import Etag, Public, RoutePolicy
from repocache.http.caching.routes import Routes
from repocache.http.caching.vary import variant
from repocache.http.caching.watched_state import LifespanState
from repocache.routing.around import current_session
from repocache.runtime.served import RouteDescription

FRESH = "repocache-fresh"
"""A cookie of who has written a moment ago: an edge that sees it asks the service."""
MOST_BYTES = 1024 * 1024


class HttpCache:
    """`HttpCache(app, db, routes={"/products/{id}": Public(max_age=0, s_maxage=60)})`.

    `routes`: policies by path templates, or `Routes` with another default. `strict`: a public
    response that depended on what it does not say is an error (UndeclaredDependence), and not only
    private: for tests. `most_bytes`: of a body that is collected; longer ones, and streams, pass
    unchanged and are kept by nobody.

    Raises ConfigurationError for what cannot work with this database.
    """

    def __init__(
        self,
        app: App,
        db: Database,
        routes: Mapping[str, RoutePolicy] | Routes,
        *,
        strict: bool = False,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        if not isinstance(db, Database):
            raise ConfigurationError(f"HttpCache(db={type(db).__name__}): give the Database itself")
        self._app = app
        self._db = db
        self._routes = routes if isinstance(routes, Routes) else Routes(routes)
        self._strict = strict
        self._lifespan = LifespanState()
        if most_bytes < 1:
            raise ConfigurationError(f"HttpCache(most_bytes={most_bytes}): give 1 or more")
        self._most = most_bytes
        for template, policy in self._routes:
            if isinstance(policy, Public) and policy.pages and not db.keeps_pages:
                raise ConfigurationError(
                    f"HttpCache(routes=...): {template} says pages=True: give "
                    "Database(pages=PageCache(ttl=600))"
                )

        db.serves(described(self._routes))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            self._lifespan.begins(scope.get("state"))
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        lines = [(bytes(name).lower(), bytes(value)) for name, value in scope["headers"]]
        send = self._telling(scope, send)
        if scope["method"] not in ("GET", "HEAD"):
            return await self._write(scope, lines, receive, send)
        policy = self._routes.of(scope)
        ground = Ground(
            app=self._app,
            responses=self._db.responses,
            lifespan=self._lifespan,
            most=self._most,
            now=self._db.now,
            strict=self._strict,
            observe=self._db.settings.observe,
        )
        of = Representation(url=url_of(scope, lines), variant=variant(lines, policy.vary))
        asked = HttpRequest(scope, receive, send, lines, of)
        return await Exchange(ground, asked, policy).run()

    async def _write(
        self, scope: Scope, lines: list[HeaderLine], receive: Receive, send: Send
    ) -> None:
        """What says what it is built upon is compared with the resource as a GET has it."""
        policy = self._routes.of({**scope, "method": "GET"})
        if not is_guarded(lines) or policy.etag is Etag.NONE:
            return await self._app(scope, receive, send)
        of = Representation(url=url_of(scope, lines), variant=variant(lines, policy.vary))
        request = HttpRequest(scope, receive, send, lines, of)
        guard = WriteGuard(self._app, self._db.responses, self._most)
        return await guard(request, policy, receive, send)

    def _telling(self, scope: Scope, send: Send) -> Send:
        """Of what nobody has declared otherwise, as what may write, nothing is kept; and who has
        written, by whatever method, is told so to the edges, for as long as they may have a page of
        before."""
        session = current_session()
        before = None if session is None else session.did

        async def telling(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [
                    (bytes(name).lower(), bytes(value))
                    for name, value in message.get("headers") or ()
                ]
                more: list[HeaderLine] = []
                if not any(name == b"cache-control" for name, _ in own):
                    more.append((b"cache-control", b"no-store"))
                fresh_for = self._db.responses.fresh_for
                if fresh_for and session is not None and session.did != before:
                    more.append((b"set-cookie", fresh_cookie(scope, fresh_for)))
                message = {**message, "headers": [*own, *more]}
            await send(message)

        return telling


def described(routes: Routes) -> list[RouteDescription]:
    """For maps and pages."""
    return [
        RouteDescription(
            template=template,
            cache_control=cache_control(policy).decode(),
            targeted=b", ".join(b"%s: %s" % line for line in targeted(policy)).decode(),
            vary=policy.vary,
            keeps_pages=isinstance(policy, Public) and policy.pages,
        )
        for template, policy in routes
    ]


def fresh_cookie(scope: Scope, seconds: float) -> bytes:
    """Says nothing but that its client has written."""
    parts = [f"{FRESH}=1", "Path=/", f"Max-Age={math.ceil(seconds)}", "HttpOnly", "SameSite=Lax"]
    if scope.get("scheme") == "https":
        parts.append("Secure")
    return "; ".join(parts).encode()


def url_of(scope: Scope, lines: list[HeaderLine]) -> bytes:
    """Scheme, host, path and query, as they came."""
    host = next((value.lower() for name, value in lines if name == b"host"), b"")
    scheme = str(scope.get("scheme", "http")).encode()
    path = scope.get("raw_path") or str(scope["path"]).encode("utf-8", errors="surrogateescape")
    root = str(scope.get("root_path", "")).encode("utf-8", errors="surrogateescape")
    query = bytes(scope.get("query_string") or b"")
    parts = (scheme, host, root, bytes(path), query)
    return b"|".join(b"%d:%s" % (len(part), part) for part in parts)
