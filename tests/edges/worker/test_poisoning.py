"""Attacks: what one client sends must not be in what another one is given."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response

from tests.edges.worker.running_worker import Origin, running, status

KEPT = {"cache-control": "max-age=600"}


@pytest.fixture
def mirror(origin: Origin) -> Origin:
    """`/a` shows all that it sees."""

    async def shown(request: Request) -> Response:
        seen = [*request.headers.items(), request.url.query, await request.body()]
        return Response(repr(seen), headers=KEPT)

    origin.at["/a"] = shown
    return origin


UNKEYED = [
    "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Scheme", "X-Forwarded-Prefix",
    "X-Forwarded-For", "Forwarded", "X-Host", "X-Original-URL", "X-Rewrite-URL",
    "X-HTTP-Method-Override", "X-Anything",
]  # fmt: skip


async def test_a_header_that_nobody_knows_is_not_passed_on(
    edge: httpx.AsyncClient, mirror: Origin
) -> None:
    for name in UNKEYED:
        for more in ({}, {"bookmark": "x"}):
            answer = await edge.get(f"/a?{name}", headers={name: "evil.example", **more})
            assert status(answer).endswith("; stored")
            assert "evil" not in answer.text, name
        assert "evil" not in (await edge.get(f"/a?{name}")).text


async def test_nor_is_it_with_a_write(edge: httpx.AsyncClient, mirror: Origin) -> None:
    """The host of a link in a mail is often made of it."""
    for name in UNKEYED[:-2]:
        assert "evil" not in (await edge.post("/a", headers={name: "evil.example"})).text, name
    assert "mine" in (await edge.post("/a", headers={"X-CSRF-Token": "mine"})).text


async def test_one_that_is_known_is_in_the_key(packages: Path, mirror: Origin) -> None:
    bindings = {"ORIGIN": mirror.address, "FORWARDED": "X-Theme, X-Forwarded-Host"}
    async with running(packages, bindings) as edge:
        for name in ("x-theme", "x-forwarded-host"):
            answer = await edge.get("/a", headers={name: "evil.example"})
            assert "evil" in answer.text
            assert "evil" not in (await edge.get("/a")).text
            answer = await edge.get("/a", headers={name: "evil.example"})
            assert status(answer) == "hit"


async def test_hosts_are_apart(edge: httpx.AsyncClient, mirror: Origin) -> None:
    for host in ("one.example", "two.example", "one.example:99"):
        answer = await edge.get("/a", headers={"host": host})
        assert f"('x-forwarded-host', '{host}')" in answer.text
        assert status(answer) == "fwd=uri-miss; stored"


async def test_queries_are_as_they_came(edge: httpx.AsyncClient, mirror: Origin) -> None:
    for query in ("a=1&b=2", "b=2&a=1", "a=1&b=2&b=2", "A=1&b=2", "a=1%26b=2", "a=1;b=2"):
        answer = await edge.get(f"/a?{query}")
        assert (query in answer.text, status(answer)) == (True, "fwd=uri-miss; stored")


async def test_an_ignored_parameter_is_in_neither(packages: Path, mirror: Origin) -> None:
    """Also if the origin parts parameters by other signs, or knows other names for them."""
    bindings = {"ORIGIN": mirror.address, "IGNORED_PARAMETERS": "utm_*, fbclid"}
    async with running(packages, bindings) as edge:
        assert (await edge.get("/a?id=1")).status_code == 200
        for query in ("utm_source=evil&id=1", "id=1&fbclid=evil", "utm_x=1;id=evil&id=1"):
            answer = await edge.get(f"/a?{query}")
            assert ("evil" in answer.text, status(answer)) == (False, "hit")
        for query in ("id=1;utm_source=evil", "id=1&utm%5Fsource=evil", "id=1&fbclids=evil"):
            assert status(await edge.get(f"/a?{query}")) == "fwd=uri-miss; stored"
        assert "evil" not in (await edge.get("/a?id=1")).text


async def test_a_body_of_a_get_is_not_passed_on(edge: httpx.AsyncClient, mirror: Origin) -> None:
    await edge.request("GET", "/a", content=b"evil")
    assert "evil" not in (await edge.get("/a")).text


async def raw(edge: httpx.AsyncClient, target: str, *lines: str) -> str:
    """The head of what a client is told that keeps to no rule."""
    url = urlsplit(str(edge.base_url))
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    try:
        head = "\r\n".join([f"GET {target} HTTP/1.1", "Host: a", *lines, "Connection: close"])
        writer.write(f"{head}\r\n\r\n".encode())
        async with asyncio.timeout(20):
            return (await reader.readuntil(b"\r\n\r\n")).decode()
    finally:
        writer.close()


@pytest.mark.parametrize("target", ["//evil.example/a", "///evil.example/a", "/\\evil.example/a"])
async def test_a_path_leads_to_no_other_host(
    edge: httpx.AsyncClient, origin: Origin, target: str
) -> None:
    answer = await raw(edge, target)
    assert len(origin.seen) == 1, answer
    assert origin.seen[0].url.path.endswith("evil.example/a")


@pytest.mark.parametrize("break_", ["%0d%0aset-cookie:evil=1", "%0D%0A%0D%0A<script>"])
async def test_no_line_of_an_answer_is_made_of_a_request(
    edge: httpx.AsyncClient, origin: Origin, break_: str
) -> None:
    origin.give("/a", "text", **KEPT)
    for target in (f"/a?{break_}", f"/a{break_}"):
        head = (await raw(edge, target)).lower()
        assert "evil" not in head
        assert "<script>" not in head


async def test_dots_are_taken_away_before_the_key_is_made(
    edge: httpx.AsyncClient, origin: Origin
) -> None:
    """The key is of what the origin sees, whatever it then makes of it."""
    origin.give("/b", "b", **KEPT)
    await raw(edge, "/a/../b")
    assert [request.url.path for request in origin.seen] == ["/b"]
    assert "; hit" in await raw(edge, "/b")


async def test_a_client_cannot_give_what_is_stored_a_name(
    edge: httpx.AsyncClient, origin: Origin
) -> None:
    """What the Worker notes of a stored answer is no header that an origin or a client can set."""
    origin.give("/a", "text", **KEPT, repocache_stored="%7B%22lifetime%22%3A9%7D", cache_tag="a")
    await edge.get("/a", headers={"repocache-stored": "%7B%7D"})
    answer = await edge.get("/a")
    assert (answer.text, status(answer)) == ("text", "hit")
