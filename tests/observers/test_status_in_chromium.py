"""The page in a real browser: its policy lets its style in and nothing else, it is readable in both
colour schemes and on a small screen, and can be walked through by keyboard.

REPOCACHE_TEST_PICTURES names a folder to be given pictures."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from repocache.testing import Endpoints
from repocache.testing.ports import free_port
from tests.observers.status_pages import page_of, tell_hostile, visited

playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
LEAST_CONTRAST = 4.5
"""WCAG 2.2, AA, for texts."""
CONTRASTS = """() => {
  const channels = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => {
    const part = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const ground = element => {
    for (let e = element; e; e = e.parentElement) {
      const found = channels(getComputedStyle(e).backgroundColor);
      if (found.length === 3 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const element of document.querySelectorAll('body *')) {
    const text = [...element.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!text) continue;
    const ink = light(channels(getComputedStyle(element).color));
    const paper = light(ground(element));
    const ratio = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
    found.push([ratio, element.textContent.trim().slice(0, 40)]);
  }
  return found;
}"""


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[str]:
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error"))
    running = asyncio.create_task(server.serve())
    async with asyncio.timeout(20):
        while not server.started:  # noqa: ASYNC110  # it has no event for it
            await asyncio.sleep(0.05)
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.should_exit = True
        await running


@asynccontextmanager
async def browsing(scheme: str, width: int = 1200) -> AsyncIterator[tuple[Any, list[str]]]:
    """A tab, and what its console complains of."""
    async with playwright.async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = await browser.new_context(
            color_scheme=scheme, viewport={"width": width, "height": 900}
        )
        tab, complaints = await context.new_page(), list[str]()
        tab.on("console", lambda said: complaints.append(said.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("dialog", lambda dialog: complaints.append(dialog.message))
        try:
            yield tab, complaints
        finally:
            await browser.close()


async def pictured(tab: Any, name: str, *, whole: bool = True) -> None:
    folder = os.environ.get("REPOCACHE_TEST_PICTURES")
    if folder:
        await tab.screenshot(path=Path(folder) / f"{name}.png", full_page=whole)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_it_can_be_read(repocache_endpoints: Endpoints, scheme: str) -> None:
    async with (
        visited(repocache_endpoints) as here,
        served(page_of(here, show_keys=True)) as url,
        browsing(scheme) as (tab, complaints),
    ):
        await tab.goto(url)
        ground = await tab.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ground == {"light": "rgb(251, 251, 250)", "dark": "rgb(20, 23, 26)"}[scheme]
        pale = [each for each in await tab.evaluate(CONTRASTS) if each[0] < LEAST_CONTRAST]
        assert pale == []
        await pictured(tab, f"status-{scheme}", whole=scheme == "light")
        assert [each for each in complaints if "favicon" not in each] == []


async def test_hostile_texts_run_nothing(repocache_endpoints: Endpoints) -> None:
    async with visited(repocache_endpoints) as here:
        tell_hostile(here)
        async with (
            served(page_of(here, show_keys=True)) as url,
            browsing("light") as (tab, complaints),
        ):
            await tab.goto(url)
            assert await tab.locator("script, img").count() == 0
            assert "<script>alert(1)</script>" in await tab.locator("main").inner_text()
            await pictured(tab, "status-hostile")
            assert [each for each in complaints if "favicon" not in each] == []


async def test_a_small_screen_and_a_keyboard(repocache_endpoints: Endpoints) -> None:
    async with (
        visited(repocache_endpoints) as here,
        served(page_of(here)) as url,
        browsing("light", width=360) as (tab, _),
    ):
        await tab.goto(url)
        assert await tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        await tab.keyboard.press("Tab")
        assert await tab.evaluate("document.activeElement.className") == "skip"
        skip = await tab.locator(".skip").bounding_box()
        assert skip is not None
        assert skip["x"] >= 0, "it is seen once it has the focus"
        await tab.keyboard.press("Enter")
        assert await tab.evaluate("document.activeElement.id") == "main"
        await tab.keyboard.press("Tab")
        name = await tab.evaluate("document.activeElement.getAttribute('aria-label')")
        assert name == "Map"
        await pictured(tab, "status-small")


async def test_it_loads_itself_when_asked(repocache_endpoints: Endpoints) -> None:
    async with (
        visited(repocache_endpoints) as here,
        served(page_of(here)) as url,
        browsing("light") as (tab, _),
    ):
        await tab.goto(f"{url}?refresh=2")
        async with tab.expect_navigation(timeout=30_000):
            pass
        await tab.get_by_role("link", name="stop").click()
        assert await tab.locator("meta[http-equiv]").count() == 0
