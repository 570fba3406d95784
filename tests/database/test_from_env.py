"""A database from variables, and from a client of redis-py's, reads and writes real servers."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis
from sqlalchemy import make_url

from repocache import Database, Settings
from repocache.edges.declared import Edges
from repocache.edges.varnish import Varnish
from repocache.errors import ConfigurationError
from repocache.events import Served
from repocache.http import PageCache
from repocache.redis_link import Address
from repocache.testing import Endpoints
from tests.shop import REPOSITORIES, Seen, Shop, Users, in_rotation, open_shop, until


def variables(endpoints: Endpoints) -> dict[str, str]:
    first, *others = endpoints.replicas
    return {
        "SHOP_PRIMARY": endpoints.primary,
        "SHOP_REPLICAS": " ".join([first, "weight=2", "name=near", *others]),
        "SHOP_REDIS": endpoints.redis,
        "SHOP_APP": "env",
        "SHOP_SAMPLE_EVERY": "0.05",
        "SHOP_MAX_LAG": "5",
    }


async def serve_each_other(one: Shop, other: Shop) -> None:
    """What one wrote, the other reads; what one filled, the other finds in Redis."""
    await one.rename(7, "Ada")
    assert (await one.users.require(7)).name == "Ada"

    async def is_shared() -> bool:
        other.seen.clear()
        async with other.db.causal_session():
            await other.users.require(8)
            await one.users.require(9)
            await other.users.require(9)
        return "l2" in {each.tier for each in other.seen.of(Served)}

    await until(is_shared, "a value comes from Redis")
    assert (await other.users.require(7)).name == "Ada"


async def test_a_database_from_variables(repocache_endpoints: Endpoints) -> None:
    seen = Seen()
    made = Database.from_env(
        "SHOP_",
        repositories=REPOSITORIES,
        settings=Settings(observe=seen),
        environ=variables(repocache_endpoints),
    )
    assert made.settings.topology.max_lag == 5.0
    async with made as db, open_shop(repocache_endpoints, Settings(app="env")) as other:
        shop = Shop(db, seen)
        await in_rotation(shop)
        assert [each.name for each in db.nodes][:2] == ["primary", "near"]
        await serve_each_other(shop, other)


async def test_the_process_s_own_are_read(
    repocache_endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPOCACHE_PRIMARY", repocache_endpoints.primary)
    monkeypatch.setenv("REPOCACHE_APP", "of-the-process")
    async with Database.from_env(repositories=REPOSITORIES) as db:
        assert db.settings.app == "of-the-process"
        assert (await db[Users].require(7)).id == 7


async def test_a_database_with_a_client_of_redis(repocache_endpoints: Endpoints) -> None:
    address = Address.parse(repocache_endpoints.redis)
    async with Redis(
        host=address.host,
        port=address.port,
        db=address.db,
        username=address.username or None,
        password=address.password or None,
        decode_responses=True,
    ) as client:
        seen = Seen()
        db = Database(
            repocache_endpoints.primary,
            replicas=repocache_endpoints.replicas,
            redis=client,
            repositories=REPOSITORIES,
            settings=Settings(app="client", observe=seen),
        )
        assert address.password not in repr(db)
        settings = Settings(app="client")
        async with db, open_shop(repocache_endpoints, settings) as other:
            await serve_each_other(Shop(db, seen), other)
            assert await client.keys("client:*")


def test_edges_and_pages_are_given_beside(repocache_endpoints: Endpoints) -> None:
    edges = Edges(Varnish("http://127.0.0.1:1"))
    made = Database.from_env(
        "SHOP_", environ=variables(repocache_endpoints), edges=edges, pages=PageCache()
    )
    assert made.keeps_pages
    assert made.plan.edges is edges


def test_a_wrong_variable_stops_the_start(repocache_endpoints: Endpoints) -> None:
    given = variables(repocache_endpoints) | {"SHOP_WINDOWS": "90"}
    with pytest.raises(ConfigurationError, match="the nearest is SHOP_WINDOW") as caught:
        Database.from_env("SHOP_", environ=given)
    assert str(make_url(repocache_endpoints.primary).password) not in str(caught.value)
