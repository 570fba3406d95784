"""From an address to a connected transport: TCP, TLS or a Unix socket."""

from __future__ import annotations

import asyncio

from repocache.redis_link.address import Address
from repocache.redis_link.connection import Connection


class Dialer:
    """`address`: whose TLS files are read, once. Raises ConfigurationError if they cannot be
    used."""

    def __init__(self, address: Address) -> None:
        self._tls = address.tls.context() if address.tls else None

    async def dial(self, connection: Connection, address: Address) -> None:
        """Raises OSError (ssl.SSLError too)."""
        loop = asyncio.get_running_loop()
        if address.path:
            await loop.create_unix_connection(lambda: connection, address.path)
        else:
            await loop.create_connection(
                lambda: connection, address.host, address.port, ssl=self._tls
            )
