"""Who has written asks past the edges until they have purged for the second time."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, Router

from repocache import Settings, TopologySettings
from repocache.http import CausalMiddleware, Cookie, HttpCache, PageCache, Public
from repocache.testing import Endpoints, Servers
from tests.purging.conftest import PlayedEdge
from tests.responses.catalog import REPOSITORIES, Products
from tests.shop import Shop, in_rotation, open_shop, until

LAGGING = Settings(topology=TopologySettings(sample_every=0.05, max_lag=30.0))
FRESH = re.compile(r"repocache-fresh=1;.*Max-Age=(\d+)")


@pytest.fixture
async def kept(repocache_endpoints: Endpoints, edge: PlayedEdge) -> AsyncIterator[Shop]:
    async with open_shop(
        repocache_endpoints,
        LAGGING,
        REPOSITORIES,  # type: ignore[arg-type]
        edges=edge.edges,
        pages=PageCache(ttl=600),
    ) as shop:
        await in_rotation(shop)
        yield shop


@pytest.fixture
async def client(kept: Shop) -> AsyncIterator[httpx.AsyncClient]:
    db = kept.db

    async def rename(request: Request) -> Response:
        async with db.unit_of_work() as work:
            (await work[Products].require(1)).name = request.path_params["name"]
            await work.commit()
        return PlainTextResponse("renamed")

    async def show(_: Request) -> Response:
        return PlainTextResponse((await db[Products].require(1)).name)

    routes = [Route("/rename/{name}", rename, methods=["GET", "POST"]), Route("/show", show)]
    policy = Public(max_age=0, pages=True)
    app = HttpCache(Router(routes), db, {"/show": policy, "/rename/{name}": policy})
    outer = CausalMiddleware(app, db, Cookie(unsigned=True, secure=False))
    transport = httpx.ASGITransport(outer)
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        yield client


def fresh_for(answer: httpx.Response) -> int:
    """Seconds; 0: it is not told."""
    found = FRESH.search("\n".join(answer.headers.get_list("set-cookie")))
    return 0 if found is None else int(found[1])


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_whoever_has_written_is_told(client: httpx.AsyncClient, method: str) -> None:
    """A link that is clicked may write, too."""
    for number in range(3):
        answer = await client.request(method, f"/rename/v{number}")
        assert fresh_for(answer) > 0
        assert "public" not in answer.headers["cache-control"]
    assert fresh_for(await client.get("/show")) == 0


async def test_until_the_last_purge(
    client: httpx.AsyncClient, edge: PlayedEdge, repocache_controls: Servers
) -> None:
    """1. Replicas lag; 2. a commit is purged; 3. the second purge waits for them."""
    for replica in repocache_controls.replicas:
        await asyncio.to_thread(replica.sql, "SELECT pg_wal_replay_pause()")
    try:
        answer = await client.post("/rename/new")
        began = time.monotonic()
        await until(lambda: edge.times("product:1") >= 2, "purged again", seconds=60)
        assert time.monotonic() - began < fresh_for(answer)
    finally:
        for replica in repocache_controls.replicas:
            await asyncio.to_thread(replica.sql, "SELECT pg_wal_replay_resume()")
