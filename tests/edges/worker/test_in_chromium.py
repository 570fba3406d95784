"""The Worker, as a browser with a cache of its own sees it."""

from __future__ import annotations

import httpx

from tests.edges.browser import browsing, needs_chromium
from tests.edges.worker.running_worker import Origin, purged

pytestmark = needs_chromium
PAGE = {
    "cache_control": "no-cache",
    "cdn_cache_control": "max-age=600",
    "cache_tag": "a",
    "content_type": "text/html",
}


async def test_a_page_is_revalidated_at_the_edge(edge: httpx.AsyncClient, origin: Origin) -> None:
    """Without the origin, until it is purged."""
    origin.give("/a", "<p>old</p>", etag='"1"', **PAGE)
    url = f"{edge.base_url}/a"
    async with browsing() as tab:
        first = await tab.go(url)
        assert (first.text, first.is_cached, first.condition, first.wire) == (
            "old",
            False,
            None,
            200,
        )
        second = await tab.go(url)
        assert (second.text, second.condition, second.is_revalidated) == ("old", '"1"', True)
        assert len(origin.asked("/a")) == 1
        origin.give("/a", "<p>new</p>", etag='"2"', **PAGE)
        await purged(edge, "a")
        third = await tab.reload()
        assert (third.text, third.condition, third.wire) == ("new", '"1"', 200)


async def test_what_the_browser_may_keep_is_asked_for_by_nobody(
    edge: httpx.AsyncClient, origin: Origin
) -> None:
    for path in ("/a", "/b"):
        origin.give(path, f"<p>{path}</p>", cache_control="max-age=600", content_type="text/html")
    async with browsing() as tab:
        await tab.go(f"{edge.base_url}/a")
        await tab.go(f"{edge.base_url}/b")
        again = await tab.go(f"{edge.base_url}/a")
        assert (again.text, again.is_cached, again.wire) == ("/a", True, None)
        for visit in (await tab.back(), await tab.forward()):
            assert (visit.is_cached, visit.is_restored) == (True, False)


async def test_a_page_that_is_left_is_kept_whole(edge: httpx.AsyncClient, origin: Origin) -> None:
    """Whatever was purged meanwhile: it is the browser's, and `no-store` alone says otherwise."""
    for path in ("/a", "/b"):
        origin.give(path, f"<p>{path}</p>", etag='"1"', **PAGE)
    async with browsing(restores=True) as tab:
        await tab.go(f"{edge.base_url}/a")
        await tab.go(f"{edge.base_url}/b")
        await purged(edge, "a")
        back = await tab.back()
        assert (back.text, back.is_cached, back.is_restored) == ("/a", True, True)
