"""The table is the one in its schema, made by somebody who is trusted; whatever else has its name
is refused or unseen.

Everybody may create in `public` here, as everywhere before PostgreSQL 15.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest

from repocache import ConfigurationError, OutboxMode, Settings
from repocache.alembic_ops.ddl import create_outbox
from repocache.invalidation.outbox import TABLE
from repocache.runtime.outbox import RunningOutbox
from repocache.testing import Endpoints, Servers
from tests.outbox.conftest import Sql, left
from tests.outbox.roles import Roles, run_as, url_of
from tests.shop import QUICK, open_shop, shop_template

BAIT = (
    (
        f"CREATE TABLE {{at}}{TABLE} (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, source "
        "text, notices jsonb NOT NULL, due timestamptz NOT NULL DEFAULT clock_timestamp(),"
        " xid bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint)"
    ),
    f"GRANT ALL ON {{at}}{TABLE} TO PUBLIC",
    "CREATE TABLE {at}caught (who text)",
    "GRANT ALL ON {at}caught TO PUBLIC",
    (
        "CREATE FUNCTION {at}hook() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN INSERT INTO {at}caught VALUES (current_user); RETURN NEW; END $$"
    ),
    (
        f"CREATE TRIGGER hook BEFORE INSERT ON {{at}}{TABLE} FOR EACH ROW EXECUTE FUNCTION "
        f"{{at}}hook()"
    ),
)


@pytest.fixture(scope="session")
def repocache_template(repocache_servers: Servers) -> str:
    """Without an outbox."""
    return shop_template(repocache_servers)


@pytest.fixture
async def everybody_creates(
    sql: Sql, repocache_servers: Servers, repocache_endpoints: Endpoints
) -> None:
    database = repocache_endpoints.primary.rpartition("/")[2]
    repocache_servers.primary.sql("GRANT CREATE ON SCHEMA public TO PUBLIC", database)
    await sql("GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC")


@pytest.fixture
async def outbox(sql: Sql) -> None:
    await sql(*create_outbox("public", ()))


def settings(**given: object) -> Settings:
    return dataclasses.replace(Settings(topology=QUICK), **given)  # type: ignore[arg-type]


async def start(endpoints: Endpoints, given: Settings | None = None) -> str:
    """The error of a start."""
    with pytest.raises(ConfigurationError) as raised:
        async with open_shop(endpoints, given):
            pass
    return str(raised.value)


@pytest.mark.usefixtures("everybody_creates")
@pytest.mark.parametrize("mode", [OutboxMode.AUTO, OutboxMode.REQUIRED])
async def test_a_strangers_table_is_refused(
    mode: OutboxMode, repocache_endpoints: Endpoints, sql: Sql, roles: Roles
) -> None:
    await run_as(
        repocache_endpoints.primary, roles.mallory, *(each.format(at="public.") for each in BAIT)
    )
    said = await start(repocache_endpoints, settings(outbox=mode))
    assert f'"public".{TABLE} belongs to {roles.mallory!r}' in said
    assert f"Settings(outbox_owners=({roles.mallory!r},))" in said
    assert await sql("SELECT who FROM public.caught") == []
    async with open_shop(repocache_endpoints, settings(outbox=OutboxMode.OFF)) as shop:
        await shop.rename(7, "Ada")
        assert not shop.db.is_durable
    assert await sql("SELECT who FROM public.caught") == []


@pytest.mark.usefixtures("everybody_creates", "outbox")
async def test_one_that_the_search_path_finds_first_is_not_seen(
    repocache_endpoints: Endpoints, sql: Sql, roles: Roles
) -> None:
    [(name,)] = await sql("SELECT current_database()")
    await sql("CREATE SCHEMA trap", "GRANT ALL ON SCHEMA trap TO PUBLIC")
    await sql(f'ALTER DATABASE "{name}" SET search_path = trap, public')
    await run_as(
        repocache_endpoints.primary, roles.mallory, *(each.format(at="trap.") for each in BAIT)
    )
    async with open_shop(repocache_endpoints) as shop:
        assert shop.db.is_durable
        await shop.rename(7, "Ada")
    assert await sql("SELECT who FROM trap.caught") == []
    assert await sql("SELECT last_value, is_called FROM public.repocache_outbox_id_seq") == [
        (1, True)
    ]


@pytest.mark.usefixtures("everybody_creates")
async def test_an_owner_who_is_named_is_trusted(
    repocache_endpoints: Endpoints, sql: Sql, roles: Roles
) -> None:
    await run_as(repocache_endpoints.primary, roles.migrator, *create_outbox("public", ("app",)))
    assert "outbox_owners" in await start(
        repocache_endpoints, settings(outbox_owners=(roles.mallory,))
    )
    async with open_shop(
        repocache_endpoints, settings(outbox_owners=("nobody", roles.migrator))
    ) as shop:
        await shop.rename(7, "Ada")
    assert await left(sql) == 0


@pytest.mark.usefixtures("everybody_creates")
@pytest.mark.parametrize("table", ["users", "documents"])
async def test_who_owns_a_cached_table_is_trusted(
    table: str, repocache_endpoints: Endpoints, repocache_servers: Servers, roles: Roles
) -> None:
    """He may put a trigger on it, which runs with the rights of whoever writes."""
    database = repocache_endpoints.primary.rpartition("/")[2]
    await run_as(repocache_endpoints.primary, roles.migrator, *create_outbox("public", ("app",)))
    assert roles.migrator in await start(repocache_endpoints)
    repocache_servers.primary.sql(
        f"ALTER TABLE {table} OWNER TO {roles.migrator}; GRANT ALL ON {table} TO app", database
    )
    async with open_shop(repocache_endpoints) as shop:
        assert isinstance(shop.db._started.outbox, RunningOutbox)
        await shop.rename(7, "Ada")


@pytest.mark.usefixtures("everybody_creates")
async def test_who_is_a_member_of_the_role_is_trusted_and_who_it_is_a_member_of_is_not(
    repocache_endpoints: Endpoints, repocache_servers: Servers, roles: Roles
) -> None:
    primary = repocache_servers.primary
    await run_as(
        repocache_endpoints.primary,
        roles.migrator,
        *create_outbox("public", ("app", roles.service)),
    )
    primary.sql(f"GRANT {roles.service} TO {roles.migrator}")
    theirs = Endpoints(
        url_of(repocache_endpoints.primary, roles.service), (), repocache_endpoints.redis
    )
    async with open_shop(theirs) as shop:
        assert shop.db.is_durable
    primary.sql(
        f"REVOKE {roles.service} FROM {roles.migrator}; GRANT {roles.migrator} TO {roles.service}"
    )
    try:
        assert "belongs to" in await start(theirs)
    finally:
        primary.sql(f"REVOKE {roles.migrator} FROM {roles.service}")


@pytest.mark.usefixtures("outbox")
@pytest.mark.parametrize(
    "statements, why",
    [
        (
            [f"ALTER TABLE {TABLE} RENAME TO o", f"CREATE VIEW {TABLE} AS SELECT * FROM o"],
            "no ordinary table",
        ),
        ([f"ALTER TABLE {TABLE} SET UNLOGGED"], "no ordinary table"),
        ([f"CREATE TABLE part () INHERITS ({TABLE})"], "no ordinary table"),
        (
            ["CREATE TABLE above (id bigint NOT NULL)", f"ALTER TABLE {TABLE} INHERIT above"],
            "no ordinary table",
        ),
        ([f"ALTER TABLE {TABLE} DROP COLUMN xid"], "lacks columns of this release: xid"),
        (
            [f"ALTER TABLE {TABLE} ALTER notices TYPE text"],
            "lacks columns of this release: notices",
        ),
        (
            [
                "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
                f"CREATE TRIGGER t BEFORE INSERT ON {TABLE} FOR EACH ROW EXECUTE FUNCTION f()",
            ],
            "triggers that are not the library's: t",
        ),
        ([f"CREATE RULE r AS ON INSERT TO {TABLE} DO INSTEAD NOTHING"], "rules or row security"),
        ([f"ALTER TABLE {TABLE} ENABLE ROW LEVEL SECURITY"], "rules or row security"),
        (
            [
                "CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$ SELECT 'x' $$",
                f"ALTER TABLE {TABLE} ALTER source SET DEFAULT f()",
            ],
            "calls what is not PostgreSQL's own",
        ),
        (
            [
                "CREATE FUNCTION f(text) RETURNS bool LANGUAGE sql AS $$ SELECT true $$",
                f"ALTER TABLE {TABLE} ADD CHECK (f(source))",
            ],
            "calls what is not PostgreSQL's own",
        ),
        (
            [
                "CREATE FUNCTION f(text) RETURNS text IMMUTABLE LANGUAGE sql AS $$ SELECT $1 $$",
                f"CREATE INDEX more ON {TABLE} (f(source))",
            ],
            "calls what is not PostgreSQL's own",
        ),
        (
            [
                "CREATE DOMAIN d AS text CHECK (VALUE <> 'x')",
                f"ALTER TABLE {TABLE} ADD COLUMN more d",
            ],
            "calls what is not PostgreSQL's own",
        ),
    ],
)
async def test_a_table_that_is_not_as_it_was_made(
    repocache_endpoints: Endpoints, sql: Sql, statements: Sequence[str], why: str
) -> None:
    await sql(*statements)
    assert why in await start(repocache_endpoints)


@pytest.mark.usefixtures("outbox")
async def test_columns_and_indexes_of_postgresqls_own_kinds_may_be_added(
    repocache_endpoints: Endpoints, sql: Sql
) -> None:
    await sql(
        f"ALTER TABLE {TABLE} ADD COLUMN more int NOT NULL DEFAULT 0",
        f"CREATE INDEX i ON {TABLE} (due)",
    )
    async with open_shop(repocache_endpoints) as shop:
        assert shop.db.is_durable


@pytest.mark.parametrize(
    "schema", ["$notice$", "$repocache$", 'a"b', "it's", "x:y", "100%s", "\\", "é" * 31, "Up per"]
)
async def test_any_schema(schema: str, repocache_endpoints: Endpoints, sql: Sql) -> None:
    as_text = schema.replace('"', '""')
    await sql(f'CREATE SCHEMA "{as_text}"'.replace(":", "\\:"))
    await sql(*(statement.replace(":", "\\:") for statement in create_outbox(schema, ())))
    given = settings(outbox=OutboxMode.REQUIRED, outbox_schema=schema)
    async with open_shop(repocache_endpoints, given) as shop:
        await shop.rename(7, "Ada")
    [(called,)] = await sql(
        f'SELECT is_called FROM "{as_text}".repocache_outbox_id_seq'.replace(":", "\\:")
    )
    assert called
    async with open_shop(repocache_endpoints) as shop:
        assert not shop.db.is_durable, "it is in another schema than this one's settings say"


@pytest.mark.parametrize(
    "given, said",
    [
        ({"outbox_schema": ""}, "outbox_schema='' is no name: give a text of 1 to 63 bytes"),
        ({"outbox_schema": "é" * 32}, "is no name"),
        ({"outbox_schema": "a\0b"}, "is no name"),
        ({"outbox_schema": None}, "outbox_schema=None is no name"),
        ({"outbox_owners": "app"}, "give a tuple"),
        ({"outbox_owners": ("app", "x" * 64)}, "outbox_owners="),
    ],
)
def test_settings_that_are_no_names(given: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        settings(**given)
