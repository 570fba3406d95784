"""What is stored, for whom, and for how long."""

from __future__ import annotations

import gzip
from pathlib import Path

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response

from tests.edges.worker.running_worker import Change, Origin, purged, running, status

STORED = {
    "for a time": {"cache_control": "max-age=60"},
    "for the edge alone": {"cdn_cache_control": "max-age=60", "cache_control": "no-store"},
    "longer at the edge": {"cache_control": "max-age=0, s-maxage=60"},
    "a targeted field that is none": {
        "cdn_cache_control": "no-store,,",
        "cache_control": "max-age=9",
    },
    "an empty targeted field": {"cdn_cache_control": "", "cache_control": "max-age=60"},
    "a directive in a string": {"cache_control": 'x="no-store, private", max-age=60'},
    "while it is loaded anew": {"cache_control": "max-age=0, stale-while-revalidate=60"},
}
REFUSED = {
    "nothing said": {},
    "private": {"cache_control": "private, max-age=60"},
    "private by name": {"cache_control": 'private="x-user", max-age=60'},
    "no-store": {"cache_control": "max-age=60, No-Store"},
    "no-cache": {"cache_control": "no-cache, max-age=60"},
    "the targeted field wins": {"cdn_cache_control": "no-store", "cache_control": "max-age=60"},
    "no time in the targeted field": {"cdn_cache_control": "public", "cache_control": "max-age=60"},
    "of two the smaller": {"cache_control": "max-age=60, max-age=0"},
    "no number": {"cache_control": "max-age=soon"},
    "s-maxage before max-age": {"cache_control": "s-maxage=0, max-age=60"},
    "old already": {"cache_control": "max-age=60", "age": "60"},
    "of an age that is none": {"cache_control": "max-age=60", "age": "young"},
    "a cookie": {"cache_control": "public, max-age=60", "set_cookie": "a=1"},
    "a bookmark": {"cache_control": "public, max-age=60", "bookmark": "a"},
    "nothing stale": {"cache_control": "max-age=0, stale-while-revalidate=9, must-revalidate"},
    "nothing stale of an error": {"cache_control": "max-age=0, stale-if-error=9, proxy-revalidate"},
    "of whatever": {"cache_control": "max-age=60", "vary": "Accept, *"},
}


async def twice(edge: httpx.AsyncClient, path: str) -> tuple[str, str]:
    return status(await edge.get(path)), status(await edge.get(path))


async def test_what_may_be_is_stored(edge: httpx.AsyncClient, origin: Origin) -> None:
    told = {}
    for number, (kind, headers) in enumerate(STORED.items()):
        origin.give(f"/{number}", "text", **headers)
        told[kind] = await twice(edge, f"/{number}")
    assert told == dict.fromkeys(STORED, ("fwd=uri-miss; stored", "hit"))


async def test_what_may_not_be_is_not(edge: httpx.AsyncClient, origin: Origin) -> None:
    told = {}
    for number, (kind, headers) in enumerate(REFUSED.items()):
        origin.give(f"/{number}", "text", **headers)
        told[kind] = await twice(edge, f"/{number}")
    assert told == dict.fromkeys(REFUSED, ("fwd=uri-miss", "fwd=uri-miss"))


async def test_what_is_no_whole_page_is_not(edge: httpx.AsyncClient, origin: Origin) -> None:
    told = {}
    for code in (201, 206, 302, 400, 404, 410, 500, 503):
        origin.give(f"/{code}", "text", code, cache_control="public, max-age=60")
        told[code] = await twice(edge, f"/{code}")
    assert told == dict.fromkeys(told, ("fwd=uri-miss", "fwd=uri-miss"))


async def test_a_redirection_is_stored_and_not_followed(
    edge: httpx.AsyncClient, origin: Origin
) -> None:
    origin.give("/a", "", 301, cache_control="max-age=60", location="/b")
    for how in ("fwd=uri-miss; stored", "hit"):
        answer = await edge.get("/a")
        assert (answer.status_code, answer.headers["location"], status(answer)) == (301, "/b", how)


@pytest.mark.parametrize(
    "control, is_stored",
    [
        ("max-age=60", False),
        ("max-age=60, public", True),
        ("s-maxage=60", True),
        ("max-age=60, must-revalidate", True),
    ],
)
async def test_of_an_authorized_request(
    edge: httpx.AsyncClient, origin: Origin, control: str, is_stored: bool
) -> None:
    origin.give("/a", "text", cache_control=control)
    ada = {"authorization": "Bearer ada"}
    await edge.get("/a", headers=ada)
    assert (status(await edge.get("/a", headers=ada)) == "hit") == is_stored
    assert (status(await edge.get("/a")) == "hit") == is_stored


async def test_an_authorized_request_is_given_what_is_for_all_only(
    edge: httpx.AsyncClient, origin: Origin
) -> None:
    async def named(request: Request) -> Response:
        text = request.headers.get("authorization", "nobody")
        return Response(text, headers={"cache-control": "max-age=60"})

    origin.at["/a"] = named
    assert (await edge.get("/a")).text == "nobody"
    assert (await edge.get("/a", headers={"authorization": "ada"})).text == "ada"
    assert (await edge.get("/a")).text == "nobody"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_a_write_goes_through_and_takes_its_page_away(
    edge: httpx.AsyncClient, origin: Origin, method: str
) -> None:
    origin.give("/a", "text", cache_control="max-age=60")
    await edge.get("/a")
    assert status(await edge.request(method, "/a", content=b"body")) == "fwd=method"
    written = origin.asked("/a")[-1]
    assert written.method == method
    assert status(await edge.get("/a")) == "fwd=uri-miss; stored"


async def test_a_refused_write_takes_nothing_away(edge: httpx.AsyncClient, origin: Origin) -> None:
    origin.give("/a", "text", cache_control="max-age=60")
    await edge.get("/a")

    async def refuses(request: Request) -> Response:
        return Response("no", 403)

    origin.at["/a"] = refuses
    assert (await edge.post("/a")).status_code == 403
    assert status(await edge.get("/a")) == "hit"


async def test_variants_are_apart(edge: httpx.AsyncClient, origin: Origin) -> None:
    async def translated(request: Request) -> Response:
        language = request.headers.get("accept-language", "none")
        headers = {"vary": "Accept-Language, Accept-Encoding", "cache-control": "max-age=60"}
        return Response(language, headers={**headers, "cache-tag": language})

    origin.at["/a"] = translated
    for language in ("fr", "de"):
        answer = await edge.get("/a", headers={"accept-language": language})
        assert answer.text == language
    for language in ("fr", "de"):
        for coding in ("gzip", "gzip;q=0.5", "identity"):
            headers = {"accept-language": language, "accept-encoding": coding}
            answer = await edge.get("/a", headers=headers)
            assert (answer.text, status(answer)) == (language, "hit"), coding
    assert status(await edge.get("/a")) == "fwd=vary-miss; stored"
    await purged(edge, "fr")
    assert status(await edge.get("/a", headers={"accept-language": "de"})) == "hit"
    answer = await edge.get("/a", headers={"accept-language": "fr"})
    assert status(answer) == "fwd=stale; stored"


async def test_what_is_larger_than_largest_is_given_and_not_stored(
    packages: Path, origin: Origin
) -> None:
    body = bytes(range(256)) * 4096
    origin.give("/a", body, cache_control="max-age=60")
    origin.give("/b", body[:100_000], cache_control="max-age=60")
    async with running(packages, {"ORIGIN": origin.address, "LARGEST": "100000"}) as edge:
        for _ in range(2):
            answer = await edge.get("/a")
            assert (answer.content == body, status(answer)) == (True, "fwd=uri-miss")
        await edge.get("/b")
        answer = await edge.get("/b")
        assert (answer.content == body[:100_000], status(answer)) == (True, "hit")


async def test_encoded_content_is_given_decoded_or_as_it_is_said(
    edge: httpx.AsyncClient, origin: Origin
) -> None:
    """By an origin that encodes though it is not asked for it."""
    body = gzip.compress(b"text")
    origin.give("/a", body, cache_control="max-age=60", content_encoding="gzip")
    origin.give("/b", body, cache_control="private", content_encoding="gzip")
    for path, headers in (("/a", {}), ("/a", {}), ("/b", {}), ("/b", {"if-match": "*"})):
        for coding in ("gzip", "identity"):
            answer = await edge.get(path, headers={**headers, "accept-encoding": coding})
            assert answer.text == "text"


async def test_content_of_a_coding_that_nobody_here_knows_is_left_alone(
    edge: httpx.AsyncClient, origin: Origin
) -> None:
    origin.give("/a", b"\x00\xff", cache_control="max-age=60", content_encoding="x-own")
    for how in ("fwd=uri-miss; stored", "hit"):
        answer = await edge.get("/a")
        assert (answer.content, status(answer)) == (b"\x00\xff", how)
        assert answer.headers["content-encoding"] == "x-own"


async def test_nothing_counts_for_longer_than_longest(packages: Path, origin: Origin) -> None:
    """Marks are kept for twice as long only: also if the platform keeps it for longer."""
    origin.give("/a", "text", cache_control="max-age=600")
    longer: Change = ("worker.js", "max-age=${seconds}", "max-age=600")
    for changes, how in (([], "fwd=uri-miss; stored"), ([longer], "fwd=stale; stored")):
        bindings = {"ORIGIN": origin.address, "LONGEST": "0"}
        async with running(packages, bindings, changes) as edge:
            await edge.get("/a")
            assert status(await edge.get("/a")) == how


async def test_what_a_client_that_wrote_is_given_is_new(
    edge: httpx.AsyncClient, origin: Origin
) -> None:
    origin.give("/a", "old", cache_control="max-age=60")
    await edge.get("/a")
    for headers in (
        {"bookmark": "0/1"},
        {"cookie": "repocache-fresh=1"},
        {"cookie": "a=1; repocache-fresh="},
    ):
        origin.give("/a", str(headers), cache_control="private, max-age=60")
        answer = await edge.get("/a", headers=headers)
        assert (answer.text, status(answer)) == (str(headers), "fwd=bypass")
    answer = await edge.get("/a", headers={"cookie": "xrepocache-fresh=1"})
    assert (answer.text, status(answer)) == ("old", "hit")
    origin.give("/a", "new", cache_control="max-age=60")
    answer = await edge.get("/a", headers={"bookmark": "0/1"})
    assert (answer.text, status(answer)) == ("new", "fwd=bypass; stored")
    assert (await edge.get("/a")).text == "new", "it may be stored as any"
