"""A sentinel of a few lines, to say what no real one says when it is asked to."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import AbstractAsyncContextManager

from repocache.redis_link import Address
from tests.redis_link.serving import serving


def named(port: int, epoch: int) -> bytes:
    """The answer of one that takes this server for the master."""
    words = [
        b"name",
        b"main",
        b"ip",
        b"127.0.0.1",
        b"port",
        b"%d" % port,
        b"config-epoch",
        b"%d" % epoch,
    ]
    return b"*%d\r\n" % len(words) + b"".join(
        b"$%d\r\n%b\r\n" % (len(word), word) for word in words
    )


class Saying:
    """A sentinel that answers each question with `reply`, or not at all if that is empty; it counts
    them."""

    def __init__(self, reply: bytes) -> None:
        self.reply = reply
        self.asked = 0

    def serving(self, tls: ssl.SSLContext | None = None) -> AbstractAsyncContextManager[Address]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while await reader.read(65536):
                self.asked += 1
                writer.write(self.reply)

        return serving(serve, tls)
