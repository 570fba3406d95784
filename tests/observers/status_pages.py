"""A page over a shop that has something to show, and hostile texts, to be shown as texts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from repocache import CacheMode
from repocache.events import Filled, Invalidated, OwnerMeasured, Served
from repocache.http import Scope, StatusPage
from repocache.testing import Endpoints
from tests.observers.watched import PageViews, Watched, watched
from tests.shop import Users, in_rotation, until

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&\x00"


def anybody(_: Scope) -> bool:
    return True


@asynccontextmanager
async def visited(ends: Endpoints) -> AsyncIterator[Watched]:
    """Reads, writes, an owner that is switched, changes that wait."""
    async with watched(ends, (Users, PageViews)) as here:
        await in_rotation(here)
        users = here.db[Users]
        await users.get_many(range(1, 31))
        await until(lambda: users._peek(30) is not None, "L1 has them")
        for _ in range(5):
            await asyncio.gather(*map(users.get, range(1, 31)))
        await here.rename(7, "Ada")
        await until(lambda: bool(here.figures.recent), "it is heard of")
        await here.db[PageViews].add(7, hits=3)
        await here.db.measure()
        here.db.switch(Users, CacheMode.SHARED)
        await here.db.verify(samples=20, within=0.5)
        yield here


def tell_hostile(here: Watched) -> None:
    """As if an application had named its owners, and clients their ids, so."""
    for event in (
        OwnerMeasured(HOSTILE, HOSTILE, 1, 700, 5, *[0] * 7),
        Served(HOSTILE, "l2", "", "a value", key=f"user:{HOSTILE}", size=100),
        Filled(f"user:{HOSTILE}", True, "user", 100),
        Invalidated(3, (f"user:{HOSTILE}", f"{HOSTILE}:7"), True),
    ):
        here.figures(event)


def looking(page: object, **headers: str) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=page)  # type: ignore[arg-type]  # an ASGI app
    return httpx.AsyncClient(transport=transport, base_url="https://shop", headers=headers)


def page_of(here: Watched, *, show_keys: bool = False) -> StatusPage:
    return StatusPage(here.db, here.figures, allow=anybody, show_keys=show_keys, title="Shop")
