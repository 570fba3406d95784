"""Pages that are kept are given again as long as all that they were made of is as it was."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from repocache import CacheMode, Settings
from repocache.errors import UsageError
from repocache.events import ChannelDown
from repocache.http import PageCache, warm
from repocache.testing import Endpoints, Servers
from tests.pages.site import Site, open_site
from tests.responses.catalog import Product, Products
from tests.shop import QUICK, until


async def settled(site: Site, client: httpx.AsyncClient, path: str) -> httpx.Response:
    """Ask until it is kept."""
    answer: list[httpx.Response] = []

    async def kept() -> bool:
        before = site.made[path]
        answer.append(await client.get(path))
        return site.made[path] == before

    await until(kept, f"{path} is kept")
    return answer[-1]


async def test_a_page_is_made_once(site: Site, client: httpx.AsyncClient, other: Site) -> None:
    first = await client.get("/products/1")
    assert first.text == "<h1>n1</h1>r11, r12"
    again = await settled(site, client, "/products/1")
    assert again.text == first.text
    assert again.headers["content-type"] == first.headers["content-type"]
    assert again.headers["cache-control"] == "public, max-age=0, s-maxage=600"
    assert "hit" in again.headers["cache-status"]
    async with other.client() as elsewhere:
        found = await elsewhere.get("/products/1")
    assert found.text == first.text
    assert found.headers["etag"] == again.headers["etag"]
    assert other.made["/products/1"] == 0, "it is in Redis"


@pytest.mark.parametrize("path", ["/products/1", "/category/1"])
async def test_a_write_is_shown_at_once_in_every_process(
    site: Site, client: httpx.AsyncClient, other: Site, path: str
) -> None:
    before = await settled(site, client, path)
    async with other.client() as elsewhere:
        await settled(other, elsewhere, path)
        await elsewhere.post("/rename/1/new")
        assert "new" in (await elsewhere.get(path)).text, "who wrote sees it"
    found = ""
    for _ in range(100):
        found = (await client.get(path)).text
        if "new" in found:
            break
        await asyncio.sleep(0.02)
    assert "new" in found
    after = await settled(site, client, path)
    assert after.headers["etag"] != before.headers["etag"]


async def test_a_new_row_of_a_list_is_shown(site: Site, client: httpx.AsyncClient) -> None:
    await settled(site, client, "/products/2")
    await client.post("/review/2/fine")
    assert "fine" in (await client.get("/products/2")).text


async def test_what_is_not_there_is_kept_too_until_it_is(
    site: Site, client: httpx.AsyncClient
) -> None:
    assert (await settled(site, client, "/products/99")).status_code == 404
    async with site.shop.db.unit_of_work() as work:
        work.add(Product(id=99, sku="s99", name="late", category=1))
        await work.commit()
    assert "late" in (await client.get("/products/99")).text


async def test_many_who_ask_at_once_have_it_made_once(site: Site) -> None:
    async with site.client() as client:
        answers = await asyncio.gather(*(client.get("/products/3") for _ in range(30)))
    assert {each.text for each in answers} == {"<h1>n3</h1>r31, r32"}
    assert site.made["/products/3"] <= 3


async def test_a_304_costs_neither_rendering_nor_query(
    site: Site, client: httpx.AsyncClient
) -> None:
    etag = ""
    for path in ("/products/1", "/plain/1", "/category/1"):
        answer = await client.get(path)
        for _ in range(20):
            answer = await client.get(path)
            await asyncio.sleep(0.05)
        made = site.made[path]
        etag = answer.headers["etag"]
        again = await client.get(path, headers={"if-none-match": etag})
        assert (again.status_code, again.content) == (304, b""), path
        assert site.made[path] == made
        assert again.headers["etag"] == etag
        assert again.headers["cache-control"] == answer.headers["cache-control"]
    await client.post("/rename/1/other")
    for path in ("/products/1", "/plain/1", "/category/1"):
        changed = await client.get(path, headers={"if-none-match": etag})
        assert changed.status_code == 200


async def test_no_304_across_urls_and_variants(site: Site, client: httpx.AsyncClient) -> None:
    etags = {}
    for path in ("/products/1", "/products/1?a=1", "/plain/1", "/products/2", "/about"):
        etags[path] = (await client.get(path)).headers["etag"]
    assert len(set(etags.values())) == len(etags)
    for path in etags:
        for other, etag in etags.items():
            if other != path:
                answer = await client.get(path, headers={"if-none-match": etag})
                assert answer.status_code == 200, (path, other)
    german = await client.get("/language/1", headers={"accept-language": "de"})
    english = await client.get(
        "/language/1",
        headers={"accept-language": "en", "if-none-match": german.headers["etag"]},
    )
    assert (english.status_code, english.json()) == (200, "en n1")
    assert english.headers["vary"].lower() == "accept-language"


async def test_revalidate_tag_makes_a_page_anew(
    site: Site, client: httpx.AsyncClient, other: Site
) -> None:
    await settled(site, client, "/products/1")
    await settled(site, client, "/tagged")
    made = dict(site.made)
    await other.shop.db.revalidate_tag("product:1", "home")
    for path in ("/products/1", "/tagged"):

        async def anew(path: str = path) -> bool:
            await client.get(path)
            return site.made[path] > made[path]

        await until(anew, f"{path} is made anew")


async def test_an_application_s_own_tag_is_invalidated_by_a_commit(
    site: Site, client: httpx.AsyncClient
) -> None:
    await settled(site, client, "/tagged")
    made = site.made["/tagged"]
    async with site.shop.db.unit_of_work() as work:
        work.invalidate("home")
        await work.commit()
    await client.get("/tagged")
    assert site.made["/tagged"] == made + 1


async def test_a_stale_page_at_once_while_it_is_made_anew(repocache_endpoints: Endpoints) -> None:
    pages = PageCache(ttl=600, local_ttl=60, stale_while_revalidate=30)
    async with (
        open_site(repocache_endpoints, pages=pages) as site,
        open_site(repocache_endpoints, pages=pages) as other,
        site.client() as client,
        other.client() as elsewhere,
    ):
        await settled(site, client, "/products/1")
        await elsewhere.post("/rename/1/new")
        assert "new" in (await elsewhere.get("/products/1")).text, "never to who has written"
        await elsewhere.post("/rename/1/newer")
        await asyncio.sleep(0.3)
        made = site.made["/products/1"]
        stale = await client.get("/products/1")
        assert stale.headers["cache-control"] == "private, no-cache", "nobody keeps that one"

        async def renewed() -> bool:
            return "newer" in (await client.get("/products/1")).text

        await until(renewed, "it is made anew behind")
        assert site.made["/products/1"] <= made + 1


async def test_a_page_that_was_right_too_long_ago_is_not_given_stale(
    repocache_endpoints: Endpoints,
) -> None:
    pages = PageCache(ttl=600, local_ttl=60, stale_while_revalidate=0.2)
    async with (
        open_site(repocache_endpoints, pages=pages) as site,
        open_site(repocache_endpoints, pages=pages) as other,
        site.client() as client,
        other.client() as elsewhere,
    ):
        await settled(site, client, "/products/1")
        await elsewhere.post("/rename/1/new")

        async def heard() -> bool:
            return (await site.shop.db[Products].require(1)).name == "new"

        await until(heard, "this process has heard of it")
        await asyncio.sleep(0.3)
        answer = await client.get("/products/1")
        assert "new" in answer.text
        assert "stale" not in answer.headers["cache-status"]


async def test_redis_away_makes_pages_slower_and_nothing_else(
    site: Site, client: httpx.AsyncClient, repocache_controls: Servers
) -> None:
    await settled(site, client, "/products/1")
    repocache_controls.redis.kill()
    try:
        await until(lambda: bool(site.shop.seen.of(ChannelDown)), "it is noticed")
        for _ in range(3):
            answer = await client.get("/products/1")
            assert answer.text == "<h1>n1</h1>r11, r12"
            assert "private" in answer.headers["cache-control"]
    finally:
        repocache_controls.redis.start()
    await settled(site, client, "/products/1")


async def test_a_replica_that_lags_shows_no_page_of_before(
    site: Site, client: httpx.AsyncClient, repocache_controls: Servers
) -> None:
    await settled(site, client, "/products/1")
    for replica in repocache_controls.replicas:
        await asyncio.to_thread(replica.sql, "SELECT pg_wal_replay_pause()")
    try:
        await client.post("/rename/1/new")
        async with site.client() as stranger:
            for _ in range(10):
                assert "new" in (await stranger.get("/products/1")).text
    finally:
        for replica in repocache_controls.replicas:
            await asyncio.to_thread(replica.sql, "SELECT pg_wal_replay_resume()")


async def test_pages_are_made_before_anybody_asks(site: Site, other: Site) -> None:
    paths = ["/products/1", "/products/2?a=b", "/broken", "/nowhere"]
    for _ in range(3):
        found = await warm(site.app, paths, host="shop.example", scheme="http")
        assert found == dict(zip(paths, (200, 200, 500, 404), strict=True))
    async with other.client() as client:
        for path in paths[:2]:
            assert "hit" in (await client.get(path)).headers["cache-status"]
    assert not other.made["/products/1"]
    with pytest.raises(UsageError, match="begin with /"):
        await warm(site.app, ["products/1"])


async def test_a_session_with_monotonic_reads_is_given_no_kept_page(
    site: Site, client: httpx.AsyncClient, repocache_endpoints: Endpoints
) -> None:
    """Not that of another process either, which does not read so."""
    path = "/language/1"
    kept = await settled(site, client, path)
    settings = Settings(topology=QUICK, monotonic=True)
    async with (
        open_site(repocache_endpoints, settings=settings) as other,
        other.client(headers={"if-none-match": kept.headers["etag"]}) as elsewhere,
    ):
        for turn in range(1, 4):
            answer = await elsewhere.get(path)
            assert other.made[path] == turn
            assert "private" in answer.headers["cache-control"]


async def test_what_shadow_mode_does_not_trust_vouches_for_no_page(
    site: Site, client: httpx.AsyncClient
) -> None:
    await settled(site, client, "/products/1")
    made = site.made["/products/1"]
    site.shop.db.switch(Products, CacheMode.SHADOW)
    await client.get("/products/1")
    assert site.made["/products/1"] == made + 1
    site.shop.db.switch(Products, CacheMode.OFF)
    answer = await client.get("/products/1")
    assert (answer.text, answer.headers["cache-control"]) == (
        "<h1>n1</h1>r11, r12",
        "private, no-cache",
    )
