"""Rows that are given past their time: what tests of freshness read, behind a way to the database
that may be slow or gone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from repocache import (
    CacheAside,
    CacheSettings,
    Freshness,
    KeyOwner,
    Repository,
    Settings,
    TopologySettings,
)
from repocache.cache.policies import Policy
from repocache.events import Served
from repocache.testing import Endpoints, Servers
from repocache.testing.ports import free_port
from tests.policies.kinds import ended
from tests.shop import Shop, User, in_rotation, open_shop
from tests.tcp_proxy import TcpProxy

TTL, STALE, ASIDE = 1_000.0, 2_000.0, 4_000.0
"""Seconds: in tests Redis is told how long a key has to live, and nobody waits."""
FRESH = Freshness(stale_while_revalidate=STALE, fail_safe=ASIDE)
SETTINGS = Settings(
    topology=TopologySettings(sample_every=0.05, probe_timeout=0.5, max_lag=30.0),
    cache=CacheSettings(lease=30.0, patience=0.02),
)


def users_under(policy: Policy) -> type[Repository[User, int]]:
    """A repository of the shop's users with this policy."""

    class Users(Repository[User, int]):
        owner = KeyOwner("aged")

    Users.policy = policy
    return Users


def aged_users(freshness: Freshness = FRESH, local_ttl: float = 0.0) -> type[Repository[User, int]]:
    return users_under(CacheAside(ttl=TTL, local_ttl=local_ttl, jitter=0, freshness=freshness))


@asynccontextmanager
async def opened(
    ends: Endpoints, repository: type[Repository[User, int]], settings: Settings = SETTINGS
) -> AsyncIterator[Shop]:
    """A database on these servers, all its nodes in the rotation."""
    async with open_shop(ends, settings, (repository,)) as shop:
        await in_rotation(shop)
        yield shop


@asynccontextmanager
async def behind_a_door(
    ends: Endpoints, repository: type[Repository[User, int]]
) -> AsyncIterator[tuple[Shop, TcpProxy]]:
    """The same without replicas, and what leads to the primary."""
    async with TcpProxy(ends.primary) as door:
        alone = replace(ends, primary=door.url, replicas=())
        async with open_shop(alone, SETTINGS, (repository,)) as shop:
            yield shop, door


async def lose(door: TcpProxy) -> None:
    """The database is away."""
    door.lead_to(f"postgresql://127.0.0.1:{free_port()}/x")
    await door.cut()


def name_of(servers: Servers, id: int, mark: str = "") -> str | None:
    """Under which the user's row lies in Redis, or what a mark says of it."""
    names = servers.redis.command("KEYS", "*:aged:*")
    assert isinstance(names, list)
    texts = list(map(str, names))
    found = [each for each in texts if each.endswith(f"{mark}:aged:{id}")]
    return next((each for each in found if mark or each[-len(f":aged:{id}") - 1].isalnum()), None)


def age(servers: Servers, id: int, left: float) -> None:
    """The row has so many seconds to live."""
    name = name_of(servers, id)
    assert name is not None
    assert servers.redis.command("PEXPIRE", name, int(left * 1000)) == 1


def lives(servers: Servers, id: int, mark: str = "") -> float:
    """Seconds that it has to live; less than 0: it is not there."""
    milliseconds = servers.redis.command("PTTL", name_of(servers, id, mark) or "none")
    assert isinstance(milliseconds, int)
    return milliseconds / 1000


def answers(shop: Shop) -> list[tuple[str, str]]:
    """Tiers and reasons since this was last asked."""
    found = [
        (event.tier, event.why if event.tier == "l2" else "") for event in shop.seen.of(Served)
    ]
    shop.seen[:] = [event for event in shop.seen if not isinstance(event, Served)]
    return found


async def filled(shop: Shop, repository: type[Repository[User, int]], id: int) -> None:
    """The row lies in Redis."""
    await shop.db[repository].get(id)
    await ended(shop)
    answers(shop)


def change_unseen(servers: Servers, ends: Endpoints, id: int, name: str) -> None:
    """As somebody does of whom nobody hears: what is read anew tells itself from what was there."""
    database = ends.primary.rpartition("/")[2].partition("?")[0]
    servers.primary.sql(f"UPDATE users SET name = '{name}' WHERE id = {id}", database)
