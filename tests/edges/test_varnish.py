"""Varnish itself, with the configuration that is shipped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest

from repocache.edges.exchange import new_client
from repocache.edges.varnish import Varnish
from repocache.errors import EdgeFailed, EdgeRefused, EdgeUnavailable
from repocache.testing.ports import free_port
from tests.edges.pages import NAMES, Pages, browser, number, service
from tests.edges.servers import SECRET, needs_varnish, varnish
from tests.shop import until


@dataclass
class Here:
    pages: Pages
    edge: Varnish
    client: httpx.AsyncClient

    async def get(self, path: str, **headers: str) -> int:
        return await number(self.client, path, **headers)

    async def purge(self, *tags: str, edge: Varnish | None = None) -> None:
        async with new_client() as client:
            await (edge or self.edge).purge(client, [NAMES.name(tag) for tag in tags])


@pytest.fixture
async def here() -> AsyncIterator[Here]:
    # One for the file would be another loop's.
    async with (
        service() as pages,
        varnish(pages.port, ("# if (req.url", "if (req.url")) as running,
        browser(running.url) as client,
    ):
        yield Here(pages, Varnish(running.url, secret=SECRET), client)


pytestmark = needs_varnish


async def test_a_page_is_purged_by_any_of_its_tags_and_others_stay(here: Here) -> None:
    here.pages.put("/7", "user:7", "user", "*")
    here.pages.put("/8", "user:8", "user", "*")
    assert [await here.get(path) for path in ("/7", "/7", "/8", "/8")] == [1, 1, 1, 1]
    await here.purge("user:7", "user:*")
    assert [await here.get(path) for path in ("/7", "/8")] == [2, 1]
    await here.purge("user")
    assert [await here.get(path) for path in ("/7", "/8")] == [3, 2]
    await here.purge("order:7")
    assert [await here.get(path) for path in ("/7", "/8")] == [3, 2]
    await here.purge("*")
    assert [await here.get(path) for path in ("/7", "/8")] == [4, 3]


async def test_a_call_may_be_as_large_as_the_limits_say(here: Here) -> None:
    longest = "user:" + "1" * (128 - len("shop.user:"))
    here.pages.put("/7", longest)
    assert await here.get("/7") == 1
    most = here.edge.limits.most_tags_a_request
    others = [f"user:{n:0>{len(longest) - 5}}" for n in range(most - 1)]
    await here.purge(*others, longest)
    assert await here.get("/7") == 2


async def test_a_page_may_have_as_many_tags_as_its_header_holds(here: Here) -> None:
    tags = [f"user:{n:0>80}" for n in range(80)]
    assert 7_000 < sum(len(NAMES.name(tag)) + 1 for tag in tags) <= here.edge.header.most_bytes
    here.pages.put("/7", *tags)
    assert [await here.get("/7"), await here.get("/7")] == [1, 1]
    await here.purge(tags[-1])
    assert await here.get("/7") == 2


async def test_softly_it_is_given_once_more_while_it_is_fetched(here: Here) -> None:
    soft = Varnish(here.edge.url, soft=True, secret=SECRET)
    here.pages.put("/7", "user:7", cache_control="max-age=600, stale-while-revalidate=600")
    here.pages.put("/8", "user:8", cache_control="max-age=600")
    assert [await here.get("/7"), await here.get("/8")] == [1, 1]
    await here.purge("user:7", "user:8", edge=soft)
    response = await here.client.get("/7")
    assert response.text == "/7 1"
    assert response.headers["cache-status"] == "varnish; hit; detail=stale"

    async def is_new() -> bool:
        return await here.get("/7") == 2

    await until(is_new, "the page is fetched again")
    assert await here.get("/8") == 2, "it may not be stale"


async def test_a_stale_page_stays_while_the_service_fails(here: Here) -> None:
    soft = Varnish(here.edge.url, soft=True, secret=SECRET)
    here.pages.put("/7", "user:7", cache_control="max-age=600, stale-while-revalidate=600")
    assert await here.get("/7") == 1
    here.pages.statuses["/7"] = 503
    await here.purge("user:7", edge=soft)
    for _ in range(5):
        assert await here.get("/7") == 1
        await asyncio.sleep(0.02)
    assert here.pages.made["/7"] > 1


@pytest.mark.parametrize("secret", [None, "another-secret-of-many", SECRET + "x", SECRET[:-1]])
async def test_who_does_not_know_the_secret_is_refused(here: Here, secret: str | None) -> None:
    here.pages.put("/7", "user:7")
    assert await here.get("/7") == 1
    with pytest.raises(EdgeRefused, match="403"):
        await here.purge("user:7", edge=Varnish(here.edge.url, secret=secret))
    assert await here.get("/7") == 1


async def refused(client: httpx.AsyncClient, secret: str) -> None:
    headers = {"xkey-purge": NAMES.name("user:7"), "xkey-secret": secret}
    assert (await client.request("PURGE", "/", headers=headers)).status_code == 403


async def test_the_secret_from_elsewhere_is_refused() -> None:
    elsewhere = ('"127.0.0.1";\n    "::1";', '"192.0.2.1";')
    async with (
        service() as pages,
        varnish(pages.port, elsewhere) as running,
        browser(running.url) as client,
    ):
        await refused(client, SECRET)


@pytest.mark.parametrize("secret", ["", "short", "15-characters-x"])
async def test_a_file_without_a_secret_lets_nobody_in(secret: str) -> None:
    async with service() as pages, varnish(pages.port) as running:
        (running.folder / "secret").write_text(f"{secret}\n")
        async with browser(running.url) as client:
            await refused(client, secret)


async def test_no_client_s_header_proves_anything(here: Here) -> None:
    here.pages.put("/7", "user:7")
    forged = {"edge-proved": "1", "edge-secret": "x" * 20, "xkey-secret": "x" * 20}
    response = await here.client.request(
        "PURGE", "/", headers=forged | {"xkey-purge": NAMES.name("user:7")}
    )
    assert response.status_code == 403
    assert "xkey" not in (await here.client.get("/7", headers=forged)).headers


async def test_tags_do_not_reach_the_client_unless_he_knows_the_secret(here: Here) -> None:
    here.pages.put("/7", "user:7", surrogate_control="max-age=60", cache_tag="a", surrogate_key="b")
    here.pages.headers["/7"] = {**here.pages.headers["/7"], "cache-groups": '"c"'}
    hidden = {"xkey", "cache-groups", "surrogate-key", "cache-tag"}
    for _ in range(2):
        response = await here.client.get("/7")
        assert not {*hidden, "surrogate-control"} & {*response.headers}
    shown = await here.client.get("/7", headers={"xkey-secret": SECRET})
    assert hidden <= {*shown.headers}
    here.pages.put("/8", "user:8")
    await here.client.get("/8", headers={"xkey-secret": SECRET})
    assert here.pages.asked[-1].path == "/8"
    assert not any("secret" in name for asked in here.pages.asked for name in asked.headers)


@pytest.mark.parametrize(
    "headers, kept",
    [
        ({"cache_control": "max-age=600"}, True),
        ({"cache_control": "private, max-age=600"}, False),
        ({"cache_control": "no-store"}, False),
        ({"cache_control": "max-age=600, no-cache"}, False),
        ({"cache_control": "max-age=600", "set_cookie": "a=b"}, False),
        ({"cache_control": "max-age=0"}, False),
        ({"cache_control": "private, no-store", "cdn_cache_control": "max-age=600"}, True),
        ({"cache_control": "max-age=0", "surrogate_control": "max-age=600"}, True),
        ({"surrogate_control": "max-age=600", "cdn_cache_control": "no-store"}, False),
        ({"cache_control": "max-age=600", "cdn_cache_control": "private"}, False),
        ({"cache_control": "max-age=600", "surrogate_control": "no-store"}, False),
        ({"cdn_cache_control": "max-age=1, s-maxage=600"}, True),
        ({"cdn_cache_control": "public,max-age=600,stale-while-revalidate=9"}, True),
        ({"cdn_cache_control": "x-max-age=600"}, False),
        ({"cdn_cache_control": "max-age=600", "set_cookie": "a=b"}, False),
        ({"cdn_cache_control": "max-age=600", "age": "600"}, False),
        ({"cdn_cache_control": "max-age=600", "age": "60"}, True),
        ({"cdn_cache_control": "max-age=600", "vary": "*"}, False),
    ],
)
async def test_what_is_kept(here: Here, headers: dict[str, str], kept: bool) -> None:
    here.pages.put("/7", "user:7", **headers)
    assert [await here.get("/7"), await here.get("/7")] == [1, 1 if kept else 2]


async def test_a_failure_is_not_kept(here: Here) -> None:
    here.pages.put("/7", "user:7", cdn_cache_control="max-age=600")
    here.pages.statuses["/7"] = 500
    assert [await here.get("/7"), await here.get("/7")] == [1, 2]


@pytest.mark.parametrize(
    "headers",
    [
        {"bookmark": "abc"},
        {"authorization": "Bearer a"},
        {"cookie": "a=b; repocache-fresh=1"},
        {"cookie": "session=1"},
    ],
)
async def test_who_may_not_have_it_is_passed(here: Here, headers: dict[str, str]) -> None:
    here.pages.put("/7", "user:7")
    assert await here.get("/7") == 1
    response = await here.client.get("/7", headers=headers)
    assert response.text == "/7 2"
    assert response.headers["cache-status"] == "varnish; fwd=bypass"
    assert await here.get("/7") == 1, "his is not kept for others"


async def test_cookies_are_removed_where_that_was_said(here: Here) -> None:
    here.pages.put("/public/7", "user:7")
    assert await here.get("/public/7", cookie="session=1") == 1
    assert await here.get("/public/7", cookie="session=2") == 1
    assert await here.get("/public/7", cookie="session=2; repocache-fresh=1") == 2


async def test_it_says_what_it_did_after_others(here: Here) -> None:
    here.pages.put("/7", "user:7", cache_control="max-age=9", cache_status="repocache; hit")
    statuses = [(await here.client.get("/7")).headers["cache-status"] for _ in range(2)]
    assert statuses == ["repocache; hit, varnish; fwd=miss", "repocache; hit, varnish; hit"]


async def test_pages_vary(here: Here) -> None:
    here.pages.put("/7", "user:7", cache_control="max-age=9", vary="accept-language")
    found = [await here.get("/7", accept_language=each) for each in ("de", "en", "de", "en")]
    assert found == [1, 2, 1, 2]
    await here.purge("user:7")
    assert [await here.get("/7", accept_language=each) for each in ("de", "en")] == [3, 4]


async def test_without_a_server_it_is_unavailable() -> None:
    with pytest.raises(EdgeFailed) as failure:
        async with new_client() as client:
            await Varnish(f"http://127.0.0.1:{free_port()}", secret=SECRET).purge(client, ["a"])
    assert isinstance(failure.value, EdgeUnavailable)
    assert SECRET not in f"{failure.value!r} {failure.value}"
