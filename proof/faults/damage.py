"""How each fault is done and undone: one context for each area, in which it lasts."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from proof.faults.link import FAIR, Link, Weather
from proof.faults.schedule import Planned
from repocache.keys import BUCKETS
from repocache.testing import PostgresServer, RedisServer, Servers
from repocache.testing.errors import ServerError
from repocache.testing.postgres import MAINTENANCE

Do = Callable[[], None]


def weather_of(kind: str, much: float) -> Weather:
    """`much` from 0 to 1."""
    return {
        "latency": Weather(latency=0.002 + 0.4 * much**2),
        "slow": Weather(rate=2_000 + 60_000 * (1 - much)),
        "silent": Weather(to_server=False, to_client=False),
        "deaf": Weather(to_client=False),
        "cut": Weather(open=False),
        "reset": FAIR,
    }[kind]


@asynccontextmanager
async def bad_weather(link: Link, planned: Planned) -> AsyncIterator[None]:
    """On one link."""
    link.weather = weather_of(planned.kind, planned.much)
    if planned.kind in ("cut", "reset"):
        await link.reset()
    try:
        yield
    finally:
        link.weather = FAIR


@asynccontextmanager
async def bad_server(servers: Servers, planned: Planned) -> AsyncIterator[None]:
    """Of PostgreSQL or Redis. Controls block, so they run in threads."""
    server: PostgresServer | RedisServer = servers.redis
    if planned.target == "primary":
        server = servers.primary
    elif planned.target.startswith("replica"):
        server = servers.replicas[int(planned.target[-1]) - 1]
    do, undo = _controls(server, planned)
    try:
        await asyncio.to_thread(do)
        yield
    finally:
        await asyncio.to_thread(undo)


def _controls(server: PostgresServer | RedisServer, planned: Planned) -> tuple[Do, Do]:
    if planned.kind == "crash":
        return server.kill, server.start
    if planned.kind == "freeze":
        return server.freeze, server.thaw
    if planned.kind == "restart":
        return server.stop, server.start
    if isinstance(server, PostgresServer):
        return lambda: _pause(server), server.resume_replay
    chance = random.Random(f"{planned.at} {planned.much}")
    redis: Mapping[str, tuple[Do, Do]] = {
        "flush": (lambda: _say(server, "FLUSHALL"), _nothing),
        "evict": (lambda: _evict(server, chance), _nothing),
        "drop clients": (
            lambda: _say(server, "CLIENT", "KILL", "TYPE", "normal"),
            _drop_subscribers(server),
        ),
        "old snapshot": (server.snapshot, lambda: _restart(server)),
    }
    return redis[planned.kind]


def _pause(server: PostgresServer) -> None:
    """Not as the server's own control, which waits until it has paused."""
    server.sql("SELECT pg_wal_replay_pause()", MAINTENANCE)


def _say(server: RedisServer, *words: str) -> None:
    """A server that is down has heard worse."""
    with contextlib.suppress(ServerError, OSError):
        server.command(*words)


def _drop_subscribers(server: RedisServer) -> Do:
    return lambda: _say(server, "CLIENT", "KILL", "TYPE", "pubsub")


def _evict(server: RedisServer, chance: random.Random) -> None:
    """Some records, as a server short of memory would."""
    _say(
        server,
        "DEL",
        *(f"app:{{b{bucket}}}" for bucket in chance.sample(range(BUCKETS), BUCKETS // 3)),
    )


def _restart(server: RedisServer) -> None:
    """As of the last snapshot: everything since is lost, and what was invalidated since is there
    again."""
    server.kill()
    server.start()


def _nothing() -> None:
    """It mends by itself."""
