"""Writes that the library knows nothing of: every kind of statement on a watched table reaches
every cache."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import text

from repocache.alembic_ops.ddl import create_trigger
from repocache.events import Relayed
from repocache.invalidation.outbox import TABLE
from repocache.testing import Endpoints, Servers
from tests.outbox.conftest import Sql, left, until_empty
from tests.shop import Documents, OrderId, Orders, Shop, Users, document_id, open_shop, until

pytestmark = pytest.mark.usefixtures("watched")

TRIGGERED = create_trigger("users", "public", "public", ())
ALL = range(1, 61)


async def warm(shop: Shop) -> None:
    async def has_all() -> bool:
        await shop.users.get_many([*ALL, 7000])  # again: who met another's lease keeps nothing
        return in_l1(shop) == {*ALL, 7000}

    await until(has_all, "L1 has all")


async def names(shop: Shop, *ids: int) -> list[str | None]:
    found = await shop.users.get_many(ids)
    return [found[id].name if id in found else None for id in ids]


def in_l1(shop: Shop) -> set[int]:
    return {id for id in (*ALL, 7000) if shop.users._peek(id) is not None}


@pytest.mark.parametrize(
    "statement, gone",
    [
        ("UPDATE users SET name = 'x' WHERE id IN (3, 4)", {3, 4}),
        ("UPDATE users SET name = 'x' WHERE id = 9999", set()),
        ("DELETE FROM users WHERE id = 5", {5}),
        (
            (
                "INSERT INTO users (id, name, age, settings, updated_at) VALUES (7000, 'x', 1, "
                "'{}', now())"
            ),
            {7000},
        ),
        ("UPDATE users SET id = 7000 WHERE id = 6", {6, 7000}),
        (
            (
                "INSERT INTO users SELECT 8, 'x', 1, NULL, '{}', now() ON CONFLICT (id) DO UPDATE "
                "SET name = 'x'"
            ),
            {8},
        ),
        ("TRUNCATE users", {*ALL, 7000}),
        (
            (
                "MERGE INTO users USING (SELECT 10 AS id) one ON users.id = one.id WHEN MATCHED "
                "THEN DELETE"
            ),
            {10},
        ),
        ("WITH gone AS (DELETE FROM users WHERE id = 9 RETURNING *) SELECT * FROM gone", {9}),
    ],
)
async def test_any_statement(shop: Shop, sql: Sql, statement: str, gone: set[int]) -> None:
    await warm(shop)
    await sql(statement)
    if gone:
        await until(lambda: not gone & in_l1(shop), "those keys are gone")
    await until_empty(sql)
    assert in_l1(shop) == {*ALL, 7000} - gone, "and no others"
    truth = dict(map(tuple, await sql("SELECT id, name FROM users")))
    assert await names(shop, *ALL, 7000) == [truth.get(id) for id in (*ALL, 7000)]


async def test_copy(shop: Shop, sql: Sql, repocache_endpoints: Endpoints) -> None:
    await warm(shop)
    async with shop.db._topology.write_engine.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        columns = ["id", "name", "age", "settings", "updated_at"]
        rows = [(7000, "copied", 1, "{}", (await driver.fetchval("SELECT now()")))]
        await driver.copy_records_to_table("users", records=rows, columns=columns)
    await until(lambda: in_l1(shop) == set(ALL), "the negative entry is gone")
    assert await names(shop, 7000) == ["copied"]


async def test_many_rows_are_the_whole_table(shop: Shop, sql: Sql) -> None:
    await warm(shop)
    await sql(
        "INSERT INTO users (id, name, age, settings, updated_at)"
        " SELECT n, 'x', 1, '{}', now() FROM generate_series(10000, 11500) n"
    )
    await until(lambda: in_l1(shop) == set(), "all are gone")


async def test_composite_and_uuid_keys(shop: Shop, sql: Sql) -> None:
    order, document = OrderId(1, 2), document_id(1)
    await shop.db[Orders].get(order)
    await shop.db[Documents].get(document)
    await until(lambda: shop.db[Documents]._peek(document) is not None, "L1 has it")
    await sql(
        "UPDATE orders SET total = 7 WHERE tenant = 1 AND number = 2",
        f"DELETE FROM documents WHERE id = '{document}'",
    )
    await until(lambda: shop.db[Documents]._peek(document) is None, "the document is gone")
    await until_empty(sql)
    found = await shop.db[Orders].get(order)
    assert found is not None
    assert found.total == 7
    assert await shop.db[Documents].get(document) is None


async def test_a_rollback_and_a_savepoint(shop: Shop, sql: Sql) -> None:
    await warm(shop)
    await sql(
        "UPDATE users SET name = 'x' WHERE id = 3",
        "SAVEPOINT a",
        "UPDATE users SET name = 'x' WHERE id = 4",
        "ROLLBACK TO a",
    )
    await until(lambda: in_l1(shop) == {*ALL, 7000} - {3}, "what stayed is gone")
    await until_empty(sql)
    assert in_l1(shop) == {*ALL, 7000} - {3}


async def test_the_columns_that_it_was_told_to_carry(sql: Sql) -> None:
    """Nobody reads the outbox here."""
    await sql("UPDATE users SET name = 'new' WHERE id = 3")
    [(source, notices)] = await sql(f"SELECT source, notices::text FROM {TABLE}")
    assert source == "public.users"
    [notice] = json.loads(notices)
    assert notice == {
        "t": "public.users",
        "rows": [{"id": 3, "name": "n03"}, {"id": 3, "name": "new"}],
    }


async def test_a_unit_of_work_publishes_what_its_triggers_noticed(shop: Shop, sql: Sql) -> None:
    """Once, together with its own; also what textual SQL did, of which it was told nothing."""
    await warm(shop)
    async with shop.db.unit_of_work() as work:
        (await work[Users].require(3)).name = "Ada"
        await work.session.execute(text("UPDATE users SET name = 'x' WHERE id = 4"))
        async with work.savepoint() as savepoint:
            await work.session.execute(text("UPDATE users SET name = 'x' WHERE id = 5"))
            await savepoint.rollback()
        await work.commit()
    assert in_l1(shop) == {*ALL, 7000} - {3, 4}, "when commit() returns"
    await until_empty(sql)
    assert [event for event in shop.seen if isinstance(event, Relayed)] == []


async def test_a_transaction_of_textual_sql_alone_is_relayed(shop: Shop, sql: Sql) -> None:
    await warm(shop)
    async with shop.db.sessionmaker() as session:
        await session.execute(text("UPDATE users SET name = 'x' WHERE id = 4"))
        await session.commit()
    await until(lambda: in_l1(shop) == {*ALL, 7000} - {4}, "its trigger told")


async def test_a_table_that_nobody_here_owns_waits_for_who_does(shop: Shop, sql: Sql) -> None:
    await sql(
        f"INSERT INTO {TABLE} (source, notices) VALUES ('public.strange', '[{{\"t\": "
        f'"public.strange"}}]\')'
    )
    await shop.rename(3, "Ada")

    async def only_that() -> bool:
        return await left(sql) == 1

    await until(only_that, "the rest is delivered")


async def test_who_may_write_the_table_need_not_know_of_the_outbox(
    shop: Shop, sql: Sql, repocache_servers: Servers
) -> None:
    await warm(shop)
    repocache_servers.primary.sql("CREATE ROLE clerk; GRANT clerk TO app")
    try:
        await sql("GRANT SELECT, UPDATE ON users TO clerk")
        await sql("SET LOCAL ROLE clerk", "UPDATE users SET name = 'x' WHERE id = 3")
        await until(lambda: 3 not in in_l1(shop), "it is told all the same")
    finally:
        await sql("REVOKE ALL ON users FROM clerk")
        repocache_servers.primary.sql("DROP ROLE clerk")


async def test_a_partition_may_have_triggers_of_its_own(
    sql: Sql, repocache_endpoints: Endpoints
) -> None:
    """The parent's are not told of what is written straight to a partition."""
    await sql(
        "ALTER TABLE users RENAME TO users_old",
        (
            "CREATE TABLE users (LIKE users_old INCLUDING DEFAULTS, PRIMARY KEY (id)) PARTITION BY "
            "RANGE (id)"
        ),
        "CREATE TABLE low PARTITION OF users FOR VALUES FROM (0) TO (30)",
        "CREATE TABLE high PARTITION OF users DEFAULT",
        "INSERT INTO users SELECT * FROM users_old",
        *create_trigger("users", "public", "public", ()),
        *create_trigger("low", "public", "public", ()),
    )
    async with open_shop(repocache_endpoints) as shop:
        await warm(shop)
        await sql("UPDATE users SET name = 'x' WHERE id IN (3, 40)")
        await until(lambda: not {3, 40} & in_l1(shop), "by the parent's triggers")
        await sql("UPDATE low SET name = 'x' WHERE id = 4")
        await until(lambda: 4 not in in_l1(shop), "by the partition's")
        await sql("UPDATE users SET id = 50000 WHERE id = 5")
        await until(lambda: 5 not in in_l1(shop), "by a move between partitions")
        await until_empty(sql)


async def test_a_table_that_the_search_path_finds_elsewhere(
    sql: Sql, repocache_endpoints: Endpoints
) -> None:
    await sql('CREATE SCHEMA "App"', 'ALTER TABLE users SET SCHEMA "App"')
    [(name,)] = await sql("SELECT current_database()")
    await sql(f'ALTER DATABASE "{name}" SET search_path = public, "App"')
    async with open_shop(repocache_endpoints) as shop:
        await warm(shop)
        await sql("UPDATE \"App\".users SET name = 'x' WHERE id = 3")
        await until(lambda: in_l1(shop) == {*ALL, 7000} - {3}, "the key is gone")
        await until_empty(sql)


async def test_keys_of_every_kind(sql: Sql) -> None:
    """Whatever the session's settings are, and however wide the row is; the columns carried are no
    others."""
    many = ", ".join(f"c{n} int DEFAULT {n}" for n in range(200))
    await sql(
        f'CREATE TABLE odd ("The Key" bytea, day date, "user" uuid, note json, {many},'
        ' PRIMARY KEY ("user", "The Key", day))',
        *create_trigger(
            "odd", "public", "public", ("note", "gone", *(f"c{n}" for n in range(120)))
        ),
        "SET LOCAL bytea_output = 'escape'",
        "SET LOCAL DateStyle = 'SQL, DMY'",
        (
            "INSERT INTO odd VALUES ('\\x00ff', '2026-01-31', "
            "'00000000-0000-0000-0000-000000000007', '[1]')"
        ),
    )
    [(rows,)] = await sql(f"SELECT notices->0->'rows' FROM {TABLE}")
    [row] = rows
    assert {name: row[name] for name in ("The Key", "day", "user", "note")} == {
        "The Key": "\\x00ff",
        "day": "2026-01-31",
        "user": "00000000-0000-0000-0000-000000000007",
        "note": [1],
    }
    assert len(row) == 4 + 120


async def test_a_table_without_a_key_is_noticed_as_a_whole(sql: Sql) -> None:
    await sql("CREATE TABLE heap (n int)", *create_trigger("heap", "public", "public", ()))
    await sql("INSERT INTO heap VALUES (1)")
    assert await sql(f"SELECT notices FROM {TABLE}") == [([{"t": "public.heap"}],)]


async def test_a_transaction_of_very_many_statements_leaves_few_rows(shop: Shop, sql: Sql) -> None:
    await warm(shop)
    await sql(
        "CREATE TABLE strange (id int PRIMARY KEY)",
        *create_trigger("strange", "public", "public", ()),
        "DO $$ BEGIN FOR n IN 1..20000 LOOP INSERT INTO strange VALUES (n);"
        " IF n % 1000 = 0 THEN UPDATE users SET age = age + 1 WHERE id = 1 + n / 1000; END IF; END "
        "LOOP; END $$",
    )
    [(rows,)] = await sql(f"SELECT count(*) FROM {TABLE} WHERE source = 'public.strange'")
    assert rows < 5000
    assert await sql(
        f"SELECT notices FROM {TABLE} WHERE source = 'public.strange' ORDER BY id DESC LIMIT 1"
    ) == [([{"t": "public.strange"}],)]
    await until(lambda: in_l1(shop) == set(), "more was written than can be told one by one")


async def test_every_cache_equals_the_primary_after_a_storm_from_outside(
    shop: Shop, sql: Sql, repocache_endpoints: Endpoints
) -> None:
    async with open_shop(repocache_endpoints) as other:
        for turn in range(5):
            await warm(shop)
            await warm(other)
            for id in range(1 + turn, 61, 5):
                await sql(f"UPDATE users SET name = 't{turn}' WHERE id = {id}")
        await until_empty(sql)
        truth = dict(map(tuple, await sql("SELECT id, name FROM users")))
        for each in (shop, other):

            async def right(each: Shop = each) -> bool:
                return await names(each, *ALL) == [truth[id] for id in ALL]

            await until(right, "it has what the primary has", seconds=5)
