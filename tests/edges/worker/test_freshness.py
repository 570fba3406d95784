"""What is given after its time, and what the origin is asked. Ages are the origin's own words: no
test waits for a second to pass."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response
from websockets.asyncio.client import connect

from tests.edges.worker.running_worker import Origin, purged, running, status

MEANWHILE = {"cache_control": "max-age=60, stale-while-revalidate=600", "age": "60"}
IF_ERROR = {"cache_control": "max-age=60, stale-if-error=600", "age": "60"}


async def settled(edge: httpx.AsyncClient, text: str) -> None:
    """The refresh in the background has been stored."""
    async with asyncio.timeout(20):
        while (await edge.get("/a")).text != text:  # noqa: ASYNC110  # it tells nobody
            await asyncio.sleep(0.02)


async def test_the_time_that_is_left_is_told(edge: httpx.AsyncClient, origin: Origin) -> None:
    origin.give("/a", "text", cache_control="max-age=5000", age="1000")
    await edge.get("/a")
    answer = await edge.get("/a")
    ttl = int(answer.headers["cache-status"].rpartition("ttl=")[2])
    assert ttl + int(answer.headers["age"]) == 5000
    assert 0 < ttl <= 4000


async def test_an_earlier_cache_s_status_stays(edge: httpx.AsyncClient, origin: Origin) -> None:
    origin.give("/a", "text", cache_control="max-age=60", cache_status="inner; hit")
    for _ in range(2):
        told = (await edge.get("/a")).headers["cache-status"].split(", ")
        assert [each.split(";")[0] for each in told] == ["inner", "repocache-worker"]


async def test_stale_is_given_while_one_loads_it_anew(
    edge: httpx.AsyncClient, origin: Origin
) -> None:
    origin.give("/a", "old", **MEANWHILE)
    await edge.get("/a")
    told = asyncio.Event()

    async def slow(request: Request) -> Response:
        await told.wait()
        return Response("new", headers={"cache-control": "max-age=60"})

    origin.at["/a"] = slow
    for _ in range(5):
        answer = await edge.get("/a")
        assert (answer.text, status(answer)) == ("old", "hit")
        assert (
            "ttl=-" in answer.headers["cache-status"] or "ttl=0" in answer.headers["cache-status"]
        )
    told.set()
    await settled(edge, "new")
    assert len(origin.asked("/a")) == 2


async def test_a_page_that_has_gone_is_not_given_stale_for_ever(
    edge: httpx.AsyncClient, origin: Origin
) -> None:
    origin.give("/a", "old", **MEANWHILE)
    await edge.get("/a")
    origin.give("/a", "gone", 404)
    assert (await edge.get("/a")).text == "old"
    await settled(edge, "gone")
    assert (await edge.get("/a")).text == "gone"


@pytest.mark.parametrize("code", [500, 502, 503, 504])
async def test_the_old_is_given_if_the_origin_fails(
    edge: httpx.AsyncClient, origin: Origin, code: int
) -> None:
    origin.give("/a", "old", **IF_ERROR)
    await edge.get("/a")
    origin.give("/a", "failed", code)
    for _ in range(2):
        answer = await edge.get("/a")
        assert (answer.status_code, answer.text) == (200, "old")
        assert status(answer) == f"fwd=stale; fwd-status={code}; detail=stale-if-error"
    origin.give("/a", "new", **IF_ERROR)
    assert (await edge.get("/a")).text == "new"


async def test_a_failure_is_told_where_nothing_else_may_be(
    edge: httpx.AsyncClient, origin: Origin
) -> None:
    origin.give(
        "/a", "old", cache_control="max-age=60, stale-if-error=600", cache_tag="a", age="60"
    )
    await edge.get("/a")
    await purged(edge, "a")
    origin.give("/a", "failed", 503)
    answer = await edge.get("/a")
    assert (answer.status_code, answer.text) == (503, "failed"), "what was purged is no spare"
    origin.give("/a", "forbidden", 403)
    assert (await edge.get("/a")).status_code == 403


async def test_an_origin_that_is_away(packages: Path, origin: Origin) -> None:
    """It closes without a word, then nobody listens, then it does not answer in time."""
    origin.give("/a", "old", **IF_ERROR)
    away = asyncio.Event()

    async def silent(request: Request) -> Response:
        await away.wait()
        return Response("late")

    origin.at["/slow"] = silent
    async with running(packages, {"ORIGIN": origin.address, "ORIGIN_SECONDS": "1"}) as edge:
        await edge.get("/a")
        origin.at["/a"] = silent
        assert status(await edge.get("/a")) == "fwd=stale; fwd-status=502; detail=stale-if-error"
        for method in ("GET", "POST", "HEAD"):
            answer = await edge.request(method, "/slow")
            assert answer.status_code == 502
            assert answer.headers["content-type"] == "text/plain"
        assert (await edge.get("/slow")).text == "the origin is away\n"
        away.set()
    async with running(packages, {"ORIGIN": "http://127.0.0.1:1"}) as edge:
        answer = await edge.get("/a")
        assert (answer.status_code, answer.text) == (502, "the origin is away\n")
        assert answer.headers["cache-control"] == "no-store"


async def test_an_answer_that_breaks_off_is_not_stored(
    edge: httpx.AsyncClient, origin: Origin
) -> None:
    origin.give("/a", "text", cache_control="max-age=60", content_length="1000")
    assert (await edge.get("/a")).status_code == 502
    origin.give("/a", "whole", cache_control="max-age=60")
    assert (await edge.get("/a")).text == "whole"


async def test_the_origin_is_asked_whether_it_has_changed(
    edge: httpx.AsyncClient, origin: Origin
) -> None:
    """By the stored ETag alone, whatever the client has."""

    async def same(request: Request) -> Response:
        old = request.headers.get("if-none-match")
        count = len(origin.asked("/a"))
        headers = {"etag": '"1"', "cache-control": "max-age=60", "x-count": str(count)}
        if old == '"1"':
            return Response(None, 304, headers)
        return Response("text", headers={**headers, "cache-tag": "a", "age": "50", "x-old": "yes"})

    origin.at["/a"] = same
    await edge.get("/a")
    await purged(edge, "a")
    answer = await edge.get("/a", headers={"if-none-match": '"other"'})
    assert (answer.status_code, answer.text, status(answer)) == (200, "text", "fwd=stale; stored")
    assert (answer.headers["x-count"], answer.headers["x-old"]) == ("2", "yes")
    assert int(answer.headers["age"]) < 50, "the origin has just said that it is so"
    assert origin.asked("/a")[1].headers["if-none-match"] == '"1"'
    assert status(await edge.get("/a")) == "hit"
    await purged(edge, "a")
    assert status(await edge.get("/a")) == "fwd=stale; stored", "it has its tags still"


async def test_a_304_is_of_what_was_asked_about(edge: httpx.AsyncClient, origin: Origin) -> None:
    """1. The origin is asked whether "1" has changed. 2. Another one stores "2" in its place.
    3. The origin says that it has not, which says nothing of "2"."""
    origin.give("/a", "one", cache_control="max-age=60", etag='"1"', cache_tag="a")
    await edge.get("/a")
    await purged(edge, "a")
    asked, told = origin.hold("/a", "", 304, etag='"1"')
    loading = asyncio.create_task(edge.get("/a"))
    await asked.wait()
    origin.give("/a", "two", cache_control="max-age=60", etag='"2"', cache_tag="a")
    assert (await edge.get("/a", headers={"bookmark": "0/1"})).text == "two"
    told.set()
    assert (await loading).text == "two"
    conditions = [request.headers.get("if-none-match") for request in origin.asked("/a")]
    assert conditions == [None, '"1"', None, None]


async def test_a_client_that_has_it_is_told_so(edge: httpx.AsyncClient, origin: Origin) -> None:
    origin.give("/a", "text", cache_control="max-age=60", etag='W/"1"')
    for condition in ('"0", "1"', 'W/"1"', "*"):
        answer = await edge.get("/a", headers={"if-none-match": condition})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == 'W/"1"'
        assert answer.headers["cache-control"] == "max-age=60"
    answer = await edge.get("/a", headers={"if-none-match": '"2"'})
    assert (answer.status_code, answer.text) == (200, "text")
    assert len(origin.asked("/a")) == 1
    assert "if-none-match" not in origin.asked("/a")[0].headers


async def test_head_is_answered_by_a_stored_get(edge: httpx.AsyncClient, origin: Origin) -> None:
    origin.give("/a", "text", cache_control="max-age=60")
    answer = await edge.head("/a")
    assert (status(answer), origin.asked("/a")[0].method) == ("fwd=uri-miss", "HEAD")
    await edge.get("/a")
    answer = await edge.head("/a", headers={"accept-encoding": "identity"})
    assert (status(answer), answer.content) == ("hit", b"")
    assert answer.headers["content-length"] == "4"
    assert len(origin.asked("/a")) == 2


async def test_ranges_are_the_origin_s(edge: httpx.AsyncClient, origin: Origin) -> None:
    origin.give("/a", "text", cache_control="max-age=60", etag='"1"')
    await edge.get("/a")
    origin.give("/a", "te", 206, cache_control="max-age=60", content_range="bytes 0-1/4")
    headers = {"range": "bytes=0-1", "if-range": '"1"'}
    answer = await edge.get("/a", headers=headers)
    assert (answer.status_code, answer.text, status(answer)) == (206, "te", "fwd=bypass")
    assert dict(origin.asked("/a")[1].headers).items() >= headers.items()
    assert (await edge.get("/a")).text == "text"


async def test_a_websocket_is_the_origin_s(edge: httpx.AsyncClient, origin: Origin) -> None:
    address = str(edge.base_url).replace("http", "ws", 1)
    async with connect(f"{address}/chat") as socket:
        await socket.send("hello")
        assert await socket.recv() == "hello /chat"


async def test_tags_are_the_edge_s_own(packages: Path, origin: Origin) -> None:
    origin.give("/a", "text", cache_control="max-age=60", cache_tag="a")
    for debug in ("", "yes"):
        async with running(packages, {"ORIGIN": origin.address, "DEBUG": debug}) as edge:
            for _ in range(2):
                assert ("cache-tag" in (await edge.get("/a")).headers) == bool(debug)
