"""Both shops, served by two processes, one of them behind a real Varnish."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from examples.shop.app import HOSTS, Site, make_app
from examples.shop.models import Product
from examples.shop.policies import COOKIES_GO, PAGES
from examples.shop.reads import Trail
from examples.shop.repositories import REPOSITORIES, Products
from examples.shop.seed import PASSWORD
from repocache import Database, Settings
from repocache.cache.entry import CacheSettings
from repocache.edges.declared import Edges
from repocache.edges.varnish import Varnish
from repocache.events import ignore
from repocache.testing import Endpoints
from tests.edges.servers import SECRET, varnish
from tests.purging.fronts import Door, serving
from tests.shop import QUICK, until

NORTH, SOUTH = HOSTS
COOKIES = ('# if (req.url ~ "^/public/") ', COOKIES_GO)
"""The one change of the shipped VCL."""


@dataclass
class Process:
    """One of the application."""

    db: Database
    app: Any
    trail: Trail

    @asynccontextmanager
    async def visitor(self, host: str = NORTH) -> AsyncIterator[httpx.AsyncClient]:
        """A browser that comes here past Varnish."""
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(
            transport=transport, base_url=f"http://{host}", follow_redirects=True
        ) as client:
            yield client

    async def id(self, slug: str, tenant: str = "north") -> int:
        [found] = await self.db[Products].find(Product.tenant == tenant, Product.slug == slug)
        return found.id


@dataclass
class Shops:
    """`url`: of Varnish, behind which `site` is; `other` is another process."""

    url: str
    site: Process
    other: Process

    @property
    def port(self) -> int:
        return httpx.URL(self.url).port or 80

    @asynccontextmanager
    async def browser(self, host: str = NORTH) -> AsyncIterator[httpx.AsyncClient]:
        """With cookies of its own."""
        async with httpx.AsyncClient(
            base_url=self.url,
            headers={"Host": f"{host}:{self.port}"},
            follow_redirects=True,
            timeout=30,
            trust_env=False,
        ) as client:
            yield client


@asynccontextmanager
async def process(
    ends: Endpoints, edges: Edges | None, pages: Any = PAGES
) -> AsyncIterator[Process]:
    """With all its nodes in the rotation; what depends on what is not declared is an error."""
    trail = Trail(ignore)
    db = Database(
        ends.primary,
        replicas=ends.replicas,
        redis=ends.redis,
        repositories=REPOSITORIES,
        settings=Settings(
            topology=QUICK,
            observe=trail,
            secrets=("of the tests, signs nothing of worth",),
            cache=CacheSettings(observe_hits=True),
        ),
        edges=edges,
        pages=pages,
    )
    app = make_app(db, Site(HOSTS, secure=False, trail=trail, strict=True))
    async with app.router.lifespan_context(app):
        await until(lambda: not any(node.out for node in db.nodes), "all nodes are in the rotation")
        yield Process(db, app, trail)


@asynccontextmanager
async def open_shops(ends: Endpoints) -> AsyncIterator[Shops]:
    door = Door()
    async with serving(door) as port, varnish(port, COOKIES) as edge:
        edges = Edges(Varnish(edge.url, secret=SECRET), app="shop", transit=0.3)
        async with process(ends, edges) as site, process(ends, edges) as other:
            door.app = site.app
            yield Shops(edge.url, site, other)


async def sign_in(client: httpx.AsyncClient, name: str = "ada") -> None:
    answer = await client.post("/login", data={"name": name, "password": PASSWORD})
    assert f"Orders of {name}" in answer.text


def is_hit(answer: httpx.Response) -> bool:
    """At Varnish."""
    return "varnish; hit" in answer.headers["cache-status"]


async def hit(client: httpx.AsyncClient, path: str) -> httpx.Response:
    """Ask until Varnish has it."""
    answers: list[httpx.Response] = []

    async def has() -> bool:
        answers.append(await client.get(path))
        return is_hit(answers[-1])

    await until(has, f"Varnish has {path}")
    return answers[-1]


def kept_as(answer: httpx.Response) -> str:
    """Varnish's number for the page that it has given; empty: it was no hit."""
    return answer.headers["x-varnish"].partition(" ")[2] if is_hit(answer) else ""


async def all_hits(client: httpx.AsyncClient, *paths: str) -> dict[str, str]:
    """Ask until all are hits one after the other; Varnish's numbers for them."""
    kept: dict[str, str] = {}

    async def are() -> bool:
        for path in paths:
            kept[path] = kept_as(await client.get(path))
        return all(kept.values())

    await until(are, f"Varnish has {paths}")
    return kept
