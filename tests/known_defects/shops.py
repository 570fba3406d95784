"""One process of the shop as these tests hold it: what it has heard, what lies in its L1, and its
steps held."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import replace
from typing import Any

from proof.protocol.process import Gate
from repocache import LinkSettings, Settings, TopologySettings
from repocache.cache.entry import RowRequest
from repocache.cache.process_cache import ProcessCache
from repocache.cache.tiered import TieredCache
from repocache.events import Served
from repocache.records import RedisRecords
from repocache.redis_link.breaker import BreakerSettings
from tests.shop import Shop, until

PATIENT = Settings(
    topology=TopologySettings(sample_every=0.05, max_lag=50.0, connect_timeout=1.0),
    link=LinkSettings(breaker=BreakerSettings(retry=0.2, cooldown=0.2)),
)
"""Replicas whose replay is paused stay in the rotation: what they show then is old for certain."""


def shared(shop: Shop) -> ProcessCache:
    return shop.db._started.cache.shared


def records(shop: Shop) -> RedisRecords:
    found = shared(shop).records
    assert isinstance(found, RedisRecords)
    return found


async def heard(*shops: Shop) -> None:
    """Whatever Redis has sent to these processes by now was handled."""
    for shop in shops:
        await records(shop)._link.call("PING")


async def in_l1(shop: Shop, *ids: int) -> None:
    """Users that lie in L1 from now on."""
    await shop.users.get_many(ids)
    await until(lambda: all(shop.users._peek(id) is not None for id in ids), f"L1 holds {ids}")


async def names(shop: Shop, *ids: int) -> list[str]:
    """Of the users that there are, read through the cache."""
    return [user.name for user in (await shop.users.get_many(ids)).values()]


def loads(shop: Shop) -> int:
    """Reads of the database for the cache, and past it."""
    return sum(1 for event in shop.seen.of(Served) if event.tier == "database")


def hold_get(shop: Shop) -> Gate:
    """Hold the reply of the next GET before its caller sees it."""
    gate, kept = Gate("the reply of GET"), records(shop)
    get = kept.get

    async def held(answer: Awaitable[Any]) -> Any:
        reply = await answer
        await gate.hold()
        return reply

    kept.get = lambda *given: held(get(*given))  # type: ignore[method-assign]
    return gate


def hold_rows(shop: Shop) -> Gate:
    """Hold the next load between its database read and its answer."""
    cache = shop.users._access._cache  # type: ignore[attr-defined]
    assert isinstance(cache, TieredCache)
    gate, loader = Gate("rows"), cache._loader
    source = loader._source

    async def load(wanted: Sequence[RowRequest]) -> Any:
        rows = await source.load(wanted)
        await gate.hold()
        return rows

    loader._source = replace(source, load=load)
    return gate
