"""Starlette's responses, collected or passed on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, StreamingResponse
from starlette.responses import Response as StarletteResponse
from starlette.routing import Route

from repocache.http.asgi import Message
from repocache.http.caching.responding import (
    Response,
    Streamed,
)
from tests.web.caching.collecting import (
    BODY,
    MOST,
    START,
    Client,
    asking,
    taken,
)
from tests.web.serving import scope

ASKED: dict[str, Any] = {
    "query_string": b"",
    "headers": [(b"host", b"shop"), (b"accept-encoding", b"gzip")],
    "server": ("shop", 80),
    "scheme": "http",
    "root_path": "",
}


async def test_a_background_task_keeps_nobody_waiting() -> None:
    client, there = Client(), []

    async def later() -> None:
        there.append(len(client.wholes))
        await client.passed({"type": "later"})

    async def endpoint(request: Request) -> JSONResponse:
        return JSONResponse({}, background=BackgroundTask(later))

    found = await taken(Starlette(routes=[Route("/", endpoint)]), client, **ASKED)
    assert isinstance(found, Response)
    assert there == [1]
    assert [each["type"] for each in client.messages] == [START, BODY, "later"]


async def passed_on(request: Request, call_next: Any) -> Any:
    return await call_next(request)


async def pieces() -> AsyncIterator[bytes]:
    for _ in range(3):
        yield b"a"


@pytest.mark.parametrize(
    "response, is_whole",
    [
        (lambda: JSONResponse({"a": 1}), True),
        (lambda: RedirectResponse("/x"), True),
        (lambda: StarletteResponse(status_code=204), True),
        (lambda: JSONResponse("a" * MOST), False),
        (lambda: StreamingResponse(pieces()), False),
        (lambda: StreamingResponse(pieces(), headers={"content-length": "3"}), True),
        (lambda: StreamingResponse(pieces(), media_type="text/event-stream"), False),
        (lambda: FileResponse(__file__), False),
    ],
)
@pytest.mark.parametrize("within", [False, True], ids=["bare", "in BaseHTTPMiddleware"])
async def test_starlette_s_responses(
    within: bool, response: Callable[[], StarletteResponse], is_whole: bool
) -> None:
    async def endpoint(request: Request) -> StarletteResponse:
        return response()

    async def once(is_collected: bool) -> tuple[Any, list[Message]]:
        app = Starlette(routes=[Route("/", endpoint)])
        if within:
            app.add_middleware(BaseHTTPMiddleware, dispatch=passed_on)
        client = Client()
        if is_collected:
            return await taken(app, client, **ASKED), client.messages
        await app(scope(**ASKED), asking(), client.passed)
        return None, client.messages

    found, messages = await once(True)
    _, plain = await once(False)
    assert isinstance(found, Response) == is_whole
    joined = [b"".join(each.get("body", b"") for each in side[1:]) for side in (messages, plain)]
    assert joined[0] == joined[1]
    assert messages[0]["headers"] == plain[0]["headers"]
    if not is_whole:
        assert messages == plain


async def test_a_file_that_the_server_sends(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")

    async def endpoint(request: Request) -> FileResponse:
        return FileResponse(tmp_path / "a")

    client = Client()
    more = {**ASKED, "extensions": {"http.response.pathsend": {}}}
    found = await taken(Starlette(routes=[Route("/", endpoint)]), client, **more)
    assert found == Streamed(200)
    assert client.messages[-1] == {"type": "http.response.pathsend", "path": str(tmp_path / "a")}


async def test_what_is_coded_is_collected_coded() -> None:
    async def endpoint(request: Request) -> JSONResponse:
        return JSONResponse("a" * 90)

    app = Starlette(routes=[Route("/", endpoint)])
    app.add_middleware(GZipMiddleware, minimum_size=1)
    found = await taken(app, Client(), **ASKED)
    assert isinstance(found, Response)
    assert (b"content-encoding", b"gzip") in found.lines
    assert found.body.startswith(b"\x1f\x8b")
