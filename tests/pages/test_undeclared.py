"""An answer for everybody depends on nothing but what it says, however the application was asked,
and whatever it says beside."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from repocache.http import HttpCache, Public
from tests.pages.site import PAGE, Site
from tests.responses.catalog import Products

PLAIN = Public(max_age=0, s_maxage=600)
PUBLIC = "public, max-age=0, s-maxage=600"
TARGETED = ("CDN-Cache-Control", "Surrogate-Control", "X-Accel-Expires")


@asynccontextmanager
async def asking(site: Site, app: Any, policy: Public) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application whose only page is `/x`."""
    kept: Any = HttpCache(app, site.shop.db, {"/x": policy})
    transport = httpx.ASGITransport(kept)
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        yield client


@pytest.mark.parametrize("policy", [PLAIN, PAGE], ids=["plain", "pages"])
async def test_what_was_said_in_a_body_is_in_nobody_else_s_page(site: Site, policy: Public) -> None:
    """A "fat GET": no cache has its body in its keys."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = await Request(scope, receive).body()
        product = await site.shop.db[Products].require(1)
        answer = PlainTextResponse(f"{product.name} {body.decode()}")
        await answer(scope, receive, send)

    async with asking(site, app, policy) as client:
        for _ in range(4):
            fat = await client.request("GET", "/x", content=b"<script>")
            assert "<script>" in fat.text
            assert "public" not in fat.headers["cache-control"]
        answers = [await client.get("/x") for _ in range(4)]
        assert [each.text for each in answers] == ["n1 "] * 4
        assert answers[-1].headers["cache-control"] == PUBLIC
        assert "<script>" in (await client.request("GET", "/x", content=b"<script>")).text


async def test_variants_by_the_application_s_own_vary_are_told_apart(site: Site) -> None:
    """A shared cache asks with the ETags of all its variants, and takes the one that a 304 names
    (RFC 9111, 4.3.1)."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        language = Request(scope).headers.get("accept-language", "en")
        product = await site.shop.db[Products].require(1)
        answer = PlainTextResponse(
            f"{language} {product.name}", headers={"vary": "accept-language"}
        )
        await answer(scope, receive, send)

    german = httpx.Response(500)
    for policy in (PLAIN, PAGE):
        async with asking(site, app, policy) as client:
            for _ in range(3):
                german = await client.get("/x", headers={"accept-language": "de"})
                assert german.text == "de n1"
                asked = {"accept-language": "fr", "if-none-match": german.headers["etag"]}
                french = await client.get("/x", headers=asked)
                assert (french.status_code, french.text) == (200, "fr n1")
            assert german.headers["cache-control"] == PUBLIC
            asked = {"accept-language": "de", "if-none-match": german.headers["etag"]}
            assert (await client.get("/x", headers=asked)).status_code == 304


async def test_what_is_not_there_is_not_unmodified(site: Site, client: httpx.AsyncClient) -> None:
    """Preconditions count where the answer without them is 2xx (RFC 9110, 13.2.1)."""
    for path in ("/products/99", "/plain/99"):
        for _ in range(6):
            answer = await client.get(path, headers={"if-none-match": "*"})
            assert answer.status_code == 404, path


async def test_the_application_s_own_304_is_not_kept(site: Site) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        product = await site.shop.db[Products].require(1)
        headers = {"etag": '"mine"'}
        if Request(scope).headers.get("if-none-match") == '"mine"':
            answer = Response(status_code=304, headers=headers)
        else:
            answer = PlainTextResponse(product.name, headers=headers)
        await answer(scope, receive, send)

    policy = Public(max_age=0, sees=("If-None-Match",), pages=True)
    async with asking(site, app, policy) as client:
        for _ in range(4):
            found = await client.get("/x", headers={"if-none-match": '"mine"'})
            assert found.status_code == 304
        for _ in range(4):
            answer = await client.get("/x")
            assert (answer.status_code, answer.text) == (200, "n1")


async def test_an_answer_that_becomes_private_tells_no_edge_otherwise(site: Site) -> None:
    """The shipped VCL, Fastly and nginx heed these before `Cache-Control`."""
    targeted = dict.fromkeys(TARGETED, "max-age=3600")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        answer = PlainTextResponse("x", headers=targeted)
        answer.set_cookie("a", "b")
        await answer(scope, receive, send)

    async with asking(site, app, PAGE) as client:
        answer = await client.get("/x")
        assert answer.headers["cache-control"] == "private, no-cache"
        for name in TARGETED:
            assert name not in answer.headers


async def test_a_stream_without_a_header_is_a_stream(site: Site) -> None:
    """`headers` may be left out of the message (ASGI)."""

    async def app(_: Any, __: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await send({"type": "http.response.body", "body": b"b"})

    async with asking(site, app, PAGE) as client:
        answer = await client.get("/x")
        assert answer.text == "ab"
        assert answer.headers["cache-control"] == "private, no-cache"
