"""One page of ten products, as services make it: without a cache, with what FastAPI users take
today, and with this library."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from benchmarks._harness import Call
from benchmarks._shop import User, Users, database, plain_engine
from repocache import Database
from repocache.http import HttpCache, PageCache, Public
from repocache.testing import Endpoints

ON_A_PAGE = 10
TTL = 60
App = Callable[[Any, Any, Any], Awaitable[None]]


def ids_of(number: int) -> list[int]:
    return list(range(number * ON_A_PAGE, (number + 1) * ON_A_PAGE))


def page_of(users: Sequence[User]) -> str:
    """Some 1,500 bytes."""
    rows = "".join(f"<li><b>{each.name}</b> {each.city}: {each.about}</li>" for each in users)
    return f"<!doctype html><title>page</title><ul>{rows}</ul>"


def caller(app: App, headers: Sequence[tuple[bytes, bytes]] = ()) -> Call:
    """Asks the application as a server would, without one: what a client and sockets cost is not
    measured. Returns status and body."""

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def call(number: int) -> tuple[int, bytes, dict[bytes, bytes]]:
        body, status, lines = b"", 0, {}

        async def send(message: Any) -> None:
            nonlocal body, status, lines
            if message["type"] == "http.response.start":
                status, lines = message["status"], dict(message["headers"])
            else:
                body += message.get("body", b"")

        path = f"/pages/{number}"
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": [(b"host", b"shop.example"), (b"accept", b"text/html"), *headers],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }
        await app(scope, receive, send)
        return status, body, lines

    return call


async def warmed(call: Call, pages: int) -> Call:
    """Each page until it is kept."""
    for _ in range(3):
        for number in range(pages):
            await call(number)
        await asyncio.sleep(0.05)
    return call


@asynccontextmanager
async def without(ends: Endpoints) -> AsyncIterator[Call]:
    app = FastAPI()
    async with plain_engine(ends) as engine:

        @app.get("/pages/{number}")
        async def page(number: int) -> HTMLResponse:
            async with AsyncSession(engine) as session:
                rows = select(User).where(User.id.in_(ids_of(number))).order_by(User.id)
                return HTMLResponse(page_of(list((await session.scalars(rows)).all())))

        yield caller(app)


@asynccontextmanager
async def with_cashews(ends: Endpoints, pages: int) -> AsyncIterator[Call]:
    """Its decorator, on the function that renders."""
    cache = import_module("cashews").Cache()
    cache.setup(ends.redis)
    app = FastAPI()
    async with plain_engine(ends) as engine:

        @cache(ttl=TTL, key="page:{number}")  # type: ignore[untyped-decorator]  # it has no types
        async def rendered(number: int) -> str:
            async with AsyncSession(engine) as session:
                rows = select(User).where(User.id.in_(ids_of(number))).order_by(User.id)
                return page_of(list((await session.scalars(rows)).all()))

        @app.get("/pages/{number}")
        async def page(number: int) -> HTMLResponse:
            return HTMLResponse(await rendered(number))

        try:
            yield await warmed(caller(app), pages)
        finally:
            await cache.close()


@asynccontextmanager
async def with_fastapi_cache(ends: Endpoints, pages: int) -> AsyncIterator[Call]:
    """fastapi-cache2's decorator, on the endpoint, with Redis."""
    library = import_module("fastapi_cache")
    backend = import_module("fastapi_cache.backends.redis").RedisBackend
    decorator = import_module("fastapi_cache.decorator").cache
    client = import_module("redis.asyncio").from_url(ends.redis)
    library.FastAPICache.init(backend(client), prefix="bench")
    app = FastAPI()
    async with plain_engine(ends) as engine:

        @app.get("/pages/{number}")
        @decorator(expire=TTL)  # type: ignore[untyped-decorator]  # as above
        async def page(number: int) -> str:
            async with AsyncSession(engine) as session:
                rows = select(User).where(User.id.in_(ids_of(number))).order_by(User.id)
                return page_of(list((await session.scalars(rows)).all()))

        try:
            yield await warmed(caller(app), pages)
        finally:
            library.FastAPICache.reset()
            await client.aclose()


def shop_app(db: Database) -> FastAPI:
    app = FastAPI()

    @app.get("/pages/{number}")
    async def page(number: int) -> HTMLResponse:
        found = await db[Users].get_many(ids_of(number))
        return HTMLResponse(page_of(list(found.values())))

    return app


@asynccontextmanager
async def rows_cached(ends: Endpoints, pages: int) -> AsyncIterator[Call]:
    """Repositories alone: rendered each time, from L1."""
    async with database(ends, Users) as db:
        yield await warmed(caller(shop_app(db)), pages)


@asynccontextmanager
async def kept(ends: Endpoints, pages: int, *, etags: bool = False) -> AsyncIterator[Call]:
    """`HttpCache`, with pages kept; with `etags` a browser asks that has the page."""
    async with database(ends, Users, pages=PageCache(ttl=3600, local_ttl=3600)) as db:
        policy = Public(max_age=0, s_maxage=60, pages=True)
        app = HttpCache(shop_app(db), db, {"/pages/{number}": policy})
        call = await warmed(caller(app), pages)
        if not etags:
            yield call
            return
        known: list[Any] = [await call(number) for number in range(pages)]
        asking = [caller(app, ((b"if-none-match", each[2][b"etag"]),)) for each in known]

        async def ask(number: int) -> object:
            return await asking[number](number)

        first: Any = await ask(0)
        assert (first[0], first[1]) == (304, b""), first
        yield ask
