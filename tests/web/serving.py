"""A small application of pure ASGI over the shop, and clients that need no socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from repocache.http import CausalMiddleware, Scope
from repocache.http.asgi import App, Message, Receive, Send
from repocache.routing.around import current_session
from repocache.subjects.subjects import _drawer_of
from repocache.testing import Servers
from tests.shop import Shop, User

Endpoint = Callable[[Shop, Scope, Receive, Send], Awaitable[None]]
TAB = "a-tab"


def user_of(scope: Scope) -> str | None:
    """As an authentication outside of the middleware would have it."""
    found = [value.decode() for name, value in scope["headers"] if name == b"x-user"]
    return found[0] if found else None


async def answers(send: Send, body: object, *lines: tuple[bytes, bytes], status: int = 200) -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(lines)})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})


def application(shop: Shop, endpoint: Endpoint | None = None) -> App:
    """PUT /7/Ada renames user 7 in a unit of work; GET /7 reads him from a node, and GET /get/7
    through the caches."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await send({"type": "lifespan.startup.complete"})
            return
        if endpoint is not None:
            await endpoint(shop, scope, receive, send)
            return
        *way, id_or_name = scope["path"].strip("/").split("/")
        if scope["method"] == "PUT":
            await shop.rename(int(way[0]), id_or_name)
            await answers(send, "done")
        elif way == ["get"]:
            await answers(send, (await shop.users.require(int(id_or_name))).name)
        else:
            found = await shop.users.find(User.id == int(id_or_name))
            await answers(send, found[0].name)

    return app


def web(
    shop: Shop, carrier: Any, endpoint: Endpoint | None = None, **more: Any
) -> CausalMiddleware:
    return CausalMiddleware(application(shop, endpoint), shop.db, carrier, **more)


def client(app: Any, **headers: str) -> httpx.AsyncClient:
    """https, so that what is secure is sent."""
    transport = httpx.ASGITransport(app=app)
    return httpx.AsyncClient(transport=transport, base_url="https://shop", headers=headers)


async def old_enough(shop: Shop, *subjects: str) -> None:
    """The drawers of these subjects (by itself: 7) were born long ago."""
    link = shop.db._started.cache.link
    assert link is not None
    for subject in subjects or ("7",):
        await shop.db.subjects.load(subject)
        await link.call("HSET", drawer_of(shop, subject), "b", "1000")


def drawer_of(shop: Shop, subject: str) -> str:
    """Its name in Redis."""
    return shop.db.subjects._name(_drawer_of(subject))


async def pause(servers: Servers) -> None:
    for replica in servers.replicas:
        await asyncio.to_thread(replica.pause_replay)


@dataclass
class Spoken:
    """What an application was told and said, message by message."""

    told: list[Message] = field(default_factory=list)
    said: list[Message] = field(default_factory=list)

    async def receive(self) -> Message:
        return self.told.pop(0)

    async def send(self, message: Message) -> None:
        self.said.append(message)

    def lines(self, kind: str, name: bytes) -> list[bytes]:
        return [
            value
            for message in self.said
            if message["type"] == kind
            for each, value in message["headers"]
            if each == name
        ]


def scope(
    kind: str = "http",
    path: str = "/",
    headers: Iterable[tuple[Any, Any]] = (),
    **more: Any,
) -> dict[str, Any]:
    made: Mapping[str, Any] = {"type": kind, "path": path, "headers": list(headers)}
    return {**made, "method": "GET", **more}


def in_session() -> bool:
    return current_session() is not None
