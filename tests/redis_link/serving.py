"""Servers of a few lines in the test's own loop, to say what no Redis says, or to stand between."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

from repocache.redis_link import Address
from repocache.testing.ports import free_port

Answer: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(answer: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[Address]:
    """Answers each connection, and ends those that are left."""
    open_ones: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        open_ones.add(task)
        try:
            await answer(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass  # the link left, or the test ended
        finally:
            open_ones.discard(task)
            writer.transport.abort()

    for _ in range(20):
        port = free_port()
        try:
            server = await asyncio.start_server(serve, "127.0.0.1", port, ssl=tls)
        except OSError:
            continue  # taken meanwhile
        break
    else:
        raise RuntimeError("no port is free")
    try:
        yield Address(host="127.0.0.1", port=port)
    finally:
        server.close()
        for task in list(open_ones):
            task.cancel()
        if open_ones:
            await asyncio.wait(open_ones)
