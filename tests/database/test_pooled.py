"""A database whose servers are all reached through PgBouncer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from sqlalchemy import func, select, text

from repocache import Settings, TopologySettings
from repocache.errors import UsageError
from repocache.events import Degraded, RelayFailed, Routed, TaskFailed
from repocache.testing import Endpoints, Servers
from tests.nodes.bouncer import IGNORED, bouncing, find_bouncer
from tests.outbox.conftest import make_outbox
from tests.shop import User, Users, in_rotation, open_shop

SETTINGS = Settings(topology=TopologySettings(sample_every=0.05, max_lag=5.0, probe_timeout=5.0))
TOUCH = """
CREATE FUNCTION touch(id int) RETURNS int LANGUAGE plpgsql AS
    $$ BEGIN UPDATE users SET name = 'touched' WHERE users.id = touch.id; RETURN id; END $$;
GRANT EXECUTE ON FUNCTION touch TO app
"""
OTHERS = """
CREATE SCHEMA other; GRANT USAGE ON SCHEMA other TO app;
CREATE TABLE other.users AS SELECT * FROM public.users; UPDATE other.users SET name = 'theirs';
GRANT SELECT ON other.users TO app
"""


@pytest.fixture(
    params=[
        ("pool_mode = transaction", "default_pool_size = 4"),
        ("pool_mode = transaction", f"ignore_startup_parameters = {IGNORED}"),
        ("pool_mode = session",),
    ],
    ids=["transaction", "transaction, ignoring", "session"],
)
def pooled(
    request: pytest.FixtureRequest, repocache_endpoints: Endpoints, repocache_servers: Servers
) -> Iterator[Endpoints]:
    program = find_bouncer()
    if program is None:
        pytest.skip("no pgbouncer is installed (Debian's package: pgbouncer)")
    repocache_servers.primary.sql(TOUCH, repocache_endpoints.primary.rpartition("/")[2])
    asyncio.run(make_outbox(repocache_endpoints.primary))
    repocache_servers.catch_up()
    with ExitStack() as stack:
        urls = [
            stack.enter_context(bouncing(program, url, *request.param))
            for url in (repocache_endpoints.primary, *repocache_endpoints.replicas)
        ]
        yield Endpoints(urls[0], tuple(urls[1:]), repocache_endpoints.redis)


async def test_all_that_it_does(pooled: Endpoints) -> None:
    async with open_shop(pooled, SETTINGS) as shop, open_shop(pooled, SETTINGS) as other:
        await in_rotation(shop)
        assert shop.db.is_durable
        for turn in range(10):
            async with other.db.causal_session() as session:
                await other.rename(7, f"n{turn}")
                bookmark = session.encode()
            async with shop.db.causal_session(bookmark):
                rows = await asyncio.gather(*(shop.users.find(User.id == 7) for _ in range(5)))
                assert [user.name for [user] in rows] == [f"n{turn}"] * 5
                assert (await shop.users.require(7)).name == f"n{turn}"
        assert len(await shop.users.get_many(range(1, 61))) == 60
        async with shop.db.snapshot() as connection:
            assert (
                await connection.execute(select(func.count()).select_from(User))
            ).scalar_one() == 60
        async with shop.db.sessionmaker.begin() as plain:
            await plain.execute(text("SELECT 1"))
        nodes = {event.node for event in shop.seen.of(Routed)}
        assert len(nodes) == 3, nodes
        assert {event.what for event in shop.seen.of(Degraded)} >= {"primary"}
        assert not shop.seen.of(TaskFailed)
        assert not shop.seen.of(RelayFailed)


async def test_no_read_writes(pooled: Endpoints) -> None:
    async with open_shop(pooled, SETTINGS) as shop:
        await in_rotation(shop)
        for users in (shop.users, shop.users.on_primary(), shop.users.on_replica()):
            with pytest.raises(UsageError, match=r"read-only transaction.*unit_of_work"):
                await users.find(func.touch(User.id) == 7)
        assert (await shop.users.on_primary().require(7)).name == "n07"


@pytest.mark.parametrize("how", ["words", "function", "find"])
async def test_what_a_read_sets_is_rolled_back(
    pooled: Endpoints, repocache_endpoints: Endpoints, repocache_servers: Servers, how: str
) -> None:
    repocache_servers.primary.sql(OTHERS, repocache_endpoints.primary.rpartition("/")[2])
    repocache_servers.catch_up()
    elsewhere = func.set_config("search_path", "other", False)
    async with open_shop(Endpoints(pooled.primary, (), pooled.redis), SETTINGS) as shop:
        if how == "find":
            await shop.users.find(elsewhere == "")
        else:
            async with shop.db.snapshot() as connection:
                await connection.execute(
                    text("SET search_path TO other") if how == "words" else select(elsewhere)
                )
        assert {user.name for user in (await shop.users.get_many(range(1, 61))).values()} == {
            f"n{n:02}" for n in range(1, 61)
        }


async def test_a_url_that_says_what_poolers_need(pooled: Endpoints) -> None:
    query = "?statement_cache_size=0&prepared_statement_cache_size=0"
    urls = [f"{url}{query}" for url in (pooled.primary, *pooled.replicas)]
    async with open_shop(Endpoints(urls[0], tuple(urls[1:]), pooled.redis), SETTINGS) as shop:
        await shop.rename(7, "Ada")
        assert (await shop.db[Users].require(7)).name == "Ada"
