"""A kept page is what rendering it now would be: also within another page, when the caches are
switched, and if something changes while it is put away."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from starlette.responses import PlainTextResponse

from repocache import CacheMode
from repocache.http import HttpCache
from repocache.testing import Servers
from tests.pages.site import PAGE, Site
from tests.responses.catalog import Products
from tests.shop import until

PUBLIC = "public, max-age=0, s-maxage=600"
PRIVATE = "private, no-cache"


def client_of(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x")


@pytest.mark.parametrize("inner", ["page", "recording"])
async def test_a_page_depends_on_what_a_page_within_it_read(site: Site, inner: str) -> None:
    """As of an application that is mounted in it, with an `HttpCache` of its own."""
    db = site.shop.db

    async def within(scope: Any, receive: Any, send: Any) -> None:
        product = await db[Products].require(1)
        await PlainTextResponse(product.name)(scope, receive, send)

    mounted: Any = HttpCache(within, db, {"/x": PAGE})

    async def recorded(scope: Any, receive: Any, send: Any) -> None:
        with db.recording():
            await within(scope, receive, send)

    app: Any = HttpCache(mounted if inner == "page" else recorded, db, {"/x": PAGE})
    async with client_of(app) as client:
        for _ in range(5):
            assert (await client.get("/x")).text == "n1"
        async with site.client() as writer:
            await writer.post("/rename/1/new")
        assert (await client.get("/x")).text == "new"


@pytest.mark.parametrize("mode", [CacheMode.OFF, CacheMode.SHADOW])
@pytest.mark.parametrize("path", ["/products/1", "/plain/1", "/category/1"])
async def test_where_the_caches_answer_nobody_no_page_does(
    site: Site, client: httpx.AsyncClient, repocache_controls: Servers, mode: CacheMode, path: str
) -> None:
    """1. A page is kept; 2. a write that nobody tells of; 3. the owner's caches are switched: they
    are not believed."""
    answer = await client.get(path)
    for _ in range(20):
        answer = await client.get(path)
        await asyncio.sleep(0.02)
    [(database,)] = await rows_of(site, "SELECT current_database()")
    servers = repocache_controls
    await asyncio.to_thread(
        servers.primary.sql, "UPDATE products SET name = 'new' WHERE id = 1", database
    )
    await asyncio.to_thread(servers.catch_up)
    if path != "/plain/1":
        assert "new" not in (await client.get(path)).text, "nobody has told"
    site.shop.db.switch(Products, mode)
    found = await client.get(path)
    assert "new" in found.text
    again = await client.get(path, headers={"if-none-match": answer.headers["etag"]})
    assert again.status_code == 200


async def rows_of(site: Site, statement: str) -> Any:
    async with site.shop.db.reading() as session:
        return list(await session.execute(text(statement)))


async def test_a_page_is_looked_at_after_it_was_put_away(site: Site, other: Site) -> None:
    """1. A page is rendered, and looked at; 2. it is put into Redis, which takes its time; 3. a
    commit changes what it shows, and this process hears of it; 4. it is sent."""
    db = site.shop.db

    async def app(scope: Any, receive: Any, send: Any) -> None:
        product = await db[Products].require(1)
        await PlainTextResponse(product.name)(scope, receive, send)

    kept: Any = HttpCache(app, db, {"/x": PAGE})
    async with client_of(kept) as client:
        assert (await client.get("/x?warm")).headers["cache-control"]

        async def public() -> bool:
            return (await client.get("/x?warm")).headers["cache-control"] == PUBLIC

        await until(public, "it may be kept")
        pages: Any = db.responses.pages
        leases = pages._bodies._loader._leases
        reached, go, take = asyncio.Event(), asyncio.Event(), leases.open

        async def slowly(loads: Any) -> Any:
            reached.set()
            await go.wait()
            return await take(loads)

        leases.open = slowly
        asked = asyncio.create_task(client.get("/x"))
        await reached.wait()
        async with other.client() as elsewhere:
            await elsewhere.post("/rename/1/new")
        await asyncio.sleep(0.3)
        go.set()
        answer = await asked
        assert (answer.text, answer.headers["cache-control"]) == ("n1", PRIVATE)
        assert (await client.get("/x")).text == "new"
