"""The application: `uvicorn --factory examples.shop.app:from_env`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from examples.shop import admin, assets, carts, catalogue, orders, prices, reads_page, visitors
from examples.shop.policies import PAGES, ROUTES
from examples.shop.reads import Following, Trail
from examples.shop.repositories import REPOSITORIES
from examples.shop.tenants import OfTenant
from repocache import BacklogFull, Database, NotFound, Settings
from repocache.cache.entry import CacheSettings
from repocache.edges.declared import Edges
from repocache.edges.varnish import Varnish
from repocache.errors import BehindUnavailable, StrictWriteRefused
from repocache.fastapi import lifespan
from repocache.http import CausalMiddleware, Cookie, HttpCache

HOSTS = {"north.localhost": "north", "south.localhost": "south"}


@dataclass(frozen=True)
class Site:
    """`hosts`: the tenant of each host. `secure`: cookies over HTTPS alone. `trail`: what
    `/_reads` shows; None: it is not there. `strict`: an answer that depends on what it does not say
    is an error, as in tests."""

    hosts: Mapping[str, str]
    secure: bool = True
    trail: Trail | None = None
    strict: bool = False


async def not_found(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": "there is no such page"}, 404)


async def away(request: Request, error: Exception) -> JSONResponse:
    """A write that needs Redis, while that is away: nothing was changed."""
    return JSONResponse({"detail": "try again soon"}, 503, {"Retry-After": "5"})


def make_app(db: Database, site: Site) -> FastAPI:
    app = FastAPI(title="Shop", lifespan=lifespan(db), docs_url=None, redoc_url=None)
    app.state.assets = assets.Assets.read()
    app.state.secure = site.secure
    for part in (assets, catalogue, prices, carts, orders, admin, visitors):
        app.include_router(part.router)
    app.add_exception_handler(NotFound, not_found)
    for error in (StrictWriteRefused, BehindUnavailable, BacklogFull):
        app.add_exception_handler(error, away)
    # The last one is the outermost.
    app.add_middleware(HttpCache, db=db, routes=ROUTES, strict=site.strict)
    app.add_middleware(CausalMiddleware, db=db, carrier=Cookie(secure=site.secure))
    app.add_middleware(OfTenant, db=db, hosts=site.hosts)
    if site.trail is not None:
        app.state.trail = site.trail
        app.include_router(reads_page.router)
        app.add_middleware(Following, trail=site.trail)
    return app


def from_env() -> FastAPI:
    """For the database `SHOP_DB_PRIMARY` and more, as docs/settings.md says, `SHOP_DB_SECRETS`
    among them. `SHOP_HOSTS`: pairs as `shop.example=north`. `SHOP_VARNISH` and
    `SHOP_VARNISH_SECRET`: the edge in front, if there is one. `SHOP_INSECURE=1`: cookies without
    HTTPS. `SHOP_READS=1`: `/_reads` is there, which shows what all customers do: for trying out."""
    said = os.environ
    settings = Settings()
    trail = None
    if said.get("SHOP_READS") == "1":
        trail = Trail(settings.observe)
        settings = replace(settings, observe=trail, cache=CacheSettings(observe_hits=True))
    hosts = dict(pair.split("=", 1) for pair in said.get("SHOP_HOSTS", "").split()) or HOSTS
    edges = None
    if url := said.get("SHOP_VARNISH"):
        edges = Edges(Varnish(url, secret=said["SHOP_VARNISH_SECRET"]))
    db = Database.from_env(
        "SHOP_DB_", repositories=REPOSITORIES, settings=settings, edges=edges, pages=PAGES
    )
    return make_app(db, Site(hosts, said.get("SHOP_INSECURE") != "1", trail))
