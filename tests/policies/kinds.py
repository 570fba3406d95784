"""The shop's rows under the policies that do without a tier, or without a word to Redis."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from repocache import (
    AlwaysConsistent,
    CacheAside,
    Count,
    KeyOwner,
    LocalOnly,
    Lookup,
    Repository,
    Settings,
    SharedOnly,
    Uncached,
    WriteAround,
)
from repocache.events import Served
from repocache.testing import Endpoints, Servers
from tests.lookups.accounts import Account, Player, Team
from tests.shop import (
    QUICK,
    Country,
    Document,
    Order,
    OrderId,
    Shop,
    User,
    in_rotation,
    open_shop,
    until,
)


class Trail(Repository[Order, OrderId]):
    owner = KeyOwner("trail")
    policy = WriteAround(ttl=60)


class Untouched(Repository[Document, uuid.UUID]):
    owner = KeyOwner("untouched")
    policy = WriteAround(ttl=60, fill=False)


class Lands(Repository[Country, str]):
    owner = KeyOwner("land")
    policy = LocalOnly(ttl=600)


class Baskets(Repository[User, int]):
    owner = KeyOwner("basket")
    policy = SharedOnly(ttl=60)


class Free(Repository[User, int]):
    owner = KeyOwner("free")
    policy = Uncached()


class Exact(Repository[User, int]):
    owner = KeyOwner("exact")
    policy = AlwaysConsistent()


KINDS = (Trail, Untouched, Lands, Baskets, Free, Exact)


class Accounts(Repository[Account, int]):
    owner = KeyOwner("account")
    policy = WriteAround(ttl=60)
    by_email = Lookup(Account.email)


class Teams(Repository[Team, int]):
    owner = KeyOwner("team")
    policy = CacheAside(ttl=60)
    size = Count(Player.team)


class Players(Repository[Player, int]):
    owner = KeyOwner("player")
    policy = WriteAround(ttl=60)


@asynccontextmanager
async def open_kinds(
    ends: Endpoints, repositories: tuple[type[Repository[Any, Any]], ...] = KINDS
) -> AsyncIterator[Shop]:
    """A database on these servers, all its nodes in the rotation."""
    async with open_shop(ends, Settings(topology=QUICK), repositories) as shop:
        await in_rotation(shop)
        yield shop


def tiers(shop: Shop) -> list[str]:
    """That have answered since this was last asked, as far as they tell."""
    found = [event.tier for event in shop.seen.of(Served)]
    shop.seen[:] = [event for event in shop.seen if not isinstance(event, Served)]
    return found


async def ended(shop: Shop) -> None:
    """No load is in flight: what it brings has been offered to the tiers."""
    await until(lambda: not len(shop.db._started.cache.shared.inflight), "all loads have ended")


def scripts_run(servers: Servers) -> int:
    """How many scripts Redis has run for anybody."""
    stats = str(servers.redis.command("INFO", "commandstats"))
    calls = [line for line in stats.splitlines() if line.startswith("cmdstat_evalsha:")]
    return int(calls[0].split("calls=")[1].split(",")[0]) if calls else 0


def messages(servers: Servers) -> int:
    """How many Redis has sent to the channel."""
    stats = str(servers.redis.command("INFO", "commandstats"))
    calls = [line for line in stats.splitlines() if line.startswith("cmdstat_publish:")]
    return int(calls[0].split("calls=")[1].split(",")[0]) if calls else 0


def keys_of(servers: Servers, owner: str) -> list[str]:
    """Names in Redis of an owner's values and leases."""
    names = servers.redis.command("KEYS", f"*:{owner}:*")
    assert isinstance(names, list)
    return [str(each) for each in names]
