"""One TCP link with weather: latency, narrow bandwidth, silence in one way or both, cuts and
resets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from dataclasses import dataclass
from typing import Self

from sqlalchemy import make_url

from repocache.testing.ports import free_port

BLOCK = 16 * 1024
LINGER = struct.pack("ii", 1, 0)
"""Closing with it sends a reset."""


@dataclass(frozen=True, slots=True)
class Weather:
    """What happens to blocks on their way. `latency`: seconds for each, `rate`: bytes in a second,
    0: unlimited.

    `to_server`, `to_client`: blocks arrive at all; `open`: so do connections.
    """

    latency: float = 0.0
    rate: float = 0.0
    to_server: bool = True
    to_client: bool = True
    open: bool = True


FAIR = Weather()


class Link:
    """`async with Link(url) as link:` connections to `link.url` go where `url` or `lead_to` says.

    What a silent link swallows for the time being arrives when it speaks again: TCP would have
    repeated it.
    """

    def __init__(self, url: str) -> None:
        self._url = make_url(url)
        self._connections: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._weather = FAIR
        self.port = 0
        self.lead_to(url)

    @property
    def url(self) -> str:
        return self._url.set(host="127.0.0.1", port=self.port).render_as_string(hide_password=False)

    def lead_to(self, url: str) -> None:
        target = make_url(url)
        self._target = (str(target.host), int(target.port or 0))

    @property
    def weather(self) -> Weather:
        return self._weather

    @weather.setter
    def weather(self, weather: Weather) -> None:
        self._weather = weather
        self._changed.set()
        self._changed = asyncio.Event()

    async def reset(self) -> None:
        """End all connections with a reset."""
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def __aenter__(self) -> Self:
        for _ in range(5):
            self.port = free_port()
            with contextlib.suppress(OSError):
                self._server = await asyncio.start_server(self._welcome, "127.0.0.1", self.port)
                return self
        raise OSError("no free port")

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self.reset()
        await self._server.wait_closed()

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        writers = [writer]
        try:
            if not self._weather.open:
                return
            there, server = await asyncio.open_connection(*self._target)
            writers.append(server)
            async with asyncio.TaskGroup() as ways:
                ways.create_task(self._carry(reader, server, "to_server"))
                ways.create_task(self._carry(there, writer, "to_client"))
        except* (OSError, _Over):
            pass  # nobody listens there, or one of the two has gone
        except* asyncio.CancelledError:
            pass  # cut
        finally:
            self._connections.discard(task)
            for each in writers:
                _hang_up(each)

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: str
    ) -> None:
        while block := await reader.read(BLOCK):
            weather = self._weather
            if weather is not FAIR:
                await asyncio.sleep(
                    weather.latency + (len(block) / weather.rate if weather.rate else 0.0)
                )
                while not getattr(self._weather, way):
                    await self._changed.wait()
            writer.write(block)
            await writer.drain()
        raise _Over


class _Over(Exception):
    """One side has closed."""


def _hang_up(writer: asyncio.StreamWriter) -> None:
    raw = writer.get_extra_info("socket")
    if raw is not None:
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
    writer.transport.abort()
