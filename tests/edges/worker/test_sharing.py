"""Who asks while another one loads."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
from starlette.requests import Request
from starlette.responses import Response

from tests.edges.worker.running_worker import Origin, named, running, status

MANY = 50


def held(origin: Origin, **headers: str) -> tuple[asyncio.Event, asyncio.Event]:
    """`/a` answers with its count, when it is let: it was asked, it may answer."""
    asked, told = asyncio.Event(), asyncio.Event()

    async def slow(request: Request) -> Response:
        text = request.headers.get("accept-language", str(len(origin.asked("/a"))))
        asked.set()
        await told.wait()
        return Response(text, headers=named(headers))

    origin.at["/a"] = slow
    return asked, told


async def test_all_share_one_load(edge: httpx.AsyncClient, origin: Origin) -> None:
    asked, told = held(origin, cache_control="max-age=60")
    loading = [asyncio.create_task(edge.get("/a")) for _ in range(MANY)]
    await asked.wait()
    await asyncio.sleep(0.3)  # who comes later is given what is stored
    told.set()
    answers = await asyncio.gather(*loading)
    assert {answer.text for answer in answers} == {"1"}
    assert len(origin.asked("/a")) == 1
    assert {status(answer) for answer in answers} >= {"fwd=uri-miss; stored"}


async def test_none_is_given_what_is_another_one_s(edge: httpx.AsyncClient, origin: Origin) -> None:
    _, told = held(origin, cache_control="private")
    loading = [asyncio.create_task(edge.get("/a")) for _ in range(10)]
    await asyncio.sleep(0.2)
    told.set()
    answers = await asyncio.gather(*loading)
    assert len({answer.text for answer in answers}) == 10


async def test_none_is_given_another_variant(edge: httpx.AsyncClient, origin: Origin) -> None:
    _, told = held(origin, cache_control="max-age=60", vary="accept-language")
    languages = ["fr", "de", "en"] * 4
    loading = [
        asyncio.create_task(edge.get("/a", headers={"accept-language": language}))
        for language in languages
    ]
    await asyncio.sleep(0.2)
    told.set()
    answers = await asyncio.gather(*loading)
    assert [answer.text for answer in answers] == languages


async def test_a_load_goes_on_when_its_client_has_gone(
    edge: httpx.AsyncClient, origin: Origin
) -> None:
    asked, told = held(origin, cache_control="max-age=60")
    first = asyncio.create_task(edge.get("/a"))
    await asked.wait()
    second = asyncio.create_task(edge.get("/a"))
    await asyncio.sleep(0.2)
    first.cancel()
    await asyncio.sleep(0.2)
    told.set()
    assert (await second).text == "1"


async def test_a_client_that_wrote_joins_no_load(edge: httpx.AsyncClient, origin: Origin) -> None:
    asked, told = held(origin, cache_control="max-age=60")
    first = asyncio.create_task(edge.get("/a"))
    await asked.wait()
    wrote = asyncio.create_task(edge.get("/a", headers={"cookie": "repocache-fresh=1"}))
    async with asyncio.timeout(20):
        while len(origin.asked("/a")) < 2:  # noqa: ASYNC110  # it has no event for it
            await asyncio.sleep(0.01)
    told.set()
    assert ((await first).text, (await wrote).text) == ("1", "2")


async def test_all_are_told_that_the_origin_is_away(
    edge: httpx.AsyncClient, origin: Origin
) -> None:
    asked, told = held(origin, cache_control="max-age=60", content_length="1000")
    loading = [asyncio.create_task(edge.get("/a")) for _ in range(10)]
    await asked.wait()
    await asyncio.sleep(0.3)
    told.set()
    assert {answer.status_code for answer in await asyncio.gather(*loading)} == {502}
    assert len(origin.asked("/a")) < 10


async def test_a_load_that_does_not_end_is_not_waited_for(packages: Path, origin: Origin) -> None:
    """As if the one who loads had been ended by the runtime: nobody waits for it again."""
    asked, told = held(origin, cache_control="max-age=60")
    hurried = ("worker.js", "JOIN = 10_000", "JOIN = 100")
    async with running(packages, {"ORIGIN": origin.address}, [hurried]) as edge:
        first = asyncio.create_task(edge.get("/a"))
        await asked.wait()
        origin.give("/a", "own", cache_control="max-age=0")
        assert (await edge.get("/a")).text == "own"
        told.set()
        assert (await first).text == "1"
