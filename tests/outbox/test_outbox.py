"""The row that a commit leaves: written with it, gone once it was published, delivered by others if
it was not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import text, update

from repocache import ConfigurationError, OutboxMode, Settings
from repocache.errors import OutboxGone
from repocache.events import Degraded, Relayed, RelayFailed
from repocache.invalidation.outbox import TABLE
from repocache.testing import Endpoints, Servers
from tests.outbox.conftest import Sql, left, until_empty
from tests.shop import QUICK, Shop, User, Users, open_shop, until


def tell(shop: Shop, kind: type[Any]) -> list[Any]:
    return [event for event in shop.seen if isinstance(event, kind)]


async def test_a_commit_leaves_a_row_that_goes_when_it_was_published(shop: Shop, sql: Sql) -> None:
    await sql(f"CREATE TABLE seen AS SELECT * FROM {TABLE}")
    await sql(
        "CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN INSERT INTO seen SELECT NEW.*; RETURN NULL; END $$",
        f"CREATE TRIGGER see AFTER INSERT ON {TABLE} FOR EACH ROW EXECUTE FUNCTION see()",
    )
    await shop.rename(7, "Ada")
    [(source, notices)] = await sql("SELECT source, notices::text FROM seen")
    assert (source, notices) == (None, '[{"k": ["user:7"], "o": []}]')
    await until_empty(sql)
    assert tell(shop, Relayed) == []


async def test_a_rollback_leaves_none(shop: Shop, sql: Sql) -> None:
    async with shop.db.unit_of_work() as work:
        (await work[Users].require(7)).name = "nobody"
        await work.session.flush()
        await work.rollback()
    assert await left(sql) == 0
    async with shop.db.sessionmaker() as session:
        (await session.get_one(User, 7)).age = 8
        await session.flush()
        await session.rollback()
    assert await left(sql) == 0


async def test_a_commit_that_redis_does_not_take_is_relayed(
    shop: Shop, sql: Sql, repocache_endpoints: Endpoints, repocache_controls: Servers
) -> None:
    async with open_shop(repocache_endpoints) as other:
        await other.users.get(7)
        await until(lambda: other.users._peek(7) is not None, "it has the old row")
        repocache_controls.redis.freeze()
        await shop.rename(7, "Ada")
        assert await left(sql) == 1
        # What the writing process keeps in its memory is lost.
        shop.db._started.cache.retry._waiting = type(shop.db._started.cache.retry._waiting)({})
        repocache_controls.redis.thaw()
        await until_empty(sql)
        user = await other.users.get(7)
        assert user is not None
        assert user.name == "Ada"
        assert tell(shop, Relayed) + tell(other, Relayed)


async def test_the_relays_leave_a_fresh_row_to_its_process(shop: Shop, sql: Sql) -> None:
    await sql(
        f"INSERT INTO {TABLE} (notices, due) VALUES ('[]', clock_timestamp() + interval '1 hour')"
    )
    await sql(f'INSERT INTO {TABLE} (notices) VALUES (\'[{{"k": ["user:7"], "o": []}}]\')')

    async def one() -> bool:
        return await left(sql) == 1

    await until(one, "what is due is delivered")
    assert tell(shop, Relayed) == [Relayed(1, 1)]


@pytest.mark.parametrize(
    "notices", ['{"k": 7}', '[{"x": 1}]', '[{"k": 7, "o": []}]', "[7]", '[{"t": "x", "rows": 7}]']
)
async def test_a_row_that_nobody_understands_is_set_aside_and_told(
    shop: Shop, sql: Sql, notices: str
) -> None:
    await sql(
        f'INSERT INTO {TABLE} (notices) VALUES (\'{notices}\'), (\'[{{"k": ["user:7"], "o": '
        f"[]}}]')"
    )

    async def set_aside() -> bool:
        return [tries > 0 for (tries,) in await sql(f"SELECT tries FROM {TABLE}")] == [True]

    await until(set_aside, "it is set aside, and the other delivered")
    assert [event for event in shop.seen if type(event).__name__ == "OutboxRefused"]


async def test_several_relays_share_the_rows(
    shop: Shop, sql: Sql, repocache_endpoints: Endpoints
) -> None:
    async with open_shop(repocache_endpoints) as other:
        await sql(
            f"INSERT INTO {TABLE} (notices) SELECT jsonb_build_array(jsonb_build_object("
            "'k', jsonb_build_array('user:' || n), 'o', jsonb_build_array())) FROM "
            "generate_series(1, 3000) n"
        )
        await until_empty(sql)
        relayed = [event.rows for each in (shop, other) for event in tell(each, Relayed)]
        assert sum(relayed) == 3000, "each row by one of them"
        assert max(relayed) <= 500


async def test_without_its_table_it_says_so_or_refuses(
    repocache_endpoints: Endpoints, sql: Sql
) -> None:
    await sql(f"DROP TABLE {TABLE}")
    async with open_shop(repocache_endpoints) as shop:
        assert "outbox" in [event.what for event in tell(shop, Degraded)]
        await shop.rename(7, "Ada")
    required = Settings(topology=QUICK, outbox=OutboxMode.REQUIRED)
    with pytest.raises(ConfigurationError, match=r"op\.create_repocache_outbox"):
        async with open_shop(repocache_endpoints, required):
            pass
    async with open_shop(
        repocache_endpoints, Settings(topology=QUICK, outbox=OutboxMode.OFF)
    ) as shop:
        assert "outbox" not in [event.what for event in tell(shop, Degraded)]


async def test_required_needs_somebody_to_tell(repocache_endpoints: Endpoints) -> None:
    required = Settings(topology=QUICK, outbox=OutboxMode.REQUIRED)
    with pytest.raises(ConfigurationError, match="an outbox needs PostgreSQL and a Redis"):
        async with open_shop(Endpoints(repocache_endpoints.primary, (), ""), required):
            pass
    with pytest.raises(ConfigurationError, match=r"OutboxMode\.REQUIRED"):
        Settings(outbox="required")  # type: ignore[arg-type]


async def test_a_table_that_disappears_stops_the_commits(shop: Shop, sql: Sql) -> None:
    """Rather than losing invalidations that somebody relies on."""
    await sql(f"DROP TABLE {TABLE}")
    with pytest.raises(OutboxGone, match="nothing was committed"):
        await shop.rename(7, "Ada")
    [(name,)] = await sql("SELECT name FROM users WHERE id = 7")
    assert name != "Ada"
    await until(lambda: bool(tell(shop, RelayFailed)), "the relay says that it cannot work")


async def test_a_large_commit_is_one_row(shop: Shop, sql: Sql) -> None:
    async with shop.db.unit_of_work() as work:
        for user in await work[Users].find(User.id <= 100):
            user.age += 1
        await work.commit()
    await until_empty(sql)
    async with shop.db.sessionmaker() as session:
        await session.execute(update(User).values(age=1))
        await session.commit()
    await until_empty(sql)


async def test_what_is_published_as_it_closes_is_acknowledged(
    repocache_endpoints: Endpoints, sql: Sql
) -> None:
    async with open_shop(repocache_endpoints) as shop:
        await shop.rename(7, "Ada")
    assert await left(sql) == 0


async def test_a_session_may_change_its_search_path(shop: Shop, sql: Sql) -> None:
    async with shop.db.sessionmaker() as session:
        await session.execute(text("CREATE SCHEMA tenant"))
        await session.execute(text("CREATE TABLE tenant.users AS SELECT * FROM public.users"))
        await session.execute(text("SET LOCAL search_path = tenant"))
        await session.execute(update(User).where(User.id == 7).values(name="Ada"))
        await session.commit()
    await until_empty(sql)


async def test_a_role_that_may_not_use_it_is_told_at_start(
    repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    database = repocache_endpoints.primary.rpartition("/")[2]
    await asyncio.to_thread(
        repocache_servers.primary.sql,
        f"ALTER TABLE {TABLE} OWNER TO postgres; GRANT SELECT ON {TABLE} TO app",
        database,
    )
    with pytest.raises(ConfigurationError, match=r"grant_to"):
        async with open_shop(repocache_endpoints):
            pass
