"""A small HTTP/1.1 server of the tests' own, which may also be silent, or hang up: a service behind
an edge, or an edge's API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from repocache.testing.ports import free_port

TRIES = 20


@dataclass(frozen=True)
class Asked:
    """`headers`: by their names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Said:
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class HangUp(Exception):
    """Raised by what answers: the connection is reset."""


Answer = Callable[[Asked], Awaitable[Said]]


@dataclass
class Speaking:
    """`asked`: all that came, in order."""

    port: int
    asked: list[Asked] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


async def read_one(reader: asyncio.StreamReader) -> Asked | None:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ")
    headers: dict[str, str] = {}
    for line in filter(None, lines):
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Asked(method, path, headers, body)


@asynccontextmanager
async def speaking(answer: Answer) -> AsyncIterator[Speaking]:
    """A server that answers so, until the block is left."""
    open_: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_.add(task)
        try:
            while asked := await read_one(reader):
                here.asked.append(asked)
                said = await answer(asked)
                lines = [f"{name}: {value}\r\n" for name, value in said.headers.items()]
                body = b"" if asked.method == "HEAD" else said.body
                writer.write(
                    f"HTTP/1.1 {said.status} -\r\ncontent-length: {len(said.body)}\r\n"
                    f"{''.join(lines)}\r\n".encode("latin-1")
                    + body
                )
                await writer.drain()
        except (OSError, EOFError, HangUp, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            open_.discard(task)
            writer.close()

    server, port = await listen(serve)
    here = Speaking(port)
    try:
        yield here
    finally:
        server.close()
        left = set(open_)
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)
        await server.wait_closed()


async def listen(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> tuple[asyncio.Server, int]:
    for _ in range(TRIES):
        port = free_port()
        try:
            return await asyncio.start_server(serve, "127.0.0.1", port), port
        except OSError:
            continue
    raise AssertionError("no port is free")
