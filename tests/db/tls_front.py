"""A TLS end in front of a PostgreSQL server that speaks none."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import URL

SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"


def make_pems(folder: Path) -> Path:
    """cert.pem and key.pem, signed by themselves, for 127.0.0.1."""
    made = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=postgres"
    more = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(["openssl", *made.split(), *more], cwd=folder, check=True, capture_output=True)
    return folder


@asynccontextmanager
async def tls_front(behind: URL, pems: Path) -> AsyncIterator[URL]:
    """The URL of the same server, for those who ask for TLS; others are hung up on."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pems / "cert.pem", pems / "key.pem")
    tasks: set[asyncio.Task[None]] = set()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.transport.abort()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened = [writer]
        try:
            if await reader.readexactly(len(SSL_REQUEST)) != SSL_REQUEST:
                return
            writer.write(b"S")
            await writer.start_tls(context)
            back, onward = await asyncio.open_connection(behind.host, behind.port)
            opened.append(onward)
            await asyncio.gather(copy(reader, onward), copy(back, writer))
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            for each in opened:
                each.transport.abort()

    def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(forward(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accepted, "127.0.0.1", 0)
    try:
        yield behind.set(port=server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
