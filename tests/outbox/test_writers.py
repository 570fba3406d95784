"""Who may write a watched table may neither hide what he writes, nor use the trigger's rights; nor
may its owner."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import create_async_engine

from repocache import Settings
from repocache.alembic_ops.ddl import create_outbox, create_trigger
from repocache.invalidation.batch import Batch
from repocache.invalidation.outbox import TABLE
from repocache.testing import Endpoints, Servers
from tests.outbox.conftest import Sql, left
from tests.outbox.roles import Roles, run_as, url_of
from tests.shop import QUICK, Shop, Users, open_shop, until

HIDING = (
    "SET repocache.noticed = '1'",
    f"SET repocache.noticed = '{'9,' * 8_000}9'",
    "SET repocache.whole = 'TABLE'; SET repocache.noticed = '" + "9," * 8_000 + "9'",
    "SET repocache.sealed = 'on'",
    "SET search_path = pg_temp",
    "SET bytea_output = 'escape'; SET plpgsql.extra_errors = 'none'",
)
CAST = (
    "CREATE TABLE ran (who text)",
    "GRANT ALL ON ran TO PUBLIC",
    (
        "CREATE FUNCTION hook({type}) RETURNS json LANGUAGE plpgsql AS"
        " $$ BEGIN INSERT INTO hers.ran VALUES (current_user); RETURN to_json(1); END $$"
    ),
    "CREATE CAST ({type} AS json) WITH FUNCTION hook({type})",
    (
        "CREATE FUNCTION hooked({type}) RETURNS text LANGUAGE plpgsql AS"
        " $$ BEGIN INSERT INTO hers.ran VALUES (current_user); RETURN 'x'; END $$"
    ),
    "CREATE CAST ({type} AS text) WITH FUNCTION hooked({type})",
)


@pytest.fixture
async def clerks(sql: Sql, roles: Roles) -> None:
    await sql(f"GRANT SELECT, INSERT, UPDATE, DELETE ON users TO {roles.clerk}")


@pytest.fixture
async def mallorys(sql: Sql, roles: Roles) -> None:
    """A schema of hers, whose tables she is asked to have watched."""
    await sql("CREATE SCHEMA hers", f"GRANT ALL ON SCHEMA hers TO {roles.mallory}")


async def notices(sql: Sql) -> list[object]:
    return [said for (said,) in await sql(f"SELECT notices FROM {TABLE} ORDER BY id")]


@pytest.mark.usefixtures("watched", "clerks")
@pytest.mark.parametrize("hiding", HIDING)
async def test_no_setting_hides_a_write(
    hiding: str, repocache_endpoints: Endpoints, sql: Sql, roles: Roles
) -> None:
    [(oid,)] = await sql("SELECT 'users'::regclass::oid")
    write = "UPDATE public.users SET age = 8 WHERE id = 3"
    await run_as(
        repocache_endpoints.primary,
        roles.clerk,
        *hiding.replace("TABLE", f",{oid},").split("; "),
        write,
    )
    [said] = await notices(sql)
    assert said == [
        {"t": "public.users", "rows": [{"id": 3, "name": "n03"}, {"id": 3, "name": "n03"}]}
    ]


@pytest.mark.usefixtures("watched", "clerks")
async def test_no_setting_puts_off_what_wakes_the_relays(
    repocache_endpoints: Endpoints, sql: Sql, roles: Roles
) -> None:
    engine = create_async_engine(repocache_endpoints.primary)
    heard = asyncio.Event()
    async with engine.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        await driver.add_listener(TABLE, lambda *_: heard.set())
        write = "UPDATE users SET age = 8 WHERE id = 3"
        await run_as(repocache_endpoints.primary, roles.clerk, "SET repocache.sealed = 'on'", write)
        async with asyncio.timeout(10):
            await heard.wait()
        await connection.invalidate()
    await engine.dispose()


@pytest.mark.usefixtures("watched", "clerks")
async def test_a_writer_may_not_turn_triggers_off_nor_touch_the_outbox(
    repocache_endpoints: Endpoints, roles: Roles
) -> None:
    for forbidden in (
        "SET session_replication_role = replica",
        "ALTER TABLE users DISABLE TRIGGER ALL",
        f"SELECT 1 FROM {TABLE}",
        f"DELETE FROM {TABLE}",
        f"INSERT INTO {TABLE} (notices) VALUES ('[]')",
        (
            "CREATE TEMP TABLE mine (id int); CREATE TRIGGER t AFTER INSERT ON mine EXECUTE "
            "FUNCTION repocache_notice()"
        ),
        (
            "CREATE TEMP TABLE mine (id int); CREATE TRIGGER t AFTER INSERT ON mine EXECUTE "
            "FUNCTION repocache_wake()"
        ),
    ):
        with pytest.raises(ProgrammingError, match=r"permission denied|must be owner"):
            await run_as(repocache_endpoints.primary, roles.clerk, *forbidden.split("; "))


@pytest.mark.usefixtures("watched")
async def test_a_transaction_takes_no_notices_but_its_own(shop: Shop, sql: Sql) -> None:
    """Nor acknowledges them: they are another's, which nobody has published."""
    others = (
        f"INSERT INTO {TABLE} (source, notices, due) VALUES ('public.users', '[]', now() + "
        "interval '1 hour')"
    )
    [(id,)] = await sql(f"{others} RETURNING id")
    async with shop.db.unit_of_work() as work:
        (await work[Users].require(3)).name = "Ada"
        await work.session.execute(text(f"SET LOCAL repocache.noticed = '{id}'"))
        await work.commit()

    async def only_that() -> bool:
        return await left(sql) == 1

    await until(only_that, "its own row is gone")
    assert await sql(f"SELECT id FROM {TABLE} WHERE due > now() + interval '30 minutes'") == [(id,)]


@pytest.mark.usefixtures("watched")
async def test_rows_of_a_dump_of_another_cluster_are_not_taken_for_ones_own(sql: Sql) -> None:
    """They may have the id that a transaction is about to get."""
    await sql(
        f"INSERT INTO {TABLE} (source, notices, due, xid) SELECT 'public.users', '[{{\"t\": "
        f"\"public.users\"}}]', now() - interval '1 hour', n + pg_current_xact_id()::text::bigint "
        "FROM generate_series(0, 50) n"
    )
    await sql("UPDATE users SET age = 8 WHERE id = 3")
    assert len(await notices(sql)) == 52


@pytest.mark.usefixtures("watched")
async def test_nor_by_a_unit_of_work(shop: Shop, sql: Sql) -> None:
    """A relay may hold them: its commit would wait for that."""
    await sql(
        f"INSERT INTO {TABLE} (source, notices, due, xid) SELECT 'public.users', '[]', now() - "
        "interval '1 hour', n + pg_current_xact_id()::text::bigint FROM generate_series(0, 50) n"
    )
    statement = shop.db._started.outbox.sealing._statement  # type: ignore[attr-defined]
    async with shop.db.engine.begin() as connection:
        await connection.execute(text("UPDATE users SET age = 8 WHERE id = 3"))
        parameters = statement.parameters(Batch({}))
        seal = statement.read((await connection.exec_driver_sql(statement.sql, parameters)).one())
    assert len(seal.rows) == 2, "its own, and what its trigger noticed"


BAIT = """
CREATE FUNCTION bait.{name}({types}) RETURNS {result} LANGUAGE plpgsql AS $bait$
BEGIN INSERT INTO bait.ran VALUES (current_user); RETURN {value}; END $bait$
"""


@pytest.mark.usefixtures("watched", "clerks")
async def test_no_function_of_a_writers_search_path_runs(
    repocache_endpoints: Endpoints, sql: Sql, roles: Roles
) -> None:
    """It would run as the trigger's owner: one for exactly these types comes before PostgreSQL's
    own."""
    await sql(
        "CREATE SCHEMA bait",
        "CREATE TABLE bait.ran (who text)",
        "GRANT ALL ON SCHEMA bait TO PUBLIC",
    )
    await sql("GRANT ALL ON bait.ran TO PUBLIC")
    for name, types, result, value in (
        ("jsonb_build_object", "text, text", "jsonb", "'{}'::jsonb"),
        ("jsonb_build_array", "jsonb", "jsonb", "'[]'::jsonb"),
        ("pg_column_size", "jsonb", "int", "1"),
        ("transaction_timestamp", "", "timestamptz", "now()"),
        ("to_jsonb", "users", "jsonb", "'{}'::jsonb"),
    ):
        await sql(BAIT.format(name=name, types=types, result=result, value=value))
    write = "UPDATE public.users SET age = 8 WHERE id = 3"
    await run_as(
        repocache_endpoints.primary,
        roles.clerk,
        "SET search_path = bait, pg_catalog, public",
        write,
    )
    assert await sql("SELECT who FROM bait.ran") == []
    assert len(await notices(sql)) == 1


@pytest.mark.usefixtures("mallorys")
@pytest.mark.parametrize(
    "kind, value",
    [
        ("ENUM ('a', 'b')", "'a'"),
        ("(a int, b text)", "ROW(1, 'x')"),
        ("RANGE (subtype = int)", "'[1,2)'"),
    ],
)
async def test_no_cast_of_a_watched_tables_owner_runs(
    kind: str, value: str, repocache_endpoints: Endpoints, sql: Sql, roles: Roles
) -> None:
    """It would run as the trigger's owner."""
    primary, type_ = repocache_endpoints.primary, "hers.kind"
    made = [f"CREATE TYPE {type_} AS {kind}", *(each.format(type=type_) for each in CAST)]
    await run_as(primary, roles.mallory, "SET search_path = hers", *made)
    await run_as(
        primary,
        roles.mallory,
        f"CREATE TABLE hers.t (id {type_}, n int, PRIMARY KEY (id))",
        f"CREATE TABLE hers.u (id {type_}, n int, PRIMARY KEY (id, n))",
        f"CREATE DOMAIN hers.domain AS {type_}",
        "CREATE TABLE hers.v (id hers.domain, n int, PRIMARY KEY (id))",
        f"CREATE TABLE hers.w (id {type_}[], n int, PRIMARY KEY (id))",
        "GRANT ALL ON ALL TABLES IN SCHEMA hers TO PUBLIC",
    )
    for table in "tuvw":
        await sql(*create_trigger(table, "hers", "public", ()))
        written = f"ARRAY[{value}]::{type_}[]" if table == "w" else f"{value}::{type_}"
        await run_as(primary, roles.mallory, f"INSERT INTO hers.{table} VALUES ({written}, 7)")
    assert await sql("SELECT who FROM hers.ran") == []
    whole = {table: [{"t": f"hers.{table}"}] for table in "tuvw"}
    assert await notices(sql) == [
        whole["t"],
        [{"t": "hers.u", "rows": [{"n": 7}]}],
        whole["v"],
        whole["w"],
    ]


async def test_domains_arrays_and_ranges_of_postgresqls_own_types_are_carried(sql: Sql) -> None:
    await sql(
        "CREATE DOMAIN code AS text CHECK (VALUE <> 'x')",
        "CREATE DOMAIN over AS code",
        "CREATE TABLE t (id code, n int[], r int4range, o over, PRIMARY KEY (id))",
        *create_trigger("t", "public", "public", ("n", "r", "o")),
        "INSERT INTO t VALUES ('a', '{1,2}', '[1,3)', 'b')",
    )
    assert await notices(sql) == [
        [{"t": "public.t", "rows": [{"id": "a", "n": [1, 2], "r": "[1,3)"}]}]
    ]


async def test_what_is_computed_when_it_is_read_is_not_carried(
    sql: Sql, repocache_servers: Servers
) -> None:
    """It has no value in a trigger (PostgreSQL 18)."""
    [(version,)] = repocache_servers.primary.sql("SHOW server_version_num")
    if int(version) < 180000:
        pytest.skip("virtual generated columns are PostgreSQL 18's")
    await sql(
        "CREATE TABLE t (id int PRIMARY KEY, v int GENERATED ALWAYS AS (id + 1) VIRTUAL)",
        *create_trigger("t", "public", "public", ("v",)),
        "INSERT INTO t VALUES (1)",
    )
    assert await notices(sql) == [[{"t": "public.t", "rows": [{"id": 1}]}]]


@pytest.fixture
async def keeping(
    repocache_servers: Servers, repocache_endpoints: Endpoints, roles: Roles
) -> AsyncIterator[str]:
    """The migrating role is in the role that is to own the trigger's function, for as long as it
    migrates."""
    primary, database = repocache_servers.primary, repocache_endpoints.primary.rpartition("/")[2]
    primary.sql(
        f"GRANT {roles.keeper} TO {roles.migrator}; CREATE SCHEMA kept AUTHORIZATION "
        f"{roles.migrator};GRANT USAGE, CREATE ON SCHEMA kept TO {roles.keeper}; GRANT USAGE ON "
        f"SCHEMA kept TO {roles.service};DROP TABLE {TABLE}",
        database,
    )
    yield "kept"
    primary.sql(f"REVOKE {roles.keeper} FROM {roles.migrator}")


SHOP_TABLES: Sequence[str] = ("users", "orders", "documents", "countries")


async def test_as_exactly_the_documented_roles(
    keeping: str, repocache_endpoints: Endpoints, repocache_servers: Servers, roles: Roles
) -> None:
    """Who migrates owns the tables, who serves uses them, who writes knows nothing, and the
    trigger's function belongs to a role that cannot log in."""
    server, database = repocache_servers.primary, repocache_endpoints.primary.rpartition("/")[2]
    for table in SHOP_TABLES:
        server.sql(f"ALTER TABLE {table} OWNER TO {roles.migrator}", database)
    primary = repocache_endpoints.primary
    await run_as(
        primary,
        roles.migrator,
        *create_outbox(keeping, (roles.service,), roles.keeper),
        *create_trigger("users", "public", keeping, ()),
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON {', '.join(SHOP_TABLES)} TO {roles.service}",
        f"GRANT SELECT, UPDATE ON users TO {roles.clerk}",
    )
    server.sql(
        (
            f"REVOKE {roles.keeper} FROM {roles.migrator}; REVOKE CREATE ON SCHEMA {keeping} FROM "
            f"{roles.keeper}"
        ),
        database,
    )
    await run_as(primary, roles.migrator, *create_trigger("orders", "public", keeping, ()))
    [(owner, table_owner)] = server.sql(
        "SELECT (SELECT proowner::regrole FROM pg_proc WHERE oid = "
        f"'{keeping}.repocache_notice'::regproc), (SELECT relowner::regrole FROM pg_class WHERE "
        f"oid = '{keeping}.{TABLE}'::regclass)",
        database,
    )
    assert (owner, table_owner) == (roles.keeper, roles.migrator)
    theirs = Endpoints(url_of(primary, roles.service), (), repocache_endpoints.redis)
    async with open_shop(theirs, Settings(topology=QUICK, outbox_schema=keeping)) as shop:
        assert shop.db.is_durable
        await shop.users.get(3)
        await shop.users.get(4)
        await shop.rename(3, "Ada")
        assert (await shop.users.require(3)).name == "Ada"
        await run_as(primary, roles.clerk, "UPDATE users SET name = 'Bob' WHERE id = 4")

        async def told() -> bool:
            return (await shop.users.require(4)).name == "Bob"

        await until(told, "the clerk's write is told")
        await until_empty_in(primary, roles.service, keeping)


async def until_empty_in(url: str, role: str, schema: str) -> None:
    async def empty() -> bool:
        return await run_as(url, role, f"SELECT count(*) FROM {schema}.{TABLE}") == [(0,)]

    await until(empty, "the outbox is empty")


async def test_statements_that_take_each_other_back_leave_what_stays(sql: Sql) -> None:
    """A notice of the whole table takes the place of those before, and a rollback to a savepoint
    brings them back."""
    await sql(
        "CREATE TABLE t (id int PRIMARY KEY)",
        *create_trigger("t", "public", "public", ()),
        "INSERT INTO t VALUES (1)",
        "SAVEPOINT a",
        "TRUNCATE t",
        "INSERT INTO t VALUES (2)",
        "ROLLBACK TO a",
        "INSERT INTO t VALUES (3)",
    )
    assert await notices(sql) == [[{"t": "public.t", "rows": [{"id": n}]}] for n in (1, 3)]
    await sql(
        f"DELETE FROM {TABLE}", "INSERT INTO t VALUES (4)", "TRUNCATE t", "INSERT INTO t VALUES (5)"
    )
    assert await notices(sql) == [[{"t": "public.t"}]]


async def test_what_a_transaction_leaves_is_bounded_in_bytes(sql: Sql) -> None:
    """However much the columns hold that are carried."""
    text_of = "(SELECT string_agg(md5(n::text), '') FROM generate_series(1, {}) n)"
    await sql(
        "CREATE TABLE t (id int PRIMARY KEY, name text)",
        *create_trigger("t", "public", "public", ("name",)),
        f"INSERT INTO t VALUES (1, {text_of.format(1_000)})",
    )
    assert await sql(f"SELECT length(notices->0->'rows'->0->>'name') FROM {TABLE}") == [(32_000,)]
    await sql(f"DELETE FROM {TABLE}", f"INSERT INTO t VALUES (2, {text_of.format(300_000)})")
    assert await notices(sql) == [[{"t": "public.t"}]]
    large = [f"INSERT INTO t VALUES ({id}, {text_of.format(100_000)})" for id in (3, 4, 5)]
    await sql(f"DELETE FROM {TABLE}", *large)
    assert await notices(sql) == [[{"t": "public.t"}]]
