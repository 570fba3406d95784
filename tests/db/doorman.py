"""A TCP address that can be made to lead elsewhere: what a DNS name is to a managed database."""

import asyncio
import contextlib
from types import TracebackType
from typing import Self

from sqlalchemy import make_url

from repocache.testing.ports import free_port


class Doorman:
    """Passes new connections on to its targets, one after the other; those that are there stay
    where they are."""

    def __init__(self, *urls: str) -> None:
        self._url = make_url(urls[0])
        self._targets: list[tuple[str, int]] = []
        self._turn = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.lead_to(*urls)

    @property
    def url(self) -> str:
        return self._url.set(host="127.0.0.1", port=self.port).render_as_string(hide_password=False)

    def lead_to(self, *urls: str) -> None:
        parsed = [make_url(url) for url in urls]
        self._targets = [(str(url.host), int(url.port or 5432)) for url in parsed]

    async def cut(self) -> None:
        """End all connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def __aenter__(self) -> Self:
        for _ in range(5):
            self.port = free_port()
            with contextlib.suppress(OSError):
                self._server = await asyncio.start_server(self._welcome, "127.0.0.1", self.port)
                return self
        raise OSError("no free port")

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()
        await self.cut()
        await self._server.wait_closed()

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        host, port = self._targets[self._turn % len(self._targets)]
        self._turn += 1
        ends = [writer]
        try:
            away_reader, away_writer = await asyncio.open_connection(host, port)
            ends.append(away_writer)
            async with asyncio.TaskGroup() as both:
                there = both.create_task(carry(reader, away_writer))
                back = both.create_task(carry(away_reader, writer))
                await asyncio.wait([there, back], return_when=asyncio.FIRST_COMPLETED)
                there.cancel()
                back.cancel()
        except (OSError, asyncio.CancelledError):
            return  # nobody is there, or it was cut
        finally:
            self._tasks.discard(task)
            for each in ends:
                each.transport.abort()


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while block := await reader.read(65536):
            writer.write(block)
            await writer.drain()
