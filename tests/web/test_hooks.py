"""One service's bookmark goes to another by httpx, and what that did comes back."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

import httpx
import pytest

from repocache import ConfigurationError
from repocache.events import BookmarkRefused
from repocache.http import Header, Scope, bookmark_hooks
from repocache.http.asgi import Receive, Send
from repocache.testing import Servers
from tests.shop import Shop, User
from tests.web.serving import answers, pause, web


def apart(app: Any) -> Any:
    """In a context of its own, as in another process: else its sessions would stand in ours."""

    async def elsewhere(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.create_task(app(scope, receive, send), context=contextvars.Context())

    return elsewhere


def calls(shop: Shop, app: Any, **more: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=apart(app)),
        base_url="https://users",
        event_hooks=bookmark_hooks(shop.db, **more),
    )


async def test_the_other_service_reads_what_this_one_wrote_and_back(
    repocache_controls: Servers, shop: Shop, other: Shop
) -> None:
    await pause(repocache_controls)
    async with calls(shop, web(other, Header())) as users:
        async with shop.db.causal_session():
            await shop.rename(7, "Ada")
            assert (await users.get("/7")).json() == "Ada"
        async with shop.db.causal_session():
            await users.put("/8/Grace")
            assert [user.name for user in await shop.users.find(User.id == 8)] == ["Grace"]
        assert [user.name for user in await shop.users.find(User.id == 8)] == ["n08"]
        assert (await users.get("/7")).json() == "n07", "no session, no bookmark"


async def test_nothing_is_said_where_there_is_nothing_to_say(shop: Shop) -> None:
    heard: list[Any] = []

    async def endpoint(shop: Shop, scope: Scope, receive: Receive, send: Send) -> None:
        heard.append([value for name, value in scope["headers"] if name == b"x-b"])
        await answers(send, "", (b"x-b", b"forged"))

    app = web(shop, Header("X-B"), endpoint)
    async with calls(shop, app, header="X-B") as users, shop.db.causal_session() as session:
        await users.get("/")
        assert heard == [[]]
        assert session.bookmark.position == 0
        assert [event.why for event in shop.seen.of(BookmarkRefused)] == ["signature"]
        await shop.rename(7, "Ada")
        await users.get("/")
        assert heard[1] == [session.encode().encode()]
    async with (
        calls(shop, app, header="X-B", hosts=["elsewhere"]) as users,
        shop.db.causal_session(session.bookmark),
    ):
        await users.get("/")
        assert heard[2] == []
        assert len(shop.seen.of(BookmarkRefused)) == 2, "nor is what comes from there taken"


async def test_what_cannot_work_is_refused(shop: Shop) -> None:
    with pytest.raises(ConfigurationError, match="name"):
        bookmark_hooks(shop.db, header="a b")
    with pytest.raises(ConfigurationError, match="several"):
        bookmark_hooks(shop.db, hosts="users")
