"""An edge that scenarios can look into: what it is sent it keeps, and what is purged is gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
from starlette.responses import PlainTextResponse

from proof.protocol.items import KEY
from proof.protocol.process import Gate, Process
from repocache.edges.edge import EdgeLimits
from repocache.edges.exchange import AsyncClient
from repocache.edges.header import SURROGATE_KEY, TagHeader
from repocache.http import CausalMiddleware, Cookie, HttpCache, Public
from repocache.settings import Settings

NAME = f"{Settings().app}.item:{KEY}"
"""What the tag of the row is called there."""
PAGE = "/item"


@dataclass(frozen=True)
class KeptEdge:
    """A fit of `Edge`. `kept`: its one page, the version that it shows. `purges`: how often that
    was purged."""

    kept: list[int] = field(default_factory=list)
    purges: list[str] = field(default_factory=list)
    name: str = "kept"
    header: TagHeader = SURROGATE_KEY
    limits: EdgeLimits = field(default_factory=lambda: EdgeLimits(1_000, 1_000.0))

    async def purge(self, client: AsyncClient, names: Sequence[str]) -> None:
        if NAME in names:
            self.kept.clear()
            self.purges.append(NAME)

    def stale(self, version: int) -> list[str]:
        """What it would give for ever."""
        return [
            f"the edge keeps {each}, the row is {version}" for each in self.kept_before(version)
        ]

    def kept_before(self, version: int) -> list[int]:
        return [each for each in self.kept if each < version]

    async def arrive(self, answer: httpx.Response) -> None:
        """A page that was on its way."""
        if "public" in answer.headers["cache-control"]:
            assert NAME in answer.headers["surrogate-key"].split(" ")
            self.kept[:] = [int(answer.text)]


class Renderer:
    """An application of one process: GET shows the row, POST gives it the version in its body.
    `held`: where a rendering is held, once it has read."""

    def __init__(self, process: Process) -> None:
        self.held: Gate | None = None
        self._process = process
        kept: Any = HttpCache(self._run, process.db, {PAGE: Public(max_age=60)})
        carrier = Cookie(unsigned=True, secure=False)
        self._app: Any = CausalMiddleware(kept, process.db, carrier)

    async def _run(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] == "POST":
            version = int((await receive())["body"])
            await self._process.write(version)
        else:
            version = await self._process.get()
            if self.held is not None:
                await self.held.hold()
        await PlainTextResponse(str(version))(scope, receive, send)

    async def ask(self, method: str = "GET", body: str = "", cookies: str = "") -> httpx.Response:
        transport = httpx.ASGITransport(self._app)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            headers = {"cookie": cookies} if cookies else {}
            return await client.request(method, PAGE, content=body, headers=headers)
