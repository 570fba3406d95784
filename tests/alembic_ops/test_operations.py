"""The operations, in a real Alembic on a real PostgreSQL: made, found again, undone."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import MetaData

from repocache.alembic_ops import declare
from repocache.alembic_ops.ddl import create_trigger
from repocache.behind.tables import DEAD_LETTERS, POSITIONS
from repocache.errors import ConfigurationError
from repocache.invalidation.identifier import quoted
from repocache.invalidation.outbox import TABLE
from repocache.testing import Endpoints, Servers
from tests.alembic_ops.conftest import Sql

Theirs = Callable[[str], Config]
MADE = "SELECT count(*) FROM pg_proc WHERE proname IN ('repocache_notice', 'repocache_wake')"
TRIGGERS = (
    "SELECT tgrelid::regclass::text, count(*) FROM pg_trigger"
    " WHERE tgname LIKE 'repocache_notice%' GROUP BY 1 ORDER BY 1"
)


def test_the_librarys_own_migrations_there_and_back(ours: Config, sql: Sql) -> None:
    command.upgrade(ours, "head")
    assert sql(MADE) == [(2,)]
    sql(f"INSERT INTO {TABLE} (notices) VALUES ('[]')")
    command.upgrade(ours, "head")
    assert sql(f"SELECT count(*) FROM {TABLE}") == [(1,)], (
        "rows outlive an upgrade that has nothing to do"
    )
    command.check(ours)
    command.downgrade(ours, "base")
    assert sql(MADE) == [(0,)]
    assert sql(f"SELECT to_regclass('{TABLE}') IS NULL") == [(True,)]


def test_each_version_upgrades_with_rows_in_it(ours: Config, sql: Sql) -> None:
    """Whoever adds the next finds here that rows of those before are still what they were."""
    command.upgrade(ours, "0001")
    sql(f'INSERT INTO {TABLE} (source, notices) VALUES (NULL, \'[{{"k": [], "o": []}}]\')')
    command.upgrade(ours, "0002")
    sql(f"INSERT INTO {POSITIONS} VALUES ('a', '[]', 1, now())")
    command.upgrade(ours, "head")
    assert sql(f"SELECT stream, positions, changes FROM {POSITIONS}") == [("a", [], 1)]
    assert sql(f"SELECT source, notices->0->'k' FROM {TABLE}") == [(None, [])]


def test_autogenerate_finds_what_is_declared_and_then_nothing(
    theirs: Theirs, sql: Sql, tmp_path: Path
) -> None:
    config = theirs('declare(metadata, {"users": ("email",), "odd schema.odd name": ()})')
    command.revision(config, "one", autogenerate=True, rev_id="1")
    [written] = (tmp_path / "versions").glob("1_*.py")
    source = written.read_text().replace(
        "from alembic import op\n", "from alembic import op\nimport repocache.alembic_ops\n"
    )
    assert [line.strip() for line in source.splitlines() if line.strip().startswith("op.")] == [
        "op.create_repocache_outbox()",
        "op.create_invalidation_trigger('users', columns=('email',))",
        "op.create_invalidation_trigger('odd name', schema='odd schema')",
        "op.drop_invalidation_trigger('odd name', schema='odd schema')",
        "op.drop_invalidation_trigger('users')",
        "op.drop_repocache_outbox()",
    ]
    written.write_text(source)
    command.upgrade(config, "head")
    assert sql(TRIGGERS) == [('"odd schema"."odd name"', 4), ("users", 4)]
    command.check(config)
    command.check(theirs('declare(metadata, {"users": ("email",), "odd schema.odd name": ()})'))
    with pytest.raises(CommandError, match="New upgrade operations detected"):
        command.check(theirs('declare(metadata, {"users": (), "odd schema.odd name": ()})'))
    sql('INSERT INTO users VALUES (1, \'a\'); INSERT INTO "odd schema"."odd name" VALUES (1)')
    assert sql(f"SELECT source, notices->0->'rows' FROM {TABLE} ORDER BY id") == [
        ("public.users", [{"id": 1, "email": "a"}]),
        ("odd schema.odd name", [{"Key": 1}]),
    ]
    command.downgrade(config, "base")
    assert (sql(TRIGGERS), sql(MADE)) == ([], [(0,)])


def test_autogenerate_finds_the_tables_of_write_behind_and_then_nothing(
    theirs: Theirs, sql: Sql, tmp_path: Path
) -> None:
    config = theirs("declare(metadata, write_behind=True)")
    command.revision(config, "one", autogenerate=True, rev_id="1")
    [written] = (tmp_path / "versions").glob("1_*.py")
    source = written.read_text().replace(
        "from alembic import op\n", "from alembic import op\nimport repocache.alembic_ops\n"
    )
    assert [line.strip() for line in source.splitlines() if line.strip().startswith("op.")] == [
        "op.create_repocache_outbox()",
        "op.create_repocache_write_behind()",
        "op.drop_repocache_write_behind()",
        "op.drop_repocache_outbox()",
    ]
    written.write_text(source)
    command.upgrade(config, "head")
    command.check(config)
    command.check(theirs("declare(metadata)"))
    command.downgrade(config, "base")
    assert sql(f"SELECT to_regclass('{POSITIONS}'), to_regclass('{DEAD_LETTERS}')") == [
        (None, None)
    ]


def test_who_declares_nothing_is_not_told_to_drop_it(
    ours: Config, theirs: Theirs, sql: Sql
) -> None:
    command.upgrade(ours, "head")
    sql("DROP TABLE repocache_version")
    command.check(theirs(""))


@pytest.mark.parametrize("driver", ["postgresql", "postgresql+asyncpg"])
def test_as_sql(
    driver: str, ours: Config, repocache_servers: Servers, repocache_endpoints: Endpoints
) -> None:
    """Offline: for whom a person runs the migrations. Drivers that mark parameters with percent
    signs change none."""
    ours.set_main_option("sqlalchemy.url", f"{driver}://")
    ours.output_buffer = io.StringIO()
    command.upgrade(ours, "head", sql=True)
    script = ours.output_buffer.getvalue()
    assert f'CREATE TABLE "public".{TABLE}' in script
    assert "CREATE CONSTRAINT TRIGGER repocache_wake" in script
    database = repocache_endpoints.primary.rpartition("/")[2]
    repocache_servers.primary.sql(script, database)
    trigger = ";".join(create_trigger("t", "public", "public", ()))
    written = f"CREATE TABLE t (id int PRIMARY KEY); {trigger}; INSERT INTO t VALUES (7)"
    said = repocache_servers.primary.sql(f"{written}; SELECT notices FROM {TABLE}", database)
    assert said == [('[{"t": "public.t", "rows": [{"id": 7}]}]',)]


def test_mistakes() -> None:
    with pytest.raises(ConfigurationError, match="has no table 'userz'"):
        declare(MetaData(), ["userz"])
    with pytest.raises(ConfigurationError, match="no name"):
        quoted("")
