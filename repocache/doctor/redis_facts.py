"""What a Redis says of itself, asked as the application's own user, on a connection of its own."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, RedisError, ResponseError

from repocache.behind.client import client_to
from repocache.errors import ConfigurationError
from repocache.records import Namespace
from repocache.redaction.foreign import in_brief
from repocache.redis_link import Address
from repocache.settings import Settings

LIFE = 10
"""Seconds that what is written to try rights lives at most."""
Clock = Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisFacts:
    """None: it is not told. `unreachable`: why nothing is known; empty: it answers."""

    unreachable: str = ""
    #: With its product: "redis 7.0.15", "valkey 9.1.2".
    version: str = ""
    role: str = "master"
    mode: str = "standalone"
    replicas: int = 0
    #: `maxmemory`: bytes, 0: without a limit; `used_memory`: likewise bytes.
    maxmemory: int = 0
    used_memory: int = 0
    policy: str | None = None
    evicted: int = 0
    #: Hard limit of `client-output-buffer-limit pubsub` in bytes, 0: none.
    pubsub_limit: int | None = None
    #: Whether it keeps a log, or snapshots.
    appends: bool = False
    snapshots: bool | None = None
    #: The last snapshot failed.
    snapshot_failed: bool = False
    #: Commands that this user needs and may not use.
    missing_rights: tuple[str, ...] = ()
    #: Seconds from PUBLISH to the subscriber, None: nothing came.
    round_trip: float | None = None
    #: Seconds that its clock is ahead of this process's, at least; 0: within the time of asking.
    skew: float = 0.0


async def read_redis(
    address: Address,
    settings: Settings,
    timeout: float,
    *,
    behind: bool = False,
    clock: Clock = time.time,
) -> RedisFacts:
    """`timeout`: seconds for connecting, and for each reply. `behind`: the rights of write-behind
    are needed too. `clock`: of this process, Unix time in seconds. Raises nothing of Redis's: one
    that does not answer is a fact."""
    try:
        clients = client_to(address, timeout)
    except ConfigurationError as error:
        return RedisFacts(unreachable=str(error))
    try:
        return await _Asking(clients.redis, Namespace(settings.app), timeout, clock).facts(behind)
    except (RedisError, OSError, TimeoutError) as error:
        return RedisFacts(unreachable=f"Redis at {address.host or address.path}: {_why(error)}")
    finally:
        await clients.close()


class _Asking:
    def __init__(self, redis: Redis, namespace: Namespace, timeout: float, clock: Clock) -> None:
        self._redis = redis
        self._root = f"{namespace.root}:doctor:{secrets.token_hex(6)}"
        self._timeout = timeout
        self._clock = clock

    async def facts(self, behind: bool) -> RedisFacts:
        info: dict[str, Any] = {}
        for section in ("server", "memory", "replication", "persistence", "stats"):
            info |= await self._redis.info(section)
        product = "valkey" if "valkey_version" in info else "redis"
        master = info.get("role", "master") == "master"
        limit = await self._setting("client-output-buffer-limit")
        save = await self._setting("save")
        return RedisFacts(
            version=f"{product} {info.get(product + '_version', '')}",
            role=str(info.get("role", "master")),
            mode=str(info.get("server_mode", info.get("redis_mode", "standalone"))),
            replicas=int(info.get("connected_slaves", 0)),
            maxmemory=int(info.get("maxmemory", 0)),
            used_memory=int(info.get("used_memory", 0)),
            policy=info.get("maxmemory_policy"),
            evicted=int(info.get("evicted_keys", 0)),
            pubsub_limit=None if limit is None else _hard_limit(limit),
            appends=bool(int(info.get("aof_enabled", 0))),
            snapshots=None if save is None else bool(save.strip()),
            snapshot_failed=info.get("rdb_last_bgsave_status", "ok") != "ok",
            missing_rights=await self._missing(behind) if master else (),
            round_trip=await self._round_trip(),
            skew=await self._skew(),
        )

    async def _setting(self, name: str) -> str | None:
        try:
            found = await self._redis.config_get(name)
        except ResponseError:
            return None  # NoPermissionError is one
        return next((str(_text(value)) for value in found.values()), None)

    async def _skew(self) -> float:
        before = self._clock()
        try:
            seconds, micros = await self._redis.time()
        except ResponseError:
            return 0.0
        return beyond(before, seconds + micros / 1e6, self._clock())

    async def _missing(self, behind: bool) -> tuple[str, ...]:
        """Each is tried, on a key that nobody else has."""
        key, fields, stream = f"{self._root}:value", f"{self._root}:record", f"{self._root}:stream"
        commands: list[tuple[Any, ...]] = [
            ("SET", key, "x", "PX", LIFE * 1000),
            ("GET", key),
            ("GETRANGE", key, 0, 0),
            ("STRLEN", key),
            ("PTTL", key),
            ("TIME",),
            ("HSET", fields, "a", 1),
            ("HMGET", fields, "a"),
            ("HGET", fields, "a"),
            ("HGETALL", fields),
            ("HEXISTS", fields, "a"),
            ("HLEN", fields),
            ("HINCRBY", fields, "a", 1),
            ("HDEL", fields, "a"),
            ("RANDOMKEY",),
            ("SCRIPT", "LOAD", "return 1"),
            ("EVALSHA", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db", 0),
            ("PUBLISH", f"{self._root}:channel", "x"),
        ]
        if behind:
            commands += [
                ("XADD", stream, "*", "a", 1),
                ("XRANGE", stream, "-", "+", "COUNT", 1),
                ("XREVRANGE", stream, "+", "-", "COUNT", 1),
                ("XTRIM", stream, "MAXLEN", 0),
                ("EXISTS", stream),
            ]
        missing = [each for command in commands for each in await self._try(command)]
        missing += await self._try(("DEL", key, fields, stream))
        return tuple(missing)

    async def _try(self, command: tuple[Any, ...]) -> list[str]:
        try:
            await self._redis.execute_command(*command)  # type: ignore[no-untyped-call]
        except NoPermissionError:
            return [" ".join(command[:2]) if command[0] == "SCRIPT" else str(command[0])]
        except ResponseError:
            pass  # it may, and the server has another reason: full, or read-only
        return []

    async def _round_trip(self) -> float | None:
        channel = f"{self._root}:channel"
        hearing = self._redis.pubsub()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout):
                await hearing.subscribe(channel)
                await _next(hearing.get_message, "subscribe")
                began = loop.time()
                await self._redis.publish(channel, "x")
                await _next(hearing.get_message, "message")
                return loop.time() - began
        except (RedisError, TimeoutError):
            return None
        finally:
            await hearing.aclose()  # type: ignore[no-untyped-call]


async def _next(get: Callable[..., Awaitable[Any]], kind: str) -> None:
    while True:
        message = await get(timeout=0.05)
        if message is not None and message["type"] == kind:
            return


def beyond(before: float, told: float, after: float) -> float:
    """Seconds by which what a clock told lies outside of the time in which it was asked, by
    another: more than 0, it is ahead."""
    return max(0.0, told - after) or min(0.0, told - before)


def _hard_limit(setting: str) -> int | None:
    words = setting.split()
    return int(words[words.index("pubsub") + 1]) if "pubsub" in words else None


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def _why(error: BaseException) -> str:
    """What redis-py says of connections and logins quotes no values."""
    if isinstance(error, RedisError):
        return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return in_brief(error)
