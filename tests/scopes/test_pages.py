"""Pages of rows of which each tenant sees his own: never another's, and everybody's only where the
URL says whose they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from sqlalchemy import select
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from repocache import Settings
from repocache.http import HttpCache, PageCache, Public
from repocache.testing import Endpoints
from tests.scopes.papers_of import REPOSITORIES, Paper, Papers
from tests.shop import QUICK, Shop, in_rotation, open_shop, until

UNSAID = Public(max_age=0, pages=True)
SAID = Public(max_age=0, pages=True, scopes=("tenant",))
ROUTES = {"/unsaid": UNSAID, "/said": SAID, "/of/{tenant}": SAID, "/of/{tenant}/unsaid": UNSAID}
READS: dict[str, Callable[[Papers], Awaitable[str]]] = {}
KEYED = ("id", "lookup")
"""What is cached of rows with a scope; selects of them are not."""


def read(name: str) -> Callable[[Any], Any]:
    def kept(function: Any) -> Any:
        READS[name] = function
        return function

    return kept


@read("find")
async def titles(papers: Papers) -> str:
    return " ".join(await papers.titles())


@read("id")
async def by_id(papers: Papers) -> str:
    """Each tenant has one of these."""
    return " ".join(each.title for each in (await papers.get_many([1, 3])).values())


@read("lookup")
async def by_slug(papers: Papers) -> str:
    return (await papers.by_slug.require("s1")).title


@read("rows")
async def rows(papers: Papers) -> str:
    return " ".join([row[0] for row in await papers.rows(select(Paper.title).order_by(Paper.id))])


@read("count")
async def count(papers: Papers) -> str:
    return str(await papers.count(Paper.title.in_(("t1", "t2", "t3"))))


class ByHeader:
    """Who asks is of the tenant that this header names: the URL says nothing of it."""

    def __init__(self, app: Any, shop: Shop) -> None:
        self._app = app
        self._shop = shop

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        tenant = dict(scope["headers"]).get(b"x-tenant")
        assert tenant is not None
        async with self._shop.db.scoped(tenant=tenant.decode()):
            await self._app(scope, receive, send)


class Site:
    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.made: Counter[str] = Counter()
        routes = [Route("/unsaid", self.titles), Route("/said", self.titles)]
        routes += [Route(path, self.titles_of) for path in ("/of/{tenant}", "/of/{tenant}/unsaid")]
        self.app = ByHeader(HttpCache(Starlette(routes=routes), shop.db, ROUTES), shop)

    async def titles(self, request: Request) -> PlainTextResponse:
        self.made[request.url.path] += 1
        how = READS[request.query_params.get("read", "find")]
        return PlainTextResponse(await how(self.shop.db[Papers]))

    async def titles_of(self, request: Request) -> PlainTextResponse:
        async with self.shop.db.scoped(tenant=request.path_params["tenant"]):
            return await self.titles(request)

    async def retitle(self, tenant: str, id: int, title: str) -> None:
        async with self.shop.db.scoped(tenant=tenant), self.shop.db.unit_of_work() as work:
            (await work[Papers].require(id)).title = title
            await work.commit()

    @asynccontextmanager
    async def client(self) -> AsyncIterator[httpx.AsyncClient]:
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://papers") as client:
            yield client


@asynccontextmanager
async def open_site(ends: Endpoints) -> AsyncIterator[Site]:
    pages = PageCache(ttl=600, local_ttl=60)
    settings = Settings(topology=QUICK)
    async with open_shop(ends, settings, REPOSITORIES, pages=pages) as shop:
        await in_rotation(shop)
        yield Site(shop)


async def said(client: httpx.AsyncClient, path: str, tenant: str, **more: str) -> tuple[str, bool]:
    """The titles, and whether everybody may have them."""
    answer = await client.get(path, headers={"x-tenant": tenant, **more})
    assert answer.status_code == 200
    return answer.text, answer.headers["cache-control"].startswith("public")


@pytest.fixture
async def site(repocache_endpoints: Endpoints) -> AsyncIterator[Site]:
    async with open_site(repocache_endpoints) as site:
        yield site


@pytest.mark.parametrize("how", READS)
async def test_rows_of_a_tenant_are_for_nobody_else_unless_the_url_tells(
    site: Site, how: str
) -> None:
    async with site.client() as client:
        own = {each: (await said(client, f"/unsaid?read={how}", each))[0] for each in "ab"}
        assert own["a"] != own["b"]
        for path, declared in (
            ("/unsaid", False),
            ("/said", True),
            ("/of/{}/unsaid", False),
            ("/of/{}", True),
        ):
            for tenant in "abab":
                found = await said(client, f"{path.format(tenant)}?read={how}", tenant)
                assert found == (own[tenant], declared and how in KEYED), path
    assert site.made["/unsaid"] == 6, "never kept"
    assert site.made["/said"] == (2 if how in KEYED else 4), "one of each tenant"
    assert site.made["/of/a"] == site.made["/of/b"] == (1 if how in KEYED else 2)


async def test_the_etag_of_one_is_no_other_s(site: Site) -> None:
    async with site.client() as client:
        for path in ("/unsaid?read=id", "/said?read=id"):
            etags = {}
            for tenant in "ab":
                answer = await client.get(path, headers={"x-tenant": tenant})
                etags[tenant] = answer.headers["etag"]
            assert etags["a"] != etags["b"]
            for asker, of, status in (("a", "a", 304), ("a", "b", 200), ("b", "a", 200)):
                headers = {"x-tenant": asker, "if-none-match": etags[of]}
                assert (await client.get(path, headers=headers)).status_code == status


async def test_a_write_of_one_reaches_his_page_alone(
    site: Site, repocache_endpoints: Endpoints
) -> None:
    path = "/said?read=id"
    async with (
        open_site(repocache_endpoints) as other,
        other.client() as elsewhere,
        site.client() as client,
    ):
        for tenant in "ab":
            await said(client, path, tenant)
            await said(elsewhere, path, tenant)
        await other.retitle("a", 1, "new")

        async def has_it() -> bool:
            return await said(client, path, "a") == ("new", True)

        await until(has_it, "this process shows what another has written")
        assert await said(client, path, "b") == ("t3", True)
    assert site.made["/said"] + other.made["/said"] == 3
