"""The parts together, behind a real server: as a middleware would use them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from starlette.background import BackgroundTask
from starlette.responses import JSONResponse

from repocache.http import CdnControl, Private, Public, Routes
from repocache.http.asgi import App, Message, Receive, Scope, Send
from repocache.http.caching.cache_status import WentOn, Why, with_status
from repocache.http.caching.conditional import (
    ConditionalAnswer,
    Current,
    answer,
    not_modified_lines,
)
from repocache.http.caching.directives import cache_control, targeted
from repocache.http.caching.etags import Representation, body_etag
from repocache.http.caching.responding import Response, collect
from repocache.http.caching.vary import variant, vary_names, with_vary
from repocache.http.caching.watched import WatchedScope, hidden, hidden_by, undeclared
from tests.shop import until

ROUTES = Routes(
    {
        "/products/{id}": Public(max_age=0, vary=("Accept-Language",), cdn=CdnControl(max_age=60)),
        "/clients": Public(max_age=60),
        "/me": Private(no_cache=True, vary=("Cookie",)),
    }
)


class Small:
    """The least that a middleware is."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        policy = ROUTES.of(scope)
        watched = WatchedScope(hidden(scope, hidden_by(policy)))
        lines = [(bytes(name), bytes(value)) for name, value in scope["headers"]]

        class Onward:
            async def passed(self, message: Message) -> None:
                await send(message)

            async def whole(self, response: Response) -> None:
                answered = with_vary(response.lines, policy.vary)
                of = Representation(
                    url=scope["raw_path"] + b"?" + scope["query_string"],
                    variant=variant(lines, policy.vary),
                )
                etag = body_etag(of, response.body)
                left = undeclared(policy, watched.looked, vary_names(answered))
                kept = Private(no_cache=True) if left else policy
                answered += [
                    (b"etag", etag),
                    (b"cache-control", cache_control(kept)),
                    *targeted(kept),
                ]
                answered = with_status(answered, WentOn(why=Why.URI_MISS, detail=",".join(left)))
                made = Response(response.status, tuple(answered), response.body)
                found = answer(scope["method"], lines, Current(etag), response.status)
                if found is ConditionalAnswer.NOT_MODIFIED:
                    made = Response(304, tuple(not_modified_lines(made.lines)))
                for message in made.messages():
                    await send(message)

        await collect(self.app, watched, receive, Onward(), 10_000)


def application() -> Any:
    app = FastAPI()
    background = asyncio.Event()
    app.state.background = background

    @app.get("/products/{id}")
    async def product(id: str, request: Request) -> JSONResponse:
        said = request.headers.get("accept-language", "en")
        text = f"{id} {said} {request.cookies}"
        return JSONResponse(text, background=BackgroundTask(background.wait))

    @app.get("/clients")
    async def clients(request: Request) -> str:
        return request.client.host if request.client else ""

    @app.get("/me")
    async def me(request: Request) -> str:
        return request.cookies.get("sid", "")

    @app.get("/events")
    async def events() -> StreamingResponse:
        async def several() -> AsyncIterator[str]:
            yield "data: 1\n\n"
            await background.wait()
            yield "data: 2\n\n"

        return StreamingResponse(several(), media_type="text/event-stream")

    return app


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=0, lifespan="off", log_level="error")
    )
    serving = asyncio.create_task(server.serve())
    try:
        await until(lambda: server.started or serving.done(), "the server listens")
        port = server.servers[0].sockets[0].getsockname()[1]
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            yield client
    finally:
        server.should_exit = True
        await serving


async def test_on_a_real_server() -> None:
    app = application()
    background = app.state.background
    async with served(Small(app)) as client:
        lines = {"Accept-Language": "de", "Cookie": "sid=1"}
        first = await client.get("/products/7", headers=lines)
        assert first.json() == "7 de {}", "and the task in the background still runs"
        assert first.headers["cache-control"] == "public, max-age=0"
        assert first.headers["cdn-cache-control"] == "max-age=60"
        assert first.headers["vary"] == "Accept-Language"
        assert first.headers["cache-status"] == "repocache; fwd=uri-miss"

        asked = {"If-None-Match": first.headers["etag"]}
        same = await client.get("/products/7", headers={**lines, **asked})
        assert (same.status_code, same.content) == (304, b"")
        assert "content-type" not in same.headers
        assert same.headers["etag"] == first.headers["etag"]
        for path, more in (
            ("/products/8", lines),
            ("/products/7?a", lines),
            ("/products/7", {"Accept-Language": "fr"}),
        ):
            other = await client.get(path, headers={**more, **asked})
            assert other.status_code == 200

        told = await client.get("/clients")
        assert told.headers["cache-control"] == "private, no-cache", "nobody declared it"
        assert "scope:client" in told.headers["cache-status"]
        mine = await client.get("/me", headers=lines)
        assert mine.json() == "1"
        assert mine.headers["vary"] == "Cookie"

        async with client.stream("GET", "/events") as stream:
            pieces = stream.aiter_text()
            assert await anext(pieces) == "data: 1\n\n", "before the application has ended"
            background.set()
            assert "".join([each async for each in pieces]) == "data: 2\n\n"
