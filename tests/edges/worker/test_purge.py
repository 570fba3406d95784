"""Who may purge, what a purge takes away, and that none of it is undone by what comes late."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response

from tests.edges.worker.running_worker import Change, Origin, named, purged, running, signed, status

PURGE = "/__repocache/purge"
KEPT = {"cdn_cache_control": "max-age=600", "cache_tag": "app.product:7,app.product,app.*"}
FENCE_OFF: Change = ("rules.js", "marks.hard <= stored.count", "true")


async def kept(edge: httpx.AsyncClient, origin: Origin, path: str = "/a") -> None:
    origin.give(path, "old", **KEPT)
    await edge.get(path)
    assert status(await edge.get(path)) == "hit"
    origin.give(path, "new", **KEPT)


@pytest.mark.parametrize("tag", ["app.product:7", "app.product", "app.*", "*"])
async def test_each_of_its_tags_takes_an_answer_away(
    edge: httpx.AsyncClient, origin: Origin, tag: str
) -> None:
    await kept(edge, origin)
    await purged(edge, "app.product:8", "product", "app")
    assert (await edge.get("/a")).text == "old", "of other tags"
    await purged(edge, "other", tag)
    answer = await edge.get("/a")
    assert (answer.text, status(answer)) == ("new", "fwd=stale; stored")
    assert status(await edge.get("/a")) == "hit"


async def test_all_takes_also_what_has_no_tag(edge: httpx.AsyncClient, origin: Origin) -> None:
    origin.give("/a", "old", cache_control="max-age=600")
    await edge.get("/a")
    await purged(edge, "app.*")
    assert status(await edge.get("/a")) == "hit"
    await purged(edge, "*")
    assert status(await edge.get("/a")) == "fwd=stale; stored"


async def late(edge: httpx.AsyncClient, origin: Origin) -> httpx.Response:
    """1. A load begins, and the origin reads. 2. A write is committed and its tags are purged.
    3. The origin answers with what it had read, which is stored. What is given afterwards?"""
    reading, told = origin.hold("/a", "old", **KEPT)
    first = asyncio.create_task(edge.get("/a"))
    await reading.wait()
    await purged(edge, "app.product:7")
    told.set()
    assert (await first).text == "old", "it asked before the write"
    origin.give("/a", "new", **KEPT)
    return await edge.get("/a")


async def test_a_late_store_does_not_undo_a_purge(edge: httpx.AsyncClient, origin: Origin) -> None:
    assert (await late(edge, origin)).text == "new"
    assert status(await edge.get("/a")) == "hit"


async def test_without_the_fence_it_would(packages: Path, origin: Origin) -> None:
    async with running(packages, {"ORIGIN": origin.address}, [FENCE_OFF]) as edge:
        answer = await late(edge, origin)
        assert (answer.text, status(answer)) == ("old", "hit")


async def test_a_load_from_before_a_purge_is_not_joined(
    edge: httpx.AsyncClient, origin: Origin
) -> None:
    """Who asks after the purge is not given what was read before it."""
    reading, told = asyncio.Event(), asyncio.Event()

    async def slow(request: Request) -> Response:
        text = "new" if reading.is_set() else "old"
        reading.set()
        await told.wait()
        return Response(text, 200, named(KEPT))

    origin.at["/a"] = slow
    first = asyncio.create_task(edge.get("/a"))
    await reading.wait()
    await purged(edge, "app.product")
    others = [asyncio.create_task(edge.get("/a")) for _ in range(5)]
    await asyncio.sleep(0.3)  # they are there, or are late: both are to be given the new
    told.set()
    assert (await first).text == "old"
    assert {answer.text for answer in await asyncio.gather(*others)} == {"new"}
    assert len(origin.asked("/a")) < 6, "they share another one"


async def test_soft_gives_the_old_once_while_it_is_loaded_anew(
    edge: httpx.AsyncClient, origin: Origin
) -> None:
    await kept(edge, origin)
    reading, told = origin.hold("/a", "new", **KEPT)
    await purged(edge, "app.product:7", soft=True)
    answer = await edge.get("/a")
    assert (answer.text, status(answer)) == ("old", "hit")
    await reading.wait()
    second = asyncio.create_task(edge.get("/a"))
    await asyncio.sleep(0.2)
    told.set()
    assert (await second).text == "new"
    assert len(origin.asked("/a")) == 2, "the first and the one refresh"


async def test_hard_after_soft_gives_nothing_old(edge: httpx.AsyncClient, origin: Origin) -> None:
    await kept(edge, origin)
    await purged(edge, "app.product", soft=True)
    await purged(edge, "app.product:7")
    await purged(edge, "app.product:7", soft=True)
    assert (await edge.get("/a")).text == "new"


async def test_soft_is_hard_where_nothing_stale_may_be_given(
    edge: httpx.AsyncClient, origin: Origin
) -> None:
    strict = {"cache_control": "max-age=600, must-revalidate", "cache_tag": "a"}
    origin.give("/a", "old", **strict)
    await edge.get("/a")
    origin.give("/a", "new", **strict)
    await purged(edge, "a", soft=True)
    assert (await edge.get("/a")).text == "new"


async def test_ten_thousand_tags(edge: httpx.AsyncClient, origin: Origin) -> None:
    await kept(edge, origin)
    await purged(edge, *(f"app.product:{number}" for number in range(10_000)))
    assert (await edge.get("/a")).text == "new"


async def test_an_answer_of_many_tags(edge: httpx.AsyncClient, origin: Origin) -> None:
    """500 of them, which is what headers have room for in many servers."""
    tags = [f"app.product:{number}" for number in range(500)]
    origin.give("/a", "old", cache_control="max-age=600", cache_tag=",".join(tags))
    await edge.get("/a")
    assert status(await edge.get("/a")) == "hit"
    await purged(edge, tags[-1])
    assert status(await edge.get("/a")) == "fwd=stale; stored"


def forged(body: bytes) -> dict[str, dict[str, str]]:
    good = signed(body)
    return {
        "nothing": {},
        "another secret": signed(body, secret="b3RoZXI="),
        "another body": signed(body + b" "),
        "another id": {**good, "webhook-id": "other"},
        "an id with dots": signed(body, id="a.1"),
        "old": signed(body, at=-301),
        "of the future": signed(body, at=302),
        "no number": {**good, "webhook-timestamp": "now"},
        "empty": {**good, "webhook-signature": ""},
        "no base64": {**good, "webhook-signature": "v1,%%%"},
        "another version": {
            **good,
            "webhook-signature": good["webhook-signature"].replace("v1", "v2"),
        },
        "cut off": {**good, "webhook-signature": good["webhook-signature"][:-4]},
    }


async def test_a_forged_purge_does_nothing(edge: httpx.AsyncClient, origin: Origin) -> None:
    await kept(edge, origin)
    body, told = b'{"tags": ["app.product"]}', {}
    for kind, headers in forged(body).items():
        answer = await edge.post(PURGE, content=body, headers=headers)
        told[kind] = answer.status_code, status(await edge.get("/a"))
    assert told == dict.fromkeys(told, (401, "hit"))


async def test_one_good_signature_of_several_is_enough(
    edge: httpx.AsyncClient, origin: Origin
) -> None:
    body = b'{"tags": ["app.product"]}'
    good = signed(body)
    good["webhook-signature"] = f"v1,AAAA v2,AAAA {good['webhook-signature']}"
    assert (await edge.post(PURGE, content=body, headers=good)).status_code == 204


async def test_a_replayed_purge_takes_nothing_more_away(
    edge: httpx.AsyncClient, origin: Origin
) -> None:
    await kept(edge, origin)
    body = b'{"tags": ["app.product"]}'
    headers = signed(body)
    assert (await edge.post(PURGE, content=body, headers=headers)).status_code == 204
    assert (await edge.get("/a")).text == "new"
    assert (await edge.post(PURGE, content=body, headers=headers)).status_code == 204
    assert status(await edge.get("/a")) == "hit"


BAD = [
    "", "{", "[]", "null", '"*"', "{}", '{"tags": "*"}', '{"tags": {"0": "app.product"}}',
    '{"tags": ["app.product", 7]}', '{"tags": ["app.product", null]}', '{"tags": [["app.*"]]}',
    '{"tags": ["x,app.product"]}', '{"tags": ["app.product "]}', '{"tags": ["app.product\\n"]}',
    '{"tags": [""]}', '{"tags": ["app.product"], "soft": "no"}', '{"tags": ["\\u00e9"]}',
]  # fmt: skip


async def test_a_body_that_is_no_purge_does_nothing(
    edge: httpx.AsyncClient, origin: Origin
) -> None:
    await kept(edge, origin)
    told = {}
    for body in map(str.encode, BAD):
        answer = await edge.post(PURGE, content=body, headers=signed(body))
        told[body] = answer.status_code, status(await edge.get("/a"))
    assert told == dict.fromkeys(told, (400, "hit"))


async def test_tags_are_names_and_nothing_else(edge: httpx.AsyncClient, origin: Origin) -> None:
    await kept(edge, origin)
    await purged(edge, "');DROP/**/TABLE/**/marks;--", "__proto__", "app.%", "app.product:?", "$")
    assert status(await edge.get("/a")) == "hit"
    await purged(edge, "app.product")
    assert (await edge.get("/a")).text == "new", "the marks are still there"


async def test_a_huge_body_is_refused(edge: httpx.AsyncClient, origin: Origin) -> None:
    body = json.dumps({"tags": ["a" * 1000] * 2000}).encode()
    answer = await edge.post(PURGE, content=body, headers=signed(body))
    assert answer.status_code == 413


async def test_only_posts_purge_and_nothing_else_is_served_there(
    edge: httpx.AsyncClient, origin: Origin
) -> None:
    assert (await edge.get(PURGE)).status_code == 405
    assert (await edge.get("/__repocache/stored/0")).status_code == 404
    assert origin.seen == []


async def test_without_a_secret_nobody_purges(packages: Path, origin: Origin) -> None:
    for secret in ("", "whsec_", "whsec_%%%"):
        bindings = {"ORIGIN": origin.address, "PURGE_SECRET": secret}
        async with running(packages, bindings) as edge:
            body = b'{"tags": []}'
            answer = await edge.post(PURGE, content=body, headers=signed(body))
            assert answer.status_code == 503


async def test_without_marks_nothing_is_stored(packages: Path, origin: Origin) -> None:
    async with running(packages, {"ORIGIN": origin.address}, more={"durableObjects": {}}) as edge:
        origin.give("/a", "text", **KEPT)
        for _ in range(2):
            assert status(await edge.get("/a")) == "fwd=uri-miss"


async def test_marks_may_be_asked_now_and_then_only(packages: Path, origin: Origin) -> None:
    """Whoever purges through this isolate is not told what was known before."""
    async with running(packages, {"ORIGIN": origin.address, "MARKS_SECONDS": "600"}) as edge:
        await kept(edge, origin)
        await purged(edge, "app.product")
        assert (await edge.get("/a")).text == "new"
