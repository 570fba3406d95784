"""What a statement of the application's leaves on a pooled connection for reads is gone when the
next one has it: what is stored under a key depends on the database alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import asyncpg
import pytest
from sqlalchemy import false, func, literal_column, text

from repocache import Database, EngineSettings, Settings
from repocache.engines.lent import RESET_SQL
from repocache.testing import Endpoints, Servers
from tests.shop import QUICK, REPOSITORIES, Shop, User, Users, in_rotation, open_shop

Leave = Callable[[Database], Awaitable[None]]

OTHERS = """
DROP ROLE IF EXISTS tenant; CREATE ROLE tenant; GRANT tenant TO app;
CREATE SCHEMA other; GRANT USAGE ON SCHEMA other TO app, tenant;
CREATE TABLE other.users AS SELECT * FROM public.users;
UPDATE other.users SET name = 'theirs'; GRANT SELECT ON other.users TO app, tenant
"""
NO_OTHERS = "DROP OWNED BY tenant; DROP ROLE tenant"
STATE = """
SELECT pg_backend_pid(), current_user::text, session_user::text,
       (SELECT array_agg(name || '=' || setting ORDER BY name) FROM pg_settings
        WHERE source = 'session' AND name <> 'jit' AND name NOT LIKE 'transaction%'),
       current_setting('search_path'), current_setting('TimeZone'),
           current_setting('default_transaction_read_only'),
       current_setting('default_transaction_isolation'),
           nullif(current_setting('app.tenant', true), ''),
       (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()),
       (SELECT count(*) FROM pg_listening_channels()),
           (SELECT count(*) FROM pg_cursors WHERE is_holdable),
       (SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema())
"""


class State(NamedTuple):
    """Of the connection that the pool gives to the next one."""

    backend: int
    user: str
    session_user: str
    set: list[str] | None
    search_path: str
    zone: str
    read_only: str
    isolation: str
    tenant: str | None
    locks: int
    channels: int
    cursors: int
    temporary: int


async def state(db: Database) -> State:
    async with db.snapshot() as connection:
        return State._make((await connection.exec_driver_sql(STATE)).one())


def by_words(*statements: str) -> Leave:
    async def leave(db: Database) -> None:
        async with db.snapshot() as connection:
            for statement in statements:
                await connection.exec_driver_sql(statement)

    return leave


def committed(*statements: str) -> Leave:
    async def leave(db: Database) -> None:
        async with db.snapshot() as connection:
            for statement in statements:
                await connection.exec_driver_sql(statement)
            await connection.commit()

    return leave


def by_the_driver(statement: str) -> Leave:
    async def leave(db: Database) -> None:
        async with db.snapshot() as connection:
            driver = (await connection.get_raw_connection()).driver_connection
            assert isinstance(driver, asyncpg.Connection)
            await driver.execute(statement)

    return leave


async def by_a_failing_block(db: Database) -> None:
    with suppress(ZeroDivisionError):
        async with db.snapshot() as connection:
            await connection.exec_driver_sql("SET search_path TO other")
            await connection.commit()
            raise ZeroDivisionError


async def by_a_cancelled_block(db: Database) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(None) as limit, db.snapshot() as connection:
            await connection.exec_driver_sql("SET search_path TO other")
            await connection.commit()
            limit.reschedule(asyncio.get_running_loop().time())
            await asyncio.Event().wait()


async def closed_by_its_user(db: Database) -> None:
    async with db.snapshot() as connection:
        await connection.exec_driver_sql("SET search_path TO other")
        await connection.commit()
        await connection.close()


async def by_a_find(db: Database) -> None:
    await db[Users].find(func.set_config("search_path", "other", False) == "")


async def by_a_fragment_of_text(db: Database) -> None:
    await db[Users].find(text("set_config('search_path', 'other', false) = ''"))


async def by_an_exists(db: Database) -> None:
    await db[Users].exists(literal_column("set_config('search_path', 'other', false)") == "")


async def by_a_count(db: Database) -> None:
    await db[Users].count(func.set_config("search_path", "other", False) == "")


LEFT: dict[str, Leave] = {
    "search_path": by_words("SET search_path TO other"),
    "search_path, committed": committed("SET search_path TO other"),
    "set_config": by_words("SELECT set_config('search_path', 'other', false)"),
    "role": by_words("SET ROLE tenant"),
    "role, committed": committed("SET ROLE tenant"),
    "zone": by_words("SET TIME ZONE 'Asia/Tokyo'"),
    "a setting of its own": by_words("SET app.tenant TO '7'"),
    "a short timeout": by_words("SET statement_timeout TO 1"),
    "characteristics": by_words("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE"),
    "isolation": by_words(
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE"
    ),
    "writable": by_words("SET default_transaction_read_only TO off"),
    "a lock": by_words("SELECT pg_advisory_lock(7)"),
    "a cursor": by_words("DECLARE left_open CURSOR WITH HOLD FOR SELECT 1"),
    "the driver": by_the_driver("SET search_path TO other"),
    "the driver's transaction": by_the_driver("COMMIT; SET search_path TO other; BEGIN"),
    "a failing block": by_a_failing_block,
    "a cancelled block": by_a_cancelled_block,
    "closed by its user": closed_by_its_user,
}
"""What can be left at any node."""
LEFT_AT_THE_PRIMARY: dict[str, Leave] = {
    "a temporary table": committed(
        "SET TRANSACTION READ WRITE",
        "CREATE TEMPORARY TABLE users AS SELECT * FROM other.users",
    ),
    "a channel": committed("LISTEN somebody"),
    "find": by_a_find,
    "find by text": by_a_fragment_of_text,
    "exists": by_an_exists,
    "count": by_a_count,
}


@pytest.fixture
def others(repocache_endpoints: Endpoints, repocache_servers: Servers) -> Iterator[None]:
    database = repocache_endpoints.primary.rpartition("/")[2]
    repocache_servers.primary.sql(OTHERS, database)
    repocache_servers.catch_up()
    yield
    repocache_servers.primary.sql(NO_OTHERS, database)


@pytest.fixture(params=["the primary", "a replica"])
async def shop(
    request: pytest.FixtureRequest, repocache_endpoints: Endpoints, others: None
) -> AsyncIterator[Shop]:
    """One node that reads go to."""
    replicas = repocache_endpoints.replicas[:1] if request.param == "a replica" else ()
    async with open_shop(
        Endpoints(repocache_endpoints.primary, replicas, repocache_endpoints.redis)
    ) as shop:
        await in_rotation(shop)
        yield shop


@pytest.fixture
async def alone(repocache_endpoints: Endpoints, others: None) -> AsyncIterator[Shop]:
    async with open_shop(
        Endpoints(repocache_endpoints.primary, (), repocache_endpoints.redis)
    ) as shop:
        yield shop


async def leaves_nothing(shop: Shop, leave: Leave) -> None:
    assert (await shop.users.require(1)).name == "n01"
    before = await state(shop.db)
    await leave(shop.db)
    assert (await shop.users.require(7)).name == "n07"
    assert await state(shop.db) == before, "the same connection, as it was"


@pytest.mark.parametrize("left", LEFT)
async def test_a_snapshot_leaves_nothing(shop: Shop, left: str) -> None:
    await leaves_nothing(shop, LEFT[left])


@pytest.mark.parametrize("left", LEFT_AT_THE_PRIMARY)
async def test_the_primary_is_left_nothing(alone: Shop, left: str) -> None:
    await leaves_nothing(alone, LEFT_AT_THE_PRIMARY[left])


async def test_a_connection_that_its_maker_has_set_up_is_made_anew(
    repocache_endpoints: Endpoints, others: None
) -> None:
    """What a reset would not bring back: rows would be another schema's from then on."""

    async def create(**arguments: Any) -> asyncpg.Connection:
        connection = await asyncpg.connect(**arguments)
        await connection.execute("SET search_path TO other")
        return connection

    db = Database(
        repocache_endpoints.primary,
        repositories=REPOSITORIES,
        settings=Settings(topology=QUICK),
        engine=EngineSettings(async_creator=create),
    )
    async with db:
        before = await state(db)
        assert before.search_path == "other"
        assert await db[Users].find(
            User.id == 7, false() | (func.set_config("search_path", "public", False) != "")
        )
        assert (await db[Users].require(7)).name == "theirs"
        after = await state(db)
        assert after == before._replace(backend=after.backend)
        assert after.backend != before.backend


@pytest.mark.parametrize(
    "told", [{"search_path": "other"}, {"role": "tenant"}, {"TimeZone": "Asia/Tokyo"}]
)
async def test_what_connections_are_told_when_they_are_made_stays(
    told: dict[str, str], repocache_endpoints: Endpoints, others: None
) -> None:
    db = Database(
        repocache_endpoints.primary,
        settings=Settings(topology=QUICK),
        engine=EngineSettings(server_settings=told),
    )
    async with db:
        before = await state(db)
        for leave in LEFT.values():
            await leave(db)
        after = await state(db)
        assert after == before._replace(backend=after.backend)


async def test_where_each_read_is_a_transaction(
    repocache_endpoints: Endpoints, others: None
) -> None:
    """A server that does not take what connections for reads ask for."""

    async def create(**arguments: Any) -> asyncpg.Connection:
        return await asyncpg.connect(**arguments | {"server_settings": {}})

    db = Database(
        repocache_endpoints.primary,
        repositories=REPOSITORIES,
        settings=Settings(topology=QUICK),
        engine=EngineSettings(async_creator=create),
    )
    async with db:
        before = await state(db)
        assert before.read_only == "off"
        for leave in (*LEFT.values(), by_a_find):
            await leave(db)
            assert await state(db) == before


async def test_prepared_statements_that_were_dropped_are_prepared_again(alone: Shop) -> None:
    """No transaction takes that back."""
    assert (await alone.users.require(1)).name == "n01"
    async with alone.db.snapshot() as connection:
        await connection.exec_driver_sql("DEALLOCATE ALL")
    assert (await alone.users.require(7)).name == "n07"


async def test_only_what_may_leave_something_costs_a_round_trip_more(alone: Shop) -> None:
    assert await alone.users.find(User.age == 1)
    assert await alone.users.get_many([1, 2])
    asked: list[str] = []
    async with alone.db.snapshot() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        assert isinstance(driver, asyncpg.Connection)
        driver.add_query_logger(lambda query: asked.append(query.query))
    await asyncio.sleep(0)
    assert asked.pop() == RESET_SQL
    asked.clear()
    for age in range(1, 41):
        assert len(await alone.users.find(User.age == age, func.lower(User.name) == User.name)) == 1
        assert (await alone.users.require(age)).age == age
    assert not asked
    await by_a_find(alone.db)
    await asyncio.sleep(0)
    assert asked == [RESET_SQL]


async def test_sqlite_is_left_nothing(still: Shop) -> None:
    assert (await still.users.require(1)).name == "n01"
    async with still.db.snapshot() as connection:
        await connection.exec_driver_sql("PRAGMA query_only = OFF")
        await connection.exec_driver_sql("CREATE TEMPORARY TABLE users AS SELECT * FROM main.users")
        await connection.exec_driver_sql("UPDATE temp.users SET name = 'theirs'")
        await connection.exec_driver_sql("COMMIT")
        await connection.exec_driver_sql("BEGIN")
    assert (await still.users.require(7)).name == "n07"
    async with still.db.snapshot() as connection:
        assert (await connection.exec_driver_sql("PRAGMA query_only")).scalar_one() == 1
