"""What somebody outside has put into `request.state` for one request is no page's for all."""

from __future__ import annotations

from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from repocache.http import HttpCache
from tests.pages.site import PAGE, Site

SHARED = object()


async def greeting(request: Request) -> PlainTextResponse:
    request.state.mine = "the application's own"
    assert request.state.mine
    return PlainTextResponse(f"hello {request.state.user}")


async def lifespan_s(request: Request) -> PlainTextResponse:
    assert request.state.pool is SHARED
    return PlainTextResponse("hello")


ROUTES = [Route("/greeting", greeting), Route("/lifespan", lifespan_s)]


def outside(app: Any) -> Any:
    """As a middleware that knows who asks."""

    async def knowing(scope: Any, receive: Any, send: Any) -> None:
        names = dict(scope["headers"])
        user = names.get(b"x-who", b"nobody").decode()
        await app({**scope, "state": {"user": user, "pool": SHARED}}, receive, send)

    return knowing


async def test_a_user_in_the_state_is_found(site: Site) -> None:
    app = outside(
        HttpCache(
            Starlette(routes=ROUTES), site.shop.db, dict.fromkeys(("/greeting", "/lifespan"), PAGE)
        )
    )
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        for user in ("ada", "eve", "ada"):
            answer = await client.get("/greeting", headers={"x-who": user})
            assert (answer.text, answer.headers["cache-control"]) == (
                f"hello {user}",
                "private, no-cache",
            )
        seen = [
            (await client.get("/lifespan", headers={"x-who": user})).headers["cache-control"]
            for user in ("ada", "eve", "ada")
        ]
        assert "public" in seen[-1], "the lifespan's state is the same for all"
