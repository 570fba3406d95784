"""Of those who ask for a page at once one has it rendered. What becomes of him is his own
affair."""

from __future__ import annotations

import asyncio
import dataclasses
from contextvars import ContextVar
from typing import Any

import pytest
from starlette.responses import PlainTextResponse

from repocache import DatabaseUnavailable
from repocache.http import HttpCache, Private
from repocache.testing import Endpoints
from repocache.testing.ports import free_port
from tests.pages.site import PAGE, Site, open_site
from tests.responses.catalog import Products
from tests.shop import until
from tests.tcp_proxy import TcpProxy

SCOPE: dict[str, Any] = {
    "type": "http",
    "method": "GET",
    "path": "/x",
    "raw_path": b"/x",
    "query_string": b"",
    "scheme": "http",
    "headers": [(b"host", b"x")],
}


async def forever() -> Any:
    await asyncio.Event().wait()


class Asked:
    """One request. `sent`: its messages."""

    def __init__(self, app: Any, **more: Any) -> None:
        self.sent: list[Any] = []
        self.task = asyncio.create_task(self._ask(app, {**SCOPE, **more}))

    async def _ask(self, app: Any, scope: Any) -> None:
        await app(scope, forever, self._send)

    async def _send(self, message: Any) -> None:
        self.sent.append(message)

    @property
    def body(self) -> bytes:
        return b"".join(each.get("body", b"") for each in self.sent)


@pytest.mark.parametrize("policy", [PAGE, Private(no_cache=True)], ids=["page", "private"])
async def test_who_is_cancelled_ends_his_rendering(site: Site, policy: Any) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def app(*_: Any) -> None:
        begun.set()
        try:
            await forever()
        finally:
            ended.set()

    asked = Asked(HttpCache(app, site.shop.db, {"/x": policy}))
    await begun.wait()
    asked.task.cancel()
    done, _ = await asyncio.wait([asked.task], timeout=5)
    asked.task.cancel()
    assert done, "it waits for what never ends"
    assert asked.task.cancelled()
    assert ended.is_set()


async def test_who_is_cancelled_takes_nobody_along(site: Site) -> None:
    """1. One has the page rendered, and others wait for it; 2. he is cancelled."""
    begun, db = asyncio.Event(), site.shop.db
    runs = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal runs
        runs += 1
        product = await db[Products].require(1)
        if runs == 1:
            begun.set()
            await forever()
        await PlainTextResponse(product.name)(scope, receive, send)

    kept: Any = HttpCache(app, db, {"/x": PAGE})
    leader = Asked(kept)
    await begun.wait()
    others = [Asked(kept) for _ in range(5)]
    await asyncio.sleep(0.1)
    assert runs == 1, "they wait"
    leader.task.cancel()
    await asyncio.sleep(0)
    leader.task.cancel()
    await asyncio.wait_for(asyncio.gather(*(each.task for each in others)), 10)
    assert [each.body for each in others] == [b"n1"] * 5


async def test_who_fails_fails_alone(site: Site) -> None:
    """As by his own request: he has hung up, and the application raises."""
    begun, go, db = asyncio.Event(), asyncio.Event(), site.shop.db
    runs = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal runs
        runs += 1
        product = await db[Products].require(1)
        if runs == 1:
            begun.set()
            await go.wait()
            raise RuntimeError("he has hung up")
        await PlainTextResponse(product.name)(scope, receive, send)

    kept: Any = HttpCache(app, db, {"/x": PAGE})
    leader = Asked(kept)
    await begun.wait()
    others = [Asked(kept) for _ in range(5)]
    await asyncio.sleep(0.1)
    go.set()
    with pytest.raises(RuntimeError, match="hung up"):
        await leader.task
    await asyncio.gather(*(each.task for each in others))
    assert [each.body for each in others] == [b"n1"] * 5


of_request: ContextVar[str] = ContextVar("of_request")


async def test_nothing_of_a_request_is_kept_with_its_page(site: Site) -> None:
    """A key in L1 is an object that a request made, whether it has rendered the page, found it in
    Redis, or only asked whether it is there."""
    db = site.shop.db

    async def app(scope: Any, receive: Any, send: Any) -> None:
        product = await db[Products].require(1)
        await PlainTextResponse(product.name)(scope, receive, send)

    kept: Any = HttpCache(app, db, {"/x": PAGE})
    local = db.responses.pages._traces._shared.local  # type: ignore[union-attr]
    headers: list[tuple[bytes, bytes]] = []
    given = [(b"host", b"x"), (b"if-none-match", b'"a"')]

    async def in_l1() -> bool:
        of_request.set("this one")
        await Asked(kept, headers=headers).task
        await asyncio.sleep(0.05)
        keys = list(local.shelf("page").entries)
        assert all(of_request not in key.context for key in keys)
        local.clear_owner("page")
        return bool(keys)

    for _ in range(2):
        headers = given[:1]
        await until(in_l1, "who renders it, or finds it, leaves its trace in L1")
        headers = given
        await until(in_l1, "so does who asks whether it has changed")


async def test_what_is_said_while_the_database_is_away_is_the_application_s(
    repocache_endpoints: Endpoints,
) -> None:
    """1. A page is kept; 2. what it was made of has left the caches; 3. the database is lost: what
    a client is told then is not this library's to decide."""
    async with TcpProxy(repocache_endpoints.primary) as door:
        ends = dataclasses.replace(repocache_endpoints, primary=door.url, replicas=())
        async with open_site(ends) as site:
            db = site.shop.db

            async def app(scope: Any, receive: Any, send: Any) -> None:
                try:
                    text = (await db[Products].require(1)).name
                except DatabaseUnavailable:
                    text = "we are sorry"
                await PlainTextResponse(text)(scope, receive, send)

            kept: Any = HttpCache(app, db, {"/x": PAGE})
            for _ in range(5):
                assert (await answered(kept)).body == b"n1"
            door.lead_to(f"postgresql://127.0.0.1:{free_port()}/x")
            await door.cut()
            shared: Any = db.responses.pages._traces._shared  # type: ignore[union-attr]
            shared.local.clear_owner("product")
            [key] = await shared.records._link.call("KEYS", "*product:1")
            await shared.records._link.call("DEL", key)
            for headers in ([], [(b"if-none-match", b'"a"')]):
                assert (await answered(kept, headers)).body == b"we are sorry"


async def answered(app: Any, headers: Any = ()) -> Asked:
    asked = Asked(app, headers=[(b"host", b"x"), *headers])
    await asked.task
    return asked


async def test_two_pages_that_show_each_other_are_rendered(site: Site) -> None:
    """1. One request renders `/a`, another `/b`; 2. the first asks for `/b`, as part of its page,
    and waits for who renders that; 3. the second asks for `/a`, and waits for the first."""
    both, inner = asyncio.Barrier(2), ContextVar("inner", default=False)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        text = scope["path"]
        if not inner.get():
            inner.set(True)
            await both.wait()
            path = "/b" if text == "/a" else "/a"
            part = Asked(kept, path=path, raw_path=path.encode())
            await part.task
            text += part.body.decode()
        await PlainTextResponse(text)(scope, receive, send)

    kept: Any = HttpCache(app, site.shop.db, {"/a": PAGE, "/b": PAGE})
    asked = [Asked(kept, path=path, raw_path=path.encode()) for path in ("/a", "/b")]
    done, waiting = await asyncio.wait([each.task for each in asked], timeout=3)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert len(done) == 2
