"""A TCP address that leads where it is told: a DNS name, and all that may go wrong on the way
there."""

from __future__ import annotations

import asyncio
import contextlib
import enum
from dataclasses import dataclass, field
from typing import Self

from sqlalchemy import make_url

from repocache.testing.ports import free_port


class Way(enum.Flag):
    """Where bytes go."""

    TO_SERVER = enum.auto()
    TO_CLIENT = enum.auto()
    BOTH = TO_SERVER | TO_CLIENT


@dataclass
class Held:
    """A block of a client's bytes that was stopped on its way; the test says what becomes of it."""

    block: bytes
    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    released: asyncio.Event = field(default_factory=asyncio.Event)

    def deliver(self) -> None:
        self.server.write(self.block)
        self.released.set()

    def deliver_and_hang_up(self) -> None:
        """The server gets it, and its answer never arrives."""
        self.server.write(self.block)
        self.hang_up()

    def hang_up(self) -> None:
        """The client's connection is gone; the server hears nothing of it."""
        self.client.transport.abort()

    def lose(self) -> None:
        """The block never arrives, and both connections are gone."""
        self.hang_up()
        self.server.transport.abort()
        self.released.set()


class TcpProxy:
    """`async with TcpProxy(url) as proxy:` connections to `proxy.url` go to that of `url`, or of
    `lead_to`; of several one after the other.

    `delay`: seconds for every block. Connections stay with the server that they were made to.
    """

    def __init__(self, *urls: str) -> None:
        self._url = make_url(urls[0])
        self._turn = 0
        self._connections: set[asyncio.Task[None]] = set()
        self._flowing = {way: asyncio.Event() for way in (Way.TO_SERVER, Way.TO_CLIENT)}
        self.thaw()
        self._trap: tuple[bytes, asyncio.Future[Held]] | None = None
        self.delay = 0.0
        self.port = 0
        self.lead_to(*urls)

    @property
    def url(self) -> str:
        return self._url.set(host="127.0.0.1", port=self.port).render_as_string(hide_password=False)

    def lead_to(self, *urls: str) -> None:
        parsed = [make_url(url) for url in urls]
        self._targets = [(str(url.host), 5432 if url.port is None else url.port) for url in parsed]

    async def cut(self) -> None:
        """End all connections."""
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def freeze(self, way: Way = Way.BOTH) -> None:
        """Half-open: what is connected stays so, new connections are accepted, and nothing arrives
        that way."""
        for each, flowing in self._flowing.items():
            if each in way:
                flowing.clear()

    def thaw(self) -> None:
        """What was under way arrives now, late as it is."""
        for flowing in self._flowing.values():
            flowing.set()

    def trap(self, pattern: bytes) -> asyncio.Future[Held]:
        """The next block from a client with this in it is held."""
        self._trap = (pattern, asyncio.get_running_loop().create_future())
        return self._trap[1]

    async def __aenter__(self) -> Self:
        for _ in range(5):
            self.port = free_port()
            with contextlib.suppress(OSError):
                self._server = await asyncio.start_server(self._welcome, "127.0.0.1", self.port)
                return self
        raise OSError("no free port")

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self.cut()
        await self._server.wait_closed()

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        writers = [writer]
        try:
            for flowing in self._flowing.values():
                await flowing.wait()
            target = self._targets[self._turn % len(self._targets)]
            self._turn += 1
            there, server = await asyncio.open_connection(*target)
            writers.append(server)
            ways = [
                asyncio.ensure_future(self._carry(reader, server, client=writer)),
                asyncio.ensure_future(self._carry(there, writer)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.wait(ways)
        except (OSError, asyncio.CancelledError):
            return  # nobody listens there, or cut
        finally:
            self._connections.discard(task)
            for each in writers:
                each.transport.abort()

    async def _carry(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        client: asyncio.StreamWriter | None = None,
    ) -> None:
        flowing = self._flowing[Way.TO_CLIENT if client is None else Way.TO_SERVER]
        with contextlib.suppress(OSError):
            while block := await reader.read(65536):
                if self.delay:
                    await asyncio.sleep(self.delay)
                await flowing.wait()
                if client is not None and self._trap is not None and self._trap[0] in block:
                    (_, caught), self._trap = self._trap, None
                    held = Held(block, client, writer)
                    caught.set_result(held)
                    await held.released.wait()
                else:
                    writer.write(block)
                    await writer.drain()
