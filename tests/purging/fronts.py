"""The site behind a real edge, beside another process of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import uvicorn

from repocache.edges.declared import Edges
from repocache.edges.nginx import NginxFiles
from repocache.edges.varnish import Varnish
from repocache.testing import Endpoints
from tests.edges.servers import SECRET, nginx, varnish
from tests.pages.site import Site, open_site
from tests.shop import until

PUBLIC_PATHS = (
    '# if (req.url ~ "^/public/") { unset req.http.Cookie; }',
    'if (req.url ~ "^/(products|category|careless)/") { unset req.http.Cookie; }',
)
COOKIELESS = ("# ~^/public/ 1;", "~^/(products|category|careless)/ 1;")


class Door:
    """Where Varnish asks, before there is a site. `held`: answers are on their way until it is
    set; `waiting`: one is."""

    def __init__(self) -> None:
        self.app: Any = None
        self.held: asyncio.Event | None = None
        self.waiting = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def slowly(message: Any) -> None:
            if self.held is not None:
                self.waiting.set()
                await self.held.wait()
            await send(message)

        await self.app(scope, receive, slowly)


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[int]:
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=0, lifespan="off", log_level="error")
    )
    task = asyncio.create_task(server.serve())
    try:
        await until(lambda: server.started or task.done(), "the server listens")
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await task


class Behind:
    """`site` is asked by Varnish, `other` is another process of it."""

    def __init__(self, url: str, door: Door, site: Site, other: Site) -> None:
        self.url = url
        self.door = door
        self.site = site
        self.other = other

    @asynccontextmanager
    async def browser(self) -> AsyncIterator[httpx.AsyncClient]:
        async with httpx.AsyncClient(base_url=self.url, timeout=30, trust_env=False) as client:
            yield client


@asynccontextmanager
async def behind_varnish(ends: Endpoints) -> AsyncIterator[Behind]:
    door = Door()
    async with serving(door) as port, varnish(port, PUBLIC_PATHS) as edge:
        edges = Edges(Varnish(edge.url, secret=SECRET), app="shop", transit=0.3)
        async with (
            open_site(ends, edges=edges) as site,
            open_site(ends, edges=edges) as other,
        ):
            door.app = site.app
            yield Behind(edge.url, door, site, other)


@asynccontextmanager
async def behind_nginx(ends: Endpoints) -> AsyncIterator[Behind]:
    door = Door()
    async with serving(door) as port, nginx(port, COOKIELESS) as edge:
        edges = Edges(NginxFiles(str(edge.folder / "cache")), app="shop", transit=0.3)
        async with open_site(ends, edges=edges) as site, open_site(ends, edges=edges) as other:
            door.app = site.app
            yield Behind(edge.url, door, site, other)


async def hit(client: httpx.AsyncClient, path: str) -> httpx.Response:
    """Ask until the edge has it."""
    answers: list[httpx.Response] = []

    async def has() -> bool:
        answers.append(await client.get(path))
        return "; hit" in answers[-1].headers["cache-status"].rpartition(",")[2]

    await until(has, f"the edge has {path}")
    return answers[-1]
