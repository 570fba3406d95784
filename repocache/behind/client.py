"""redis-py on connections of its own, for what is off the hot path: streams are read by it, and
leases taken.

Owns how an `Address` becomes its client, and that it speaks to the server that the link speaks to.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, Self, TypeVar

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection
from redis.asyncio import UnixDomainSocketConnection as SocketConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import (
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)
from redis.backoff import NoBackoff

from repocache.errors import BehindUnavailable
from repocache.records.redis import Peer
from repocache.redaction.foreign import in_brief
from repocache.redis_link import Address, Identity

MOST = 8
"""Connections of a process at once."""
CLOSING = 5.0
"""Seconds that closing waits for what is asked still, whose replies have deadlines."""
T = TypeVar("T")
Operation = Callable[[Redis], Awaitable[T]]


class _Encrypted(SSLConnection):
    """By a context that is made once."""

    def __init__(self, *, context: ssl.SSLContext, **options: Any) -> None:
        super().__init__(**options)
        self.ssl_context.context = context


class _ManagedEncrypted(SentinelManagedSSLConnection):
    """Likewise, to the master that the sentinels name."""

    def __init__(self, *, context: ssl.SSLContext, **options: Any) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]
        self.ssl_context.context = context


class Clients(NamedTuple):
    """`redis`: the client. `sentinels`: those by which it finds the master."""

    redis: Redis
    sentinels: Sequence[Redis] = ()

    async def close(self) -> None:
        """All of their connections."""
        for each in (self.redis, *self.sentinels):
            await each.aclose()
            await each.connection_pool.disconnect()


def client_to(address: Address, timeout: float) -> Clients:
    """`timeout`: seconds for connecting, and for each reply. Raises ConfigurationError for TLS
    files that cannot be used."""
    context = None if address.tls is None else address.tls.context()
    if not address.sentinels:
        return Clients(Redis(connection_pool=_pool(address, context, timeout)))
    sentinel: Any = Sentinel([])  # type: ignore[no-untyped-call]
    sentinel.sentinels = [
        Redis(connection_pool=_pool(each, context, timeout)) for each in address.sentinels
    ]
    options = _options(address, timeout) | {"db": address.db}
    options["connection_class"] = SentinelManagedConnection
    if context is not None:
        options |= {"connection_class": _ManagedEncrypted, "context": context}
    make: Any = SentinelConnectionPool
    pool = make(address.service, sentinel, is_master=True, **options)
    return Clients(Redis(connection_pool=pool), sentinel.sentinels)


def _pool(
    address: Address, context: ssl.SSLContext | None, timeout: float
) -> BlockingConnectionPool:
    options = _options(address, timeout) | {"db": address.db}
    if address.path:
        options |= {"connection_class": SocketConnection, "path": address.path}
    else:
        options |= {"host": address.host, "port": address.port, "connection_class": Connection}
        if context is not None:
            options |= {"connection_class": _Encrypted, "context": context}
    return BlockingConnectionPool(max_connections=MOST, timeout=timeout, **options)


def _options(address: Address, timeout: float) -> dict[str, Any]:
    return {
        "username": address.username or None,
        "password": address.password or None,
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": Retry(NoBackoff(), 1),
    }


class SideClient:
    """An async context manager. `peer`: the link's server, with which this one has to be in step:

    1. Redis fails over, and the link follows; 2. a change is accepted by the new master; 3. a read
    on an old connection to the old one would not show it.

    redis-py loses cancellations: each operation is a task of this client, so that a caller that is
    cancelled goes at once, and the operation goes on to its end.
    """

    def __init__(self, make: Callable[[], Clients], peer: Peer) -> None:
        self._make = make
        self._peer = peer
        self._clients: Clients | None = None
        self._known = ""
        self._running: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        self._clients = self._make()
        return self

    async def __aexit__(self, *_: object) -> None:
        clients, self._clients = self._clients, None
        if self._running:
            await asyncio.wait(self._running, timeout=CLOSING)
        if clients is not None:
            await clients.close()

    async def run(self, operation: Operation[T]) -> T:
        """What it gives, once it is known which server it speaks to. Raises BehindUnavailable,
        whatever fails."""
        if self._clients is None:
            raise BehindUnavailable("Redis: the database is not started, or was left")
        task = asyncio.get_running_loop().create_task(self._run(self._clients.redis, operation))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    async def _run(self, redis: Redis, operation: Operation[T]) -> T:
        try:
            if self._peer.server != self._known:
                await self._meet(redis)
            return await operation(redis)
        except (exceptions.RedisError, OSError, TimeoutError) as error:
            self._known = ""
            raise BehindUnavailable(f"Redis: {in_brief(error)}") from error

    async def _meet(self, redis: Redis) -> None:
        await redis.connection_pool.disconnect(inuse_connections=False)
        wanted = self._peer.server
        facts: dict[str, Any] = {**await redis.info("server"), **await redis.info("replication")}
        found = str(Identity.of({name: str(value) for name, value in facts.items()}))
        if found != wanted:
            raise BehindUnavailable(
                "Redis: another server answers than the one that the link speaks to; it is being "
                "replaced"
            )
        self._known = wanted
