"""A repository that is new, on a table that processes of the release before write without knowing
of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from proof.protocol.items import KEY, Drafts, Item, Items
from proof.protocol.process import until
from proof.protocol.world import STILL, World, open_world
from repocache.alembic_ops.ddl import create_outbox, create_trigger, drop_outbox, drop_trigger
from repocache.cache.policies import CacheAside
from repocache.cache.switch import CacheMode
from repocache.database import Database
from repocache.keys import KeyOwner
from repocache.repository.repository import Repository
from repocache.testing import Endpoints, Servers

WATCHED = ";".join(
    [*create_outbox("public", ["app"]), *create_trigger("item", "public", "public", ())]
)
UNWATCHED = ";".join([*drop_trigger("item", "public"), *drop_outbox("public")])


class Labels(Repository[Item, int]):
    """Another owner of the items' table."""

    owner = KeyOwner("label")
    policy = CacheAside(ttl=300, local_ttl=100, jitter=0.0)


@pytest.fixture
def watched_items(
    repocache_servers: Servers, repocache_endpoints: Endpoints, protocol_database: str
) -> Iterator[Endpoints]:
    """The table of the items leaves its writes in an outbox, whoever writes."""
    repocache_servers.primary.sql(WATCHED, protocol_database)
    repocache_servers.catch_up()
    yield repocache_endpoints
    repocache_servers.primary.sql(UNWATCHED, protocol_database)


async def write_as_before(world: World, *repositories: type[Repository[Any, Any]]) -> None:
    """A process of the release before, which has these repositories, writes an item and lives on
    until it has told what it has to tell."""
    redis = world.endpoints.redis
    async with (
        Database(
            world.endpoints.primary, redis=redis, repositories=repositories, settings=STILL
        ) as old,
        old.unit_of_work() as work,
    ):
        item = await work.session.get(Item, KEY)
        assert item is not None
        item.version = 2
        await work.commit()
        if old.is_durable:
            await until(lambda: is_empty(world), "the outbox is empty")


async def is_empty(world: World) -> bool:
    return await world.sql("SELECT count(*) FROM repocache_outbox") == [("0",)]


async def test_a_new_owner_of_an_old_table_is_told_by_its_triggers(
    repocache_servers: Servers, watched_items: Endpoints
) -> None:
    """1. A new release caches the rows of a table; 2. a process of the release before, which has no
    repository of it, writes them; 3. its outbox row is delivered."""
    async with open_world(repocache_servers, watched_items) as world:
        for process in (world.a, world.b):
            await process.get()
            await process.idle()
        await write_as_before(world, Drafts)
        assert await world.stale(2) == []


async def test_a_second_owner_of_an_old_table_begins_with_its_cache_off(
    repocache_servers: Servers, watched_items: Endpoints
) -> None:
    """1. A new release caches the rows of a table under one more owner; 2. a process of the release
    before, which knows the table by its first owner only, writes them, and takes the triggers' rows
    of the table for its own; 3. nobody tells the new owner: until the release is everywhere its
    cache answers nobody."""
    off = replace(STILL, cache=replace(STILL.cache, mode=CacheMode.OFF))
    async with open_world(repocache_servers, watched_items) as world:
        new = await world.process("new", settings=off, repositories=[Items, Labels])
        labels = new.db[Labels]
        assert (await labels.require(KEY)).version == 1
        await new.idle()
        await write_as_before(world, Items)
        await until(lambda: is_empty(world), "the outbox is empty")
        await world.catch_up()
        assert (await labels.require(KEY)).version == 2


async def test_a_new_owner_whose_cache_is_off_serves_nothing_from_it(
    repocache_servers: Servers, repocache_endpoints: Endpoints
) -> None:
    """Until the release is everywhere, where there are no triggers."""
    off = replace(STILL, cache=replace(STILL.cache, mode=CacheMode.OFF))
    async with open_world(repocache_servers, repocache_endpoints) as world:
        await world.settle()
        reader = await world.process("reader", settings=off)
        for process in (world.a, reader):
            await process.get()
            await process.idle()
        await write_as_before(world, Drafts)
        await world.catch_up()
        assert [await reader.get(), await reader.get()] == [2, 2]
