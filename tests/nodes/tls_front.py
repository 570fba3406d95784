"""A TLS end in front of a PostgreSQL server that speaks none."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import URL

from tests.redis_link.serving import serving

SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"


def make_pems(folder: Path) -> Path:
    """cert.pem and key.pem, signed by themselves, for 127.0.0.1."""
    made = (
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "
        "/CN=postgres"
    )
    more = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(["openssl", *made.split(), *more], cwd=folder, check=True, capture_output=True)
    return folder


@asynccontextmanager
async def tls_front(behind: URL, pems: Path) -> AsyncIterator[URL]:
    """The URL of the same server, for those who ask for TLS; others are hung up on."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pems / "cert.pem", pems / "key.pem")

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.transport.abort()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(len(SSL_REQUEST)) != SSL_REQUEST:
            return
        writer.write(b"S")
        await writer.start_tls(context)
        back, onward = await asyncio.open_connection(behind.host, behind.port)
        try:
            await asyncio.gather(copy(reader, onward), copy(back, writer))
        finally:
            onward.transport.abort()

    async with serving(forward) as place:
        yield behind.set(port=place.port)
