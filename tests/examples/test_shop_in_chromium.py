"""The shop in a real browser: its own cache, the way back, and what is gone after logging out.

REPOCACHE_TEST_PICTURES names a folder to be given pictures."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from examples.shop.repositories import Prices, Products
from examples.shop.seed import PASSWORD, prepare
from examples.shop.visitors import digest_of
from repocache.testing import Endpoints, Servers
from tests.edges.browser import Tab, browsing, needs_chromium
from tests.edges.servers import needs_varnish
from tests.examples.shop import NORTH, Process, Shops, open_shops
from tests.shop import template, until

pytestmark = [needs_varnish, needs_chromium]
SUGGESTED = "fetch('/suggestions/{}').then(answer => answer.text())"


@pytest.fixture(scope="session")
def repocache_template(repocache_servers: Servers) -> str:
    return template(repocache_servers, "shops_template", prepare)


@pytest.fixture
async def shops(repocache_endpoints: Endpoints) -> AsyncIterator[Shops]:
    pytest.importorskip("playwright.async_api", reason="playwright is not installed")
    async with open_shops(repocache_endpoints) as shops:
        yield shops


def address(shops: Shops, path: str) -> str:
    """As people type it."""
    return f"http://{NORTH}:{shops.port}{path}"


async def shows(tab: Tab, words: str) -> None:
    async def has() -> bool:
        text: str = await tab.page.inner_text("body")
        return words in text

    await until(has, f"{words!r} is shown")


async def sign_in(tab: Tab, shops: Shops) -> None:
    await tab.go(address(shops, "/login"))
    await tab.page.fill("[name=name]", "ada")
    await tab.page.fill("[name=password]", PASSWORD)
    await tab.page.click("button")
    await shows(tab, "Orders of ada")


async def set_price(where: Process, id: int, cents: int) -> None:
    async with where.db.unit_of_work() as work:
        (await work[Prices].require(id)).cents = cents
        await work.commit()


async def rename(where: Process, id: int, name: str) -> None:
    async with where.db.unit_of_work() as work:
        (await work[Products].require(id)).name = name
        await work.commit()


async def test_a_page_that_is_as_it_was_is_a_304(shops: Shops) -> None:
    lantern = await shops.site.id("lantern")
    async with browsing() as tab:
        first = await tab.go(address(shops, "/products/lantern"))
        assert (first.wire, first.condition) == (200, None)
        await shows(tab, "27.50 €")
        again = await tab.go(address(shops, "/products/lantern"))
        assert again.condition is not None
        assert again.is_revalidated
        await rename(shops.other, lantern, "Storm lantern")

        async def is_new() -> bool:
            return "Storm lantern" in (await tab.reload()).text

        await until(is_new, "the new name comes")


async def test_assets_are_asked_for_once(shops: Shops) -> None:
    asked = [each for each in ("/products/lantern", "/products/stool") for _ in range(2)]
    async with browsing() as tab:
        for path in asked:
            await tab.go(address(shops, path))
    came = [each.where for each in shops.site.trail.requests if "/assets/" in each.where]
    assert len(came) == 2, "the style and the script"


@pytest.mark.parametrize("restores", [False, True], ids=["from the cache", "kept whole"])
async def test_who_goes_back_sees_the_price_of_now(shops: Shops, restores: bool) -> None:
    stool = await shops.site.id("stool")
    async with browsing(restores=restores) as tab:
        await tab.go(address(shops, "/products/stool"))
        await shows(tab, "39.00 €")
        await tab.go(address(shops, "/categories/chairs"))
        await set_price(shops.other, stool, 4100)
        back = await tab.back()
        assert back.is_restored is restores
        await shows(tab, "41.00 €")


async def test_what_is_stale_is_given_while_it_is_asked_for(shops: Shops) -> None:
    """1. It is fetched, and fresh for a second; 2. it changes; 3. who asks then is given what there
    is; 4. the browser has fetched it behind his back."""
    stool = await shops.site.id("stool")
    rocking = await shops.site.id("rocking-chair")
    async with browsing() as tab:
        await tab.go(address(shops, "/"))
        first = await tab.page.evaluate(SUGGESTED.format(stool))
        assert "Rocking chair" in first
        await rename(shops.other, rocking, "Swing")
        async with shops.browser() as client:

            async def edge_has() -> bool:
                return "Swing" in (await client.get(f"/suggestions/{stool}")).text

            await until(edge_has, "the edge has the new one")
        await asyncio.sleep(1.1)
        assert await tab.page.evaluate(SUGGESTED.format(stool)) == first, "stale, at once"

        async def is_new() -> bool:
            return "Swing" in await tab.page.evaluate(SUGGESTED.format(stool))

        await until(is_new, "it was fetched behind")


@pytest.mark.parametrize("restores", [False, True], ids=["from the cache", "kept whole"])
async def test_after_logging_out_nothing_private_is_shown(shops: Shops, restores: bool) -> None:
    async with browsing(restores=restores) as tab:
        await sign_in(tab, shops)
        await tab.go(address(shops, "/products/lantern"))
        await tab.page.click("text=Add to cart")
        await shows(tab, "Together")
        orders = await tab.go(address(shops, "/orders"))
        assert "Orders of ada" in orders.text
        await tab.page.click("text=Sign out")
        await shows(tab, "What we have")
        for step in (tab.back, tab.reload, tab.back, tab.reload):
            visit = await step()
            assert "North Goods" in visit.text
            assert "Orders of ada" not in visit.text
            assert "Together" not in visit.text, "nor the cart"


async def test_what_was_read_is_shown_with_nobody_s_secret(shops: Shops) -> None:
    lantern = await shops.site.id("lantern")
    async with browsing() as tab, shops.browser() as client:
        complaints: list[str] = []
        tab.page.on("console", lambda said: complaints.append(said.text))
        await tab.page.set_viewport_size({"width": 900, "height": 640})
        await sign_in(tab, shops)
        await tab.go(address(shops, "/products/lantern"))
        await shows(tab, "seen 1 times")
        await picture(tab, "shop")
        cookies = {each["name"]: each["value"] for each in await tab.page.context.cookies()}
        await rename(shops.other, lantern, "Storm lantern")

        async def is_new() -> bool:
            return "Storm lantern" in (await client.get("/products/lantern")).text

        await until(is_new, "the page is made anew")
        await tab.go(address(shops, "/_reads"))
        await shows(tab, "What was read, and where")
        page = await tab.page.content()
        assert cookies["session"] not in page
        assert digest_of(cookies["session"]) not in page
        assert cookies["bookmark"] not in page
        assert f"product:{lantern} (another process" in page
        await picture(tab, "reads")
        assert not [each for each in complaints if "Content Security Policy" in each]


async def picture(tab: Tab, name: str) -> None:
    folder = os.environ.get("REPOCACHE_TEST_PICTURES")
    if folder:
        await tab.page.screenshot(path=str(Path(folder) / f"{name}.png"))
