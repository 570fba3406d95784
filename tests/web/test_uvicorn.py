"""A server and clients on real sockets: cookies, streams, background tasks and WebSockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.asyncio.client import connect

from repocache.http import Carrier, CausalMiddleware, Cookie, Header, Subject
from repocache.testing import Servers
from tests.shop import Shop, User, until
from tests.web.serving import old_enough, pause, user_of


def starlette(shop: Shop) -> Starlette:
    async def read(request: Request) -> Response:
        found = await shop.users.find(User.id == 7)
        return JSONResponse(found[0].name)

    async def write(request: Request) -> Response:
        await shop.rename(7, request.path_params["name"])
        return JSONResponse("done")

    async def stream(request: Request) -> Response:
        await shop.rename(7, "before")

        async def body() -> AsyncIterator[str]:
            yield "first\n"
            await shop.rename(7, "in the stream")
            yield "second\n"

        return StreamingResponse(
            body(), background=BackgroundTask(shop.rename, 7, "in the background")
        )

    async def talk(socket: WebSocket) -> None:
        await socket.accept()
        await shop.rename(7, await socket.receive_text())
        await socket.send_text((await shop.users.find(User.id == 7))[0].name)
        await socket.close()

    async def nothing(request: Request, call_next: Any) -> Any:
        return await call_next(request)

    app = Starlette(
        routes=[
            Route("/", read),
            Route("/stream", stream),
            Route("/{name}", write, methods=["PUT"]),
            WebSocketRoute("/talk", talk),
        ]
    )
    carriers: list[Carrier] = [Header(), Cookie(secure=False), Subject(user_of)]
    app.add_middleware(BaseHTTPMiddleware, dispatch=nothing)
    app.add_middleware(CausalMiddleware, db=shop.db, carrier=carriers)
    app.add_middleware(BaseHTTPMiddleware, dispatch=nothing)
    return app


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[str]:
    """Its address. Stopped whatever happens."""
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=0, lifespan="off", log_level="error")
    )
    serving = asyncio.create_task(server.serve())
    try:
        await until(lambda: server.started or serving.done(), "the server listens")
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await asyncio.wait({serving})


async def test_a_browser(repocache_controls: Servers, shop: Shop, other: Shop) -> None:
    await pause(repocache_controls)
    async with (
        served(starlette(shop)) as first,
        served(starlette(other)) as second,
        httpx.AsyncClient() as browser,
    ):
        written = await browser.put(f"http://{first}/Ada")
        assert "httponly" in written.headers["set-cookie"].lower()
        browser.cookies = written.cookies
        assert (await browser.get(f"http://{second}/")).json() == "Ada"
        browser.cookies = httpx.Cookies()
        assert (await browser.get(f"http://{second}/")).json() == "n07"


async def test_a_stream_and_what_comes_after_it(
    repocache_controls: Servers, shop: Shop, other: Shop
) -> None:
    await old_enough(shop)
    await pause(repocache_controls)
    carried = {"x-user": "7"}
    async with (
        served(starlette(shop)) as first,
        served(starlette(other)) as second,
        httpx.AsyncClient(headers=carried) as device,
        httpx.AsyncClient(headers=carried) as another,
    ):
        async with device.stream("GET", f"http://{first}/stream") as answer:
            text = answer.headers["bookmark"]
            lines = answer.aiter_lines()
            assert await anext(lines) == "first"
            assert await anext(lines) == "second"
            found = (await another.get(f"http://{second}/")).json()
            assert found in {"in the stream", "in the background"}, "told before it was sent"

        async def seen() -> bool:
            return bool((await another.get(f"http://{second}/")).json() == "in the background")

        await until(seen, "the background task has committed, and Redis was told")
        async with httpx.AsyncClient() as stranger:
            late = await stranger.get(f"http://{second}/", headers={"bookmark": text})
            assert late.json() in {"before", "in the stream", "in the background"}


async def test_a_websocket(repocache_controls: Servers, shop: Shop, other: Shop) -> None:
    await old_enough(shop)
    await pause(repocache_controls)
    async with served(starlette(shop)) as first, served(starlette(other)) as second:
        async with connect(f"ws://{first}/talk", additional_headers={"x-user": "7"}) as socket:
            await socket.send("Ada")
            assert await socket.recv() == "Ada"
        async with httpx.AsyncClient(headers={"x-user": "7"}) as browser:
            assert (await browser.get(f"http://{second}/")).json() == "Ada"
