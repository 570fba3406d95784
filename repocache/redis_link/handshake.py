"""The first exchange on a connection: who Redis is, who we are, and what it was told to do."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from repocache.errors import CacheUnavailable, ConfigurationError
from repocache.redis_link.address import Address
from repocache.redis_link.connection import Connection
from repocache.redis_link.identity import Identity
from repocache.redis_link.reply import Reply, ReplyError
from repocache.redis_link.script import Script

OTHER_MODES = {
    b"cluster": (
        "it is a node of a Redis Cluster, which has but a part of the keys, and that is not "
        "supported: give one server (cluster-enabled no; of a managed service: cluster mode "
        "disabled), a group with sentinels by redis+sentinel://host:26379/mymaster/0, or "
        "redis=None, so that each process caches for itself alone"
    ),
    b"sentinel": (
        "it is a sentinel: give redis+sentinel://host:26379/mymaster/0, with the name of its group"
    ),
}
"""Servers that take no keys of ours, by what HELLO says of them."""


@dataclass(frozen=True, slots=True)
class PubsubLimit:
    """`client-output-buffer-limit pubsub`: above `hard` bytes, or `soft` for `seconds`, a
    subscriber is cut off.

    0 means no limit. Replies on a subscribed connection count too (protocol, The channel).
    """

    hard: int
    soft: int
    seconds: int

    def within(self, most: int) -> int:
        """Bytes of replies that may wait for the client, `most` at the most: pushes and the
        server's own bookkeeping have half of the hard limit."""
        limits = [
            limit for limit, told in ((self.hard // 2, self.hard), (self.soft, self.soft)) if told
        ]
        return min(most, *limits, most)


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What the server said of itself. None: it does not tell; the limit is told by CONFIG GET
    alone.

    `version` has its product: "redis 7.0.15", "valkey 9.1.2".
    """

    identity: Identity
    version: str
    role: str
    maxmemory_policy: str | None
    pubsub_limit: PubsubLimit | None


async def shake_hands(
    connection: Connection, address: Address, name: str, scripts: Sequence[Script]
) -> ServerFacts:
    """Enter, name the connection, select the database, load the scripts: all in one round trip.

    From then on the connection ends when the server is not the master that it was.

    Raises CacheUnavailable if the server refuses any of it, or is not a master; ConfigurationError
    if it is a cluster's node, or a sentinel.
    """
    hello: tuple[str, ...] = ("HELLO", "3")
    if address.username or address.password:
        hello += ("AUTH", address.username or "default", address.password)
    greeting = connection.send((*hello, "SETNAME", name))
    select = connection.send(("SELECT", address.db))
    server = connection.send(("INFO", "server"))
    replication = connection.send(("INFO", "replication"))
    memory = connection.send(("INFO", "memory"))
    limit = connection.send(("CONFIG", "GET", "client-output-buffer-limit"))
    loading = [connection.send(("SCRIPT", "LOAD", script.source)) for script in scripts]
    try:
        _require_single(await greeting, address)
        await select
        info = (
            info_fields(await server) | info_fields(await replication) | info_fields(await memory)
        )
        for loaded in loading:
            await loaded
    except ReplyError as error:
        remedy = "; Redis 6 or Valkey is needed (RESP3)" if "unknown command" in str(error) else ""
        raise CacheUnavailable(f"the handshake was refused: {error}{remedy}") from error
    if info["role"] != "master":
        raise CacheUnavailable(f"the server is a {info['role']}, not the master")
    identity = Identity.of(info)
    connection.expect_identity(identity.why_changed)
    pubsub_limit = _pubsub_limit(await _setting(limit))
    if pubsub_limit is not None:
        connection.bound(pubsub_limit.within(connection.limits.max_unread))
    product = "valkey" if "valkey_version" in info else "redis"
    return ServerFacts(
        identity=identity,
        version=f"{product} {info[product + '_version']}",
        role=info["role"],
        maxmemory_policy=info.get("maxmemory_policy"),
        pubsub_limit=pubsub_limit,
    )


def _require_single(greeting: Reply, address: Address) -> None:
    mode = greeting.get(b"mode") if isinstance(greeting, dict) else None
    if mode in OTHER_MODES:
        raise ConfigurationError(f"redis: {address}: {OTHER_MODES[mode]}")


def info_fields(reply: Reply) -> dict[str, str]:
    """What a section of INFO says, by name."""
    lines = reply.decode().splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


async def _setting(asked: asyncio.Future[Reply]) -> str | None:
    try:
        found: dict[bytes, bytes] = await asked
    except ReplyError:
        return None
    return next((value.decode() for value in found.values()), None)


def _pubsub_limit(setting: str | None) -> PubsubLimit | None:
    words = setting.split() if setting else []  # class, hard, soft, seconds, class, ...
    if "pubsub" not in words:
        return None
    first = words.index("pubsub") + 1
    hard, soft, seconds = map(int, words[first : first + 3])
    return PubsubLimit(hard, soft, seconds)
