"""What an answer may be kept for: as its route declares, or less."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from starlette.responses import PlainTextResponse

from repocache import ConfigurationError
from repocache.edges.declared import Edges
from repocache.edges.edge import EdgeLimits
from repocache.edges.exchange import AsyncClient
from repocache.edges.header import TagHeader
from repocache.errors import UndeclaredDependence
from repocache.http import Etag, HttpCache, Public
from repocache.testing import Endpoints
from tests.pages.site import PAGE, Site, application, open_site
from tests.pages.test_pages import settled
from tests.responses.catalog import Products

PUBLIC = "public, max-age=0, s-maxage=600"
ASKED_EACH_TIME = "private, no-cache"


async def said(client: httpx.AsyncClient, path: str, **headers: str) -> str:
    answer = await client.get(path, headers=headers)
    return str(answer.headers.get("cache-control", ""))


@dataclasses.dataclass(frozen=True)
class SmallEdge:
    """Reads tags of so many bytes; what it is to purge it has none of."""

    most_bytes: int
    name: str = "small"

    @property
    def limits(self) -> EdgeLimits:
        return EdgeLimits(100, 100.0)

    @property
    def header(self) -> TagHeader:
        return TagHeader("x-tags", " ", most_bytes=self.most_bytes)

    async def purge(self, client: AsyncClient, names: Sequence[str]) -> None:
        """There is nothing."""


@pytest.mark.parametrize("most_bytes, kept", [(500, PUBLIC), (30, ASKED_EACH_TIME)])
async def test_what_has_more_tags_than_an_edge_takes_is_private(
    repocache_endpoints: Endpoints, most_bytes: int, kept: str
) -> None:
    """Rendered, and from a kept page: an edge that kept it would never be told."""
    edges = Edges(SmallEdge(most_bytes))
    async with open_site(repocache_endpoints, edges=edges) as site, site.client() as client:
        answers = [await client.get("/products/1"), await settled(site, client, "/products/1")]
    assert [each.headers["cache-control"] for each in answers] == [kept] * 2
    assert [("x-tags" in each.headers) for each in answers] == [kept == PUBLIC] * 2


async def test_what_may_not_be_kept_for_all_is_private(
    site: Site, client: httpx.AsyncClient
) -> None:
    assert await said(client, "/products/1") == PUBLIC
    for path, why in (
        ("/careless/1", "a header that it does not declare"),
        ("/price/1", "a strict price"),
        ("/sets", "a cookie"),
        ("/stream", "nobody knows whether a stream is whole"),
        ("/me", "it says so"),
        ("/undeclared", "nobody said that it may"),
    ):
        for _ in range(3):
            assert await said(client, path) == ASKED_EACH_TIME, why


async def test_errors_are_kept_by_nobody(client: httpx.AsyncClient) -> None:
    assert (await client.get("/broken")).status_code == 500
    assert await said(client, "/products/x") == "no-store", "422"
    assert await said(client, "/secret") == "no-store"


async def test_a_targeted_field_goes_with_public_answers_alone(client: httpx.AsyncClient) -> None:
    answer = await client.get("/about")
    assert answer.headers["cdn-cache-control"] == "max-age=3600"
    assert answer.headers["cache-control"] == "public, max-age=60"
    assert answer.headers["etag"].startswith('"'), "of the bytes"
    again = await client.get("/about", headers={"if-none-match": answer.headers["etag"]})
    assert again.status_code == 304


@pytest.mark.parametrize("etag", [Etag.BODY, Etag.NONE])
async def test_an_etag_of_versions_is_none_for_a_policy_that_gives_others(
    site: Site, client: httpx.AsyncClient, etag: Etag
) -> None:
    """As after a release that has another policy."""
    path = "/products/1"
    before = (await settled(site, client, path)).headers["etag"]
    assert (await client.get(path, headers={"if-none-match": before})).status_code == 304
    inner = application(site.shop, site.made)
    routes = {path: dataclasses.replace(PAGE, etag=etag)}
    transport = httpx.ASGITransport(HttpCache(inner, site.shop.db, routes))
    async with httpx.AsyncClient(transport=transport, base_url="http://shop.example") as later:
        for _ in range(3):
            answer = await later.get(path, headers={"if-none-match": before})
            assert answer.status_code == 200
            assert ("etag" in answer.headers) is (etag is Etag.BODY)


async def test_an_undeclared_dependence_is_an_error_in_tests(
    repocache_endpoints: Endpoints,
) -> None:
    async with open_site(repocache_endpoints, strict=True) as site:
        transport = httpx.ASGITransport(site.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            assert (await client.get("/language/1")).status_code == 200
            with pytest.raises(UndeclaredDependence, match=r"accept-language.*`vary`"):
                await client.get("/careless/1")


async def test_cookies_and_credentials_are_not_shown_to_a_public_route(
    site: Site, client: httpx.AsyncClient
) -> None:
    for headers in ({"cookie": "user=ada"}, {"authorization": "Bearer x"}):
        answer = await client.get("/products/1", headers=headers)
        assert answer.headers["cache-control"] == PUBLIC
    assert (await client.get("/me", headers={"cookie": "user=ada"})).json() == "ada"


async def test_pages_are_not_given_to_credentials(site: Site, client: httpx.AsyncClient) -> None:
    await settled(site, client, "/products/1")
    made = site.made["/products/1"]
    await client.get("/products/1", headers={"authorization": "Bearer x"})
    assert site.made["/products/1"] == made + 1


async def test_an_unkeyed_header_poisons_no_page(site: Site, client: httpx.AsyncClient) -> None:
    """A page that showed `X-Forwarded-Host`, or any other header, would be everybody's."""
    for _ in range(3):
        poisoned = await client.get("/careless/1", headers={"accept-language": "<script>"})
        assert "<script>" in poisoned.text
    assert (await client.get("/careless/1")).json() == "en n1"


async def test_a_host_has_pages_of_its_own(site: Site, client: httpx.AsyncClient) -> None:
    await settled(site, client, "/products/1")
    made = site.made["/products/1"]
    await client.get("/products/1", headers={"host": "evil.example"})
    assert site.made["/products/1"] == made + 1


@pytest.mark.parametrize(
    "path",
    [
        "/products/1%2f..%2fme",
        "/products/1;a.css",
        "/products//1",
        "/products/../me",
        "/me/x.css",
        "/products/1%00",
        "/products/%2e%2e/me",
    ],
)
async def test_a_path_that_may_be_read_otherwise_is_never_public(
    client: httpx.AsyncClient, path: str
) -> None:
    assert "public" not in await said(client, path)


async def test_a_page_that_was_being_made_during_a_commit_is_for_nobody_else(
    site: Site, other: Site
) -> None:
    """1. It is read; 2. a commit changes that, and this process hears of it; 3. the page is
    sent."""
    read, go = asyncio.Event(), asyncio.Event()
    db = site.shop.db

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        product = await db[Products].require(1)
        read.set()
        await go.wait()
        await PlainTextResponse(product.name)(scope, receive, send)

    app: Any = HttpCache(slow, db, {"/slow": PAGE})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
        go.set()
        for _ in range(3):
            assert await said(client, "/slow?warm") == PUBLIC
        go.clear()
        read.clear()
        asked = asyncio.create_task(client.get("/slow"))
        await read.wait()
        async with other.client() as elsewhere:
            await elsewhere.post("/rename/1/new")
        await asyncio.sleep(0.3)
        go.set()
        answer = await asked
        assert (answer.text, answer.headers["cache-control"]) == ("n1", ASKED_EACH_TIME)
        assert (await client.get("/slow")).text == "new"


async def test_variants_are_kept_apart(site: Site, client: httpx.AsyncClient) -> None:
    for _ in range(4):
        for language in ("de", "en", "de, en;q=0.5"):
            answer = await client.get("/language/1", headers={"accept-language": language})
            assert answer.json() == f"{language} n1"
            assert answer.headers["vary"].lower() == "accept-language"


async def test_head_has_the_header_of_the_page(site: Site, client: httpx.AsyncClient) -> None:
    page = await settled(site, client, "/products/1")
    head = await client.head("/products/1", headers={"if-none-match": page.headers["etag"]})
    assert (head.status_code, head.content) == (304, b"")


async def test_a_range_is_left_alone(site: Site, client: httpx.AsyncClient) -> None:
    await settled(site, client, "/products/1")
    made = site.made["/products/1"]
    answer = await client.get("/products/1", headers={"range": "bytes=0-3"})
    assert answer.status_code == 200
    assert site.made["/products/1"] == made + 1


async def test_who_writes_is_told_so_and_his_answer_is_nobody_s(
    site: Site, client: httpx.AsyncClient
) -> None:
    answer = await client.post("/rename/1/x")
    cookies = answer.headers.get_list("set-cookie")
    assert any(each.startswith("bookmark=") for each in cookies)
    assert (
        "private" in answer.headers["cache-control"]
        or "no-store" in (answer.headers["cache-control"])
    )
    assert not any(each.startswith("repocache-fresh") for each in cookies), "there are no edges"


async def test_tags_that_would_split_a_header_are_names_of_no_danger(
    repocache_endpoints: Endpoints, site: Site
) -> None:
    tags = ("a\r\nset-cookie: x=1", "b,c d", "é" * 60)
    app: Any = HttpCache(
        site.app, site.shop.db, {"/about": Public(max_age=0, tags=tags, pages=True)}
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
        for _ in range(3):
            answer = await client.get("/about")
            assert "set-cookie" not in answer.headers


async def test_what_cannot_work_is_refused_when_it_is_made(site: Site) -> None:
    db = site.shop.db
    wrong: Any = "db"
    with pytest.raises(ConfigurationError, match="the Database itself"):
        HttpCache(site.app, wrong, {})
    with pytest.raises(ConfigurationError, match="most_bytes"):
        HttpCache(site.app, db, {}, most_bytes=0)
    with pytest.raises(ConfigurationError, match="template"):
        HttpCache(site.app, db, wrong)


async def test_pages_need_a_database_that_keeps_them(repocache_endpoints: Endpoints) -> None:
    async with open_site(repocache_endpoints) as site:
        site.shop.db._plan = _without_pages(site)
        with pytest.raises(ConfigurationError, match=r"Database\(pages=PageCache"):
            HttpCache(site.app, site.shop.db, {"/x": PAGE})


def _without_pages(site: Site) -> Any:
    return dataclasses.replace(site.shop.db._plan, pages=None)


async def test_many_different_requests_at_once_keep_apart(site: Site) -> None:
    async with site.client() as client:

        async def one(number: int) -> None:
            id = number % 6 + 1
            if number % 11 == 0:
                await client.post(f"/rename/{id}/n{id}")
            answer = await client.get(f"/products/{id}")
            assert f"<h1>n{id}</h1>" in answer.text

        await asyncio.gather(*(one(number) for number in range(200)))


async def test_the_database_knows_what_routes_may_be_kept_for(site: Site) -> None:
    told = {each.template: each for each in site.shop.db.routes}
    assert told["/products/{id}"].cache_control == PUBLIC
    assert told["/products/{id}"].is_shared
    assert told["/products/{id}"].keeps_pages
    assert told["/about"].targeted == "cdn-cache-control: max-age=3600"
    assert told["/language/{id}"].vary == ("Accept-Language",)
    assert not told["/me"].is_shared
