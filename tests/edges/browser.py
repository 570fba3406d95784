"""A real browser: what it asked of an address, what it had already, and what it showed again."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


@dataclass(frozen=True)
class Visit:
    """One navigation. `text`: of the page's body; `is_cached`: nothing was asked of the server;
    `condition`: the If-None-Match that was sent, None if there was none; `wire`: the status that
    came, None if nothing came; `is_restored`: the page was kept whole, with its scripts, for going
    back and forward."""

    url: str
    text: str
    is_cached: bool
    condition: str | None
    wire: int | None
    is_restored: bool

    @property
    def is_revalidated(self) -> bool:
        """The browser had it, asked, and was told that it is still so."""
        return self.wire == 304


@dataclass
class Wire:
    """What the browser says of the one document that it loads, of each of its requests."""

    document: str | None = None
    is_cached: bool = False
    sent: dict[str, dict[str, str]] = field(default_factory=dict)
    came: dict[str, int] = field(default_factory=dict)

    def requested(self, said: dict[str, Any]) -> None:
        if said.get("type") == "Document":
            self.document = said["requestId"]

    def responded(self, said: dict[str, Any]) -> None:
        if said["requestId"] == self.document:
            self.is_cached |= said["response"].get("fromDiskCache", False)

    def served(self, said: dict[str, Any]) -> None:
        self.is_cached |= said["requestId"] == self.document

    def sends(self, said: dict[str, Any]) -> None:
        named = {name.lower(): value for name, value in said["headers"].items()}
        self.sent[said["requestId"]] = named

    def comes(self, said: dict[str, Any]) -> None:
        self.came[said["requestId"]] = said["statusCode"]


@dataclass(frozen=True)
class Tab:
    """Of a browser whose caches are its own and were empty."""

    page: Any
    session: Any

    async def go(self, url: str) -> Visit:
        return await self._moved(lambda: self.page.goto(url))

    async def reload(self) -> Visit:
        return await self._moved(self.page.reload)

    async def back(self) -> Visit:
        return await self._moved(self._history(-1))

    async def forward(self) -> Visit:
        return await self._moved(self._history(1))

    def _history(self, steps: int) -> Callable[[], Awaitable[object]]:
        async def stepped() -> None:
            # What is restored loads nothing: no driver's wait for a load ends then.
            async with asyncio.timeout(20):
                before = self.page.url
                await self.session.send("Runtime.evaluate", {"expression": f"history.go({steps})"})
                while (  # noqa: ASYNC110  # it tells nobody
                    self.page.url == before or not await self._is_shown()
                ):
                    await asyncio.sleep(0.02)

        return stepped

    async def _is_shown(self) -> bool:
        found: bool = await self.page.evaluate("window.shown !== undefined")
        return found

    async def _moved(self, step: Callable[[], Awaitable[object]]) -> Visit:
        wire = Wire()
        told = {
            "Network.requestWillBeSent": wire.requested,
            "Network.requestServedFromCache": wire.served,
            "Network.responseReceived": wire.responded,
            "Network.requestWillBeSentExtraInfo": wire.sends,
            "Network.responseReceivedExtraInfo": wire.comes,
        }
        for name, heard in told.items():
            self.session.on(name, heard)
        try:
            await step()
            # No driver's wait, which a page's Content-Security-Policy may forbid.
            async with asyncio.timeout(20):
                while not await self._is_shown():  # noqa: ASYNC110  # it tells nobody
                    await asyncio.sleep(0.02)
            text = await self.page.inner_text("body")
            is_restored = await self.page.evaluate("window.shown")
        finally:
            for name, heard in told.items():
                self.session.remove_listener(name, heard)
        asked = wire.document if wire.document is not None and not wire.is_cached else ""
        return Visit(
            url=self.page.url,
            text=text,
            is_cached=wire.is_cached or is_restored,
            condition=wire.sent.get(asked, {}).get("if-none-match"),
            wire=wire.came.get(asked),
            is_restored=is_restored,
        )


SHOWN = "addEventListener('pageshow', event => { window.shown = event.persisted; });"


@asynccontextmanager
async def browsing(*, restores: bool = False) -> AsyncIterator[Tab]:
    """`restores`: pages that are left are kept whole, as people's browsers do; else each step back
    asks the cache. Skips without Playwright; use it with `needs_chromium`."""
    playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed")
    kept = ["--disable-back-forward-cache"] if restores else []
    async with playwright.async_playwright() as driver:
        browser = await driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"], ignore_default_args=kept
        )
        try:
            page = await (await browser.new_context()).new_page()
            await page.add_init_script(SHOWN)
            session = await page.context.new_cdp_session(page)
            await session.send("Network.enable")
            yield Tab(page, session)
        finally:
            await browser.close()
