"""Servers that could never do: real ones, a cluster's node and a sentinel."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from repocache import Database
from repocache.errors import ConfigurationError
from repocache.redis_link import Address, Link
from repocache.testing import Endpoints, RedisServer, redis_group
from repocache.testing.ports import free_port
from tests.redis_link.conftest import PASSWORD, StartRedis
from tests.redis_link.heard import QUICK, Heard, until
from tests.redis_link.serving import serving
from tests.redis_link.tls_proxy import forwarding_to
from tests.shop import REPOSITORIES


@pytest.fixture
def cluster(start_redis: StartRedis) -> RedisServer:
    """A cluster of one node with all slots: it would take every key."""
    node = start_redis("cluster", "cluster-enabled yes", f"cluster-port {free_port()}")
    node.command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
    return node


async def test_a_clusters_node_is_refused_at_start_with_what_to_do(cluster: RedisServer) -> None:
    before = asyncio.all_tasks()
    link = Link(Address.parse(cluster.url), Heard(), settings=QUICK)
    told = rf"redis://{cluster.host}:{cluster.port}/0: .*Redis Cluster.*cluster-enabled no.*redis\+sentinel://"
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=told):
            async with link:
                raise AssertionError
    assert asyncio.all_tasks() == before


async def test_one_that_comes_later_is_not_used(cluster: RedisServer) -> None:
    """Nobody answers at start, so that it is not known yet."""
    heard, there = Heard(), False

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if there:
            await forwarding_to(cluster)(reader, writer)

    async with (
        serving(answer) as place,
        Link(replace(place, password=PASSWORD), heard, settings=QUICK) as link,
    ):
        assert not link.alive
        there = True
        await until(lambda: any("Redis Cluster" in trouble for trouble in heard.troubles))
        assert not link.alive
        assert heard.events == []


async def test_a_sentinel_is_no_server() -> None:
    with redis_group(replicas=0, sentinels=1) as group:
        [sentinel] = Address.parse(group.url).sentinels
        with pytest.raises(ConfigurationError, match=r"it is a sentinel: give redis\+sentinel://"):
            async with Link(sentinel, Heard(), settings=QUICK):
                raise AssertionError


async def test_the_database_does_not_start(
    cluster: RedisServer, repocache_endpoints: Endpoints
) -> None:
    with pytest.raises(ConfigurationError, match=r"redis: .*Redis Cluster"):
        async with Database(
            repocache_endpoints.primary, redis=cluster.url, repositories=REPOSITORIES[:0]
        ):
            raise AssertionError
