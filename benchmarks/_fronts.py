"""Varnish in front of the service, where it is installed, and a client of HTTP/1.1 that costs
little."""

from __future__ import annotations

import asyncio
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn

from benchmarks._harness import Call
from benchmarks._shop import Users, database
from benchmarks._sites import shop_app
from repocache.edges.config import varnish_vcl
from repocache.edges.declared import Edges
from repocache.edges.varnish import Varnish
from repocache.events import EdgePurged, Event
from repocache.http import HttpCache, PageCache, Public
from repocache.testing import Endpoints
from repocache.testing.ports import free_port
from repocache.testing.process import Account, Child, Command

SECRET = "a-secret-of-many-characters"
PROGRAM = shutil.which("varnishd") or shutil.which("varnishd", path="/usr/sbin")
STARTS = 60.0
"""Seconds: it compiles its configuration."""
POLICY = Public(max_age=0, s_maxage=3600, pages=True)


class Client:
    """One kept connection for each caller at once."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def get(self, number: int) -> bytes:
        if self._free:
            reader, writer = self._free.pop()
        else:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(f"GET /pages/{number} HTTP/1.1\r\nhost: shop.example\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        body = await reader.readexactly(length)
        self._free.append((reader, writer))
        return body

    async def close(self) -> None:
        for _, writer in self._free:
            writer.close()
            await writer.wait_closed()


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[int]:
    config = uvicorn.Config(app, host="127.0.0.1", port=0, lifespan="off", log_level="error")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    try:
        while not server.started:  # noqa: ASYNC110  # it has no event
            await asyncio.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def varnish(backend: int) -> AsyncIterator[int]:
    """Its port. Raises FileNotFoundError where it is not installed."""
    if PROGRAM is None:
        raise FileNotFoundError("varnishd is not installed")
    with tempfile.TemporaryDirectory(prefix="varnish-", ignore_cleanup_errors=True) as name:
        folder, port = Path(name), free_port()
        (folder / "secret").write_text(SECRET)
        vcl = varnish_vcl().replace('.port = "8000"', f'.port = "{backend}"')
        vcl = vcl.replace("/etc/varnish/repocache.secret", str(folder / "secret"))
        (folder / "edge.vcl").write_text(vcl)
        command = Command(
            (
                *(PROGRAM, "-F", "-j", "none", "-T", "none", "-s", "default,64m"),
                *("-n", str(folder / "work"), "-a", f"127.0.0.1:{port}"),
                *("-f", str(folder / "edge.vcl")),
            ),
            folder,
            folder / "log",
        )
        child = await asyncio.to_thread(Child, command, Account())
        try:
            async with asyncio.timeout(STARTS):
                await _listens(port)
            yield port
        finally:
            await asyncio.to_thread(child.end, signal.SIGTERM, 5.0)


async def _listens(port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return


class Door:
    """Where Varnish asks, before there is a service."""

    app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


@asynccontextmanager
async def fetched(ends: Endpoints, pages: int, *, through: bool) -> AsyncIterator[Call]:
    """A page by HTTP, from the service's own server, or `through` Varnish."""
    door = Door()
    async with serving(door) as backend, _front(backend, through=through) as port:
        edges = Edges(Varnish(f"http://127.0.0.1:{port}", secret=SECRET)) if through else None
        kept = PageCache(ttl=3600, local_ttl=3600)
        async with database(ends, Users, pages=kept, edges=edges) as db:
            door.app = HttpCache(shop_app(db), db, {"/pages/{number}": POLICY})
            client = Client(port)
            for _ in range(3):
                for number in range(pages):
                    await client.get(number)
                await asyncio.sleep(0.05)
            try:
                yield client.get
            finally:
                await client.close()


@asynccontextmanager
async def _front(backend: int, *, through: bool) -> AsyncIterator[int]:
    if not through:
        yield backend
        return
    async with varnish(backend) as port:
        yield port


@asynccontextmanager
async def purged(ends: Endpoints) -> AsyncIterator[Call]:
    """A commit, until Varnish has answered that it has purged its pages."""
    heard = asyncio.Event()

    def hear(event: Event) -> None:
        if isinstance(event, EdgePurged):
            heard.set()

    async with serving(Door()) as backend, varnish(backend) as port:
        edges = Edges(Varnish(f"http://127.0.0.1:{port}", secret=SECRET), transit=3600)
        async with database(ends, Users, edges=edges, observe=hear) as db:
            yield partial(_commit_and_wait, db, heard)


async def _commit_and_wait(db: Any, heard: asyncio.Event, number: int) -> None:
    heard.clear()
    async with db.unit_of_work() as work:
        (await work[Users].require(number)).age += 1
        await work.commit()
    await heard.wait()
