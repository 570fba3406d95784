"""Who asks while another one loads."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response

from tests.edges.worker.running_worker import Change, Origin, named, running, status

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


OWN = [
    ({}, {"cookie": "repocache-fresh=1"}),
    ({}, {"bookmark": "0/1"}),
    ({}, {"authorization": "ada"}),
    ({"authorization": "ada"}, {}),
]


@pytest.mark.parametrize("first, second", OWN)
async def test_who_wrote_and_who_is_authorized_load_alone(
    packages: Path, origin: Origin, first: dict[str, str], second: dict[str, str]
) -> None:
    """The second does not wait for the first, whose load may be from before the write, or is not
    for others."""
    asked, told = held(origin, cache_control="public, max-age=60")
    patient: Change = ("worker.js", "JOIN = 10_000", "JOIN = 600_000")
    async with running(packages, {"ORIGIN": origin.address}, [patient]) as edge:
        loading = [asyncio.create_task(edge.get("/a", headers=first))]
        await asked.wait()
        loading.append(asyncio.create_task(edge.get("/a", headers=second)))
        async with asyncio.timeout(20):
            while len(origin.asked("/a")) < 2:  # noqa: ASYNC110  # it has no event for it
                await asyncio.sleep(0.01)
        told.set()
        assert [answer.text for answer in await asyncio.gather(*loading)] == ["1", "2"]


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
    """As if the one who loads had been ended by the runtime: it is waited for once."""
    asked, told = held(origin, cache_control="max-age=60")
    counted: list[Change] = [
        ("worker.js", "scheduler.wait(JOIN)", "(globalThis.waits++, scheduler.wait(100))"),
        ("worker.js", "const flights =", "globalThis.waits = 0;\nconst flights ="),
        ("worker.js", "repocache-worker; ${how}", "repocache-worker; ${how}; ${globalThis.waits}"),
    ]
    async with running(packages, {"ORIGIN": origin.address}, counted) as edge:
        first = asyncio.create_task(edge.get("/a"))
        await asked.wait()
        origin.give("/a", "own", cache_control="max-age=0")
        for _ in range(2):
            answer = await edge.get("/a")
            assert (answer.text, status(answer)) == ("own", "fwd=uri-miss; 1")
        told.set()
        assert (await first).text == "1"
