"""A proxy that ends TLS before a server that speaks none."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

from repocache.redis_link import LinkSettings
from repocache.testing import RedisServer
from tests.redis_link.heard import QUICK
from tests.redis_link.serving import Answer

SLOW_TO_SHAKE = LinkSettings(connect_timeout=20, limits=QUICK.limits, breaker=QUICK.breaker)


def forwarding_to(redis: RedisServer) -> Answer:
    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.transport.abort()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind, onward = await asyncio.open_connection(redis.host, redis.port)
        await asyncio.gather(copy(reader, onward), copy(behind, writer))

    return forward


def context(pems: Path, *, asks: bool = False) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pems / "cert.pem", pems / "key.pem")
    if asks:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(pems / "cert.pem")
    return context
