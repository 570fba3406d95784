"""The frame of every page: what is around it is the same for everybody in a shop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse

from examples.shop.assets import Assets, assets_of
from examples.shop.markup import escaped
from examples.shop.repositories import Notices
from examples.shop.tenants import Tenant
from repocache import Database
from repocache.fastapi import database

Db = Annotated[Database, Depends(database)]
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; img-src data:; script-src 'self'; style-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
LINKS = {"/": "Shop", "/cart": "Cart", "/orders": "Orders", "/login": "Sign in"}


@dataclass(frozen=True)
class Layout:
    """`shop`: its name. `notice`: empty: it has none."""

    assets: Assets
    shop: str
    notice: str = ""

    def page(self, title: str, *parts: str) -> HTMLResponse:
        """`parts`: of markup."""
        links = "".join(f'<a href="{path}">{name}</a>' for path, name in LINKS.items())
        notice = f'<p class="notice">{escaped(self.notice)}</p>' if self.notice else ""
        body = "\n".join(parts)
        return HTMLResponse(
            f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escaped(title)} - {escaped(self.shop)}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{self.assets.path("shop.css")}">
<script src="{self.assets.path("shop.js")}" defer></script></head>
<body><header><a class="shop" href="/">{escaped(self.shop)}</a>
<nav>{links}</nav></header>
{notice}<main>
{body}
</main></body></html>
""",
            headers=HEADERS,
        )


def bare_layout(request: Request, tenant: Tenant) -> Layout:
    """Reads nothing."""
    return Layout(assets_of(request), f"{tenant.capitalize()} Goods")


async def layout(request: Request, tenant: Tenant, db: Db) -> Layout:
    """With the notice of the request's tenant: a row that no other tenant may read."""
    notice = await db[Notices].by_place.get("top")
    bare = bare_layout(request, tenant)
    return Layout(bare.assets, bare.shop, notice.text if notice else "")


Frame = Annotated[Layout, Depends(layout)]
BareFrame = Annotated[Layout, Depends(bare_layout)]
