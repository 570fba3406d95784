"""A small site on the catalogue, whose routes say what their answers may be kept for."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any

import httpx
from fastapi import Body, FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, StreamingResponse

from repocache import Settings
from repocache.http import (
    CausalMiddleware,
    CdnControl,
    Etag,
    HttpCache,
    NoStore,
    PageCache,
    Private,
    Public,
)
from repocache.http.caching import RoutePolicy
from repocache.http.carriers import Cookie
from repocache.testing import Endpoints
from tests.responses.catalog import REPOSITORIES, Prices, Product, Products, Review
from tests.shop import QUICK, Shop, in_rotation, open_shop

PAGE = Public(max_age=0, s_maxage=600, pages=True)
ROUTES: dict[str, RoutePolicy] = {
    "/products/{id}": PAGE,
    "/plain/{id}": Public(max_age=0, s_maxage=600),
    "/category/{id}": PAGE,
    "/language/{id}": Public(max_age=0, vary=("Accept-Language",), pages=True),
    "/careless/{id}": PAGE,
    "/price/{id}": PAGE,
    "/about": Public(max_age=60, etag=Etag.BODY, cdn=CdnControl(max_age=3600)),
    "/sets": PAGE,
    "/missing": PAGE,
    "/broken": PAGE,
    "/stream": PAGE,
    "/tagged": Public(max_age=0, tags=("home",), pages=True),
    "/edit/{id}": Private(no_cache=True),
    "/me": Private(no_cache=True),
    "/secret": NoStore(),
}


@dataclass
class Site:
    """`made`: how often the application made each path's page."""

    shop: Shop
    app: Any
    made: Counter[str] = field(default_factory=Counter)

    @asynccontextmanager
    async def client(self, **given: Any) -> AsyncIterator[httpx.AsyncClient]:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://shop.example", **given
        ) as client:
            yield client


def application(shop: Shop, made: Counter[str]) -> FastAPI:  # noqa: C901  # its endpoints
    app, db = FastAPI(), shop.db

    @app.middleware("http")
    async def count(request: Request, call_next: Any) -> Any:
        made[request.url.path] += 1
        return await call_next(request)

    @app.get("/products/{id}")
    @app.get("/plain/{id}")
    async def product(id: int) -> HTMLResponse:
        found = await db[Products].get(id, load=[Product.reviews])
        if found is None:
            raise HTTPException(404)
        texts = ", ".join(review.text for review in found.reviews)
        return HTMLResponse(f"<h1>{found.name}</h1>{texts}")

    @app.get("/category/{id}")
    async def category(id: int) -> list[str]:
        found = await db[Products].find(Product.category == id, order_by=[Product.id])
        return [each.name for each in found]

    @app.get("/language/{id}")
    @app.get("/careless/{id}")
    async def language(id: int, request: Request) -> str:
        said = request.headers.get("accept-language", "en")
        product = await db[Products].require(id)
        return f"{said} {product.name}"

    @app.get("/price/{id}")
    async def price(id: int) -> int:
        return (await db[Prices].require(id)).cents

    @app.get("/about")
    async def about() -> str:
        return "about"

    @app.get("/sets")
    async def sets(response: Response) -> str:
        response.set_cookie("a", "b")
        return "sets"

    @app.get("/broken")
    async def broken() -> str:
        raise RuntimeError

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def parts() -> AsyncIterator[str]:
            await db[Products].get(1)
            yield "a"
            yield "b"

        return StreamingResponse(parts())

    @app.get("/tagged")
    async def tagged() -> str:
        return "tagged"

    @app.get("/me")
    @app.get("/secret")
    @app.get("/undeclared")
    async def me(request: Request) -> str:
        return request.cookies.get("user", "nobody")

    @app.get("/edit/{id}")
    async def edited(id: int) -> str:
        return (await db[Products].require(id)).name

    @app.put("/edit/{id}")
    async def edit(id: int, name: Annotated[str, Body()]) -> str:
        async with db.unit_of_work() as work:
            (await work[Products].require(id)).name = name
            await work.commit()
        return name

    @app.post("/rename/{id}/{name}")
    async def rename(id: int, name: str) -> str:
        async with db.unit_of_work() as work:
            (await work[Products].require(id)).name = name
            await work.commit()
        return name

    @app.post("/review/{id}/{text}")
    async def review(id: int, text: str) -> str:
        async with db.unit_of_work() as work:
            product = await work[Products].require(id)
            work.add(Review(product_id=product.id, text=text))
            await work.commit()
        return text

    return app


@asynccontextmanager
async def open_site(
    ends: Endpoints,
    *,
    edges: Any = None,
    pages: PageCache | None = None,
    settings: Settings | None = None,
    strict: bool = False,
) -> AsyncIterator[Site]:
    """A process of the site, all its nodes in the rotation."""
    given = settings or Settings(topology=QUICK)
    kept = pages or PageCache(ttl=600, local_ttl=60)
    repositories: Any = REPOSITORIES
    async with open_shop(ends, given, repositories, edges=edges, pages=kept) as shop:
        await in_rotation(shop)
        site = Site(shop, None)
        app: Any = application(shop, site.made)
        app = HttpCache(app, shop.db, ROUTES, strict=strict)
        site.app = CausalMiddleware(app, shop.db, Cookie(unsigned=True, secure=False))
        yield site
