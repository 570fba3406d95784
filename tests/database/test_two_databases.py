"""Two databases of one cluster, or two schemas of one, one Redis and one `Settings.app`: somebody
left the default."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager

import pytest
from sqlalchemy import make_url

from repocache.events import Degraded
from repocache.testing import Endpoints, Servers
from tests.shop import Shop, Users, open_shop, until

IDS = range(1, 61)


@pytest.fixture
def others(
    repocache_endpoints: Endpoints, repocache_servers: Servers, repocache_template: str
) -> Iterator[Endpoints]:
    """The same shop in another database, where everybody has another name."""
    primary, name = repocache_servers.primary, "another_shop"
    primary.create_database(name, repocache_template)
    primary.sql("UPDATE users SET name = 'o' || id", name)
    repocache_servers.catch_up()
    yield Endpoints(
        beside(repocache_endpoints.primary, name),
        tuple(beside(url, name) for url in repocache_endpoints.replicas),
        repocache_endpoints.redis,
    )
    primary.drop_database(name)


def beside(url: str, name: str) -> str:
    return make_url(url).set(database=name).render_as_string(hide_password=False)


def open_users(ends: Endpoints) -> AbstractAsyncContextManager[Shop]:
    return open_shop(ends, repositories=[Users])


async def names(shop: Shop) -> list[str]:
    found = await shop.users.get_many(IDS)
    return [found[id].name for id in IDS]


async def test_they_never_read_each_others_rows(
    repocache_endpoints: Endpoints, others: Endpoints
) -> None:
    await hold_apart(repocache_endpoints, others)


async def test_nor_without_positions(
    repocache_endpoints: Endpoints, others: Endpoints, repocache_servers: Servers
) -> None:
    for ends in (repocache_endpoints, others):
        name = make_url(ends.primary).database
        repocache_servers.primary.sql(
            "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC", name or ""
        )
    await hold_apart(repocache_endpoints, others, positions=False)


async def hold_apart(
    here_ends: Endpoints, there_ends: Endpoints, *, positions: bool = True
) -> None:
    mine, theirs = [f"n{id:02}" for id in IDS], [f"o{id}" for id in IDS]
    async with open_users(here_ends) as here, open_users(there_ends) as there:
        for shop in (here, there):
            assert (
                "positions" not in {event.what for event in shop.seen.of(Degraded)}
            ) is positions
        for _ in range(3):
            assert await names(here) == mine
            assert await names(there) == theirs
        async with (
            open_users(here_ends) as here_too,
            open_users(there_ends) as there_too,
        ):
            assert await names(there_too) == theirs
            assert await names(here_too) == mine
            async with here.db.causal_session(), there.db.causal_session():
                await here.rename(7, "Ada")
                await there.rename(7, "Grace")
                assert (await here.users.require(7)).name == "Ada"
                assert (await there.users.require(7)).name == "Grace"


async def test_two_schemas_of_one_database(
    repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    """Tenants by `search_path`: the mapping is the same, and so is each statement."""
    primary, database = (
        repocache_servers.primary,
        make_url(repocache_endpoints.primary).database or "",
    )
    primary.sql(
        "CREATE SCHEMA tenant; CREATE TABLE tenant.users (LIKE public.users INCLUDING ALL);"
        "INSERT INTO tenant.users SELECT * FROM public.users; UPDATE tenant.users SET name = 'o' "
        "|| id;CREATE ROLE tenant LOGIN PASSWORD 'secret'; ALTER ROLE tenant SET search_path = "
        "tenant;GRANT ALL ON SCHEMA tenant TO tenant; GRANT ALL ON tenant.users TO tenant",
        database,
    )
    repocache_servers.catch_up()
    try:
        theirs = [
            as_tenant(url) for url in (repocache_endpoints.primary, *repocache_endpoints.replicas)
        ]
        await hold_apart(
            repocache_endpoints, Endpoints(theirs[0], tuple(theirs[1:]), repocache_endpoints.redis)
        )
    finally:
        primary.sql("DROP SCHEMA tenant CASCADE; DROP ROLE tenant", database)


def as_tenant(url: str) -> str:
    return (
        make_url(url)
        .set(username="tenant", password="secret")
        .render_as_string(hide_password=False)
    )


async def test_a_replica_of_another_database_is_refused(
    repocache_endpoints: Endpoints, others: Endpoints
) -> None:
    mixed = dataclasses.replace(repocache_endpoints, replicas=others.replicas)
    async with open_shop(mixed) as shop:
        await until(
            lambda: {node.out for node in shop.db.nodes[1:]} == {"refused"}, "they are refused"
        )
        assert await names(shop) == [f"n{id:02}" for id in IDS]
