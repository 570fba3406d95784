"""Answers and computed values that are past their time: Redis is told how long a key has to live,
and nobody waits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from repocache.testing import Endpoints, Servers
from tests.cached.library import open_library
from tests.policies.aged import SETTINGS
from tests.shop import Shop
from tests.tcp_proxy import TcpProxy


def names_of(servers: Servers, owner: str) -> list[str]:
    """Of all that an owner has in Redis, leases beside it and records aside."""
    names = servers.redis.command("KEYS", f"*:{owner}:*")
    assert isinstance(names, list)
    return [each for each in map(str, names) if f"~:{owner}:" not in each]


def age(servers: Servers, owner: str, left: float) -> None:
    """All of it has so many seconds to live."""
    names = names_of(servers, owner)
    assert names
    for name in names:
        assert servers.redis.command("PEXPIRE", name, int(left * 1000)) == 1


def lives(servers: Servers, owner: str) -> float:
    """Seconds that the first of it to end has to live."""
    found = [servers.redis.command("PTTL", name) for name in names_of(servers, owner)]
    return min(int(str(each)) for each in found) / 1000


def held(servers: Servers, owner: str) -> dict[str, Any]:
    return {name: servers.redis.command("GET", name) for name in names_of(servers, owner)}


def unseen(servers: Servers, ends: Endpoints, statement: str) -> None:
    """Written by somebody of whom nobody hears; replicas have it."""
    database = ends.primary.rpartition("/")[2].partition("?")[0]
    servers.primary.sql(statement, database)
    servers.catch_up()


@asynccontextmanager
async def behind_a_door(ends: Endpoints, repositories: Any) -> AsyncIterator[tuple[Shop, TcpProxy]]:
    """A database without replicas, and what leads to its primary."""
    async with TcpProxy(ends.primary) as door:
        alone = replace(ends, primary=door.url, replicas=())
        async with open_library(alone, SETTINGS, repositories) as shop:
            yield shop, door
