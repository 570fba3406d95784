"""Nothing that somebody has put into the search_path is called by the library's own statements.

What a statement calls is decided when it is parsed, so the body of a function tells it, by what it
depends on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, select, text
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.ext.asyncio import create_async_engine

from repocache.alembic_ops import autogenerate
from repocache.alembic_ops.ddl import create_outbox, create_purges
from repocache.behind import tables
from repocache.doctor import postgres_facts, table_counts, table_facts
from repocache.engines import lent, server
from repocache.invalidation import held, outbox, outbox_table, seal
from repocache.invalidation.outbox import on_table
from repocache.mapping import policies, unique
from repocache.mapping.reader import reads_alike, state_statement
from repocache.mapping.relation import places_statement, relations_statement
from repocache.nodes import probe
from repocache.runtime import primary_wal
from repocache.testing import Endpoints
from repocache.tracking.cascades import rights_statement
from repocache.tracking.catalog import catalog_statement
from repocache.tracking.functions import functions_statement
from repocache.transactions import transaction
from tests.nodes.plants import PLANTED, called, plants, unqualified

DIALECT = PGDialect_asyncpg()  # type: ignore[no-untyped-call]
USERS = Table("users", MetaData(), Column("id", Integer, primary_key=True))
OF_OUTBOX = ("_TAKE", "_ACKNOWLEDGE", "_PUT", "_FOLD_FOREIGN", "_DELETE", "_POSTPONE")
OF_DOCTOR = ("_SETTINGS", "_SELF", "_REPLAY", "_WRITTEN", "_SLOTS", "_LIMITS")
OF_HELD = ("_LIST", "_COUNT", "_DEPTH", "_REPLAY", "_REPLAY_ALL", "_DISCARD")
STATEMENTS: Mapping[str, str] = {
    "primary": probe.PRIMARY_SQL,
    "replica": probe.REPLICA_SQL,
    "clock": probe.CLOCK_SQL,
    "complete": probe.COMPLETE_SQL,
    "server": server.SERVER_SQL,
    "read only": server.READ_ONLY_SQL,
    "set up": lent.SET_UP_SQL,
    "asked before COMMIT": transaction._ASK,
    "status": primary_wal._STATUS.text,
    "catalog": catalog_statement([USERS]).text,
    "functions": functions_statement().text,
    "relations": relations_statement([USERS], DIALECT).text,
    "places": places_statement([USERS], DIALECT).text,
    "rights": rights_statement([USERS], DIALECT).text,
    "state": state_statement().text,
    "unique": unique._UNIQUE.text,
    "policies": policies._POLICIES.text,
    "alike": str(select(reads_alike(USERS, "here", "so", DIALECT)).compile(dialect=DIALECT)),
    "outbox": outbox_table._FIND.text,
    "seal": seal.written("public.repocache_outbox", None).text,
    "seal with purges": seal.written("public.repocache_outbox", "public.repocache_purges").text,
    **{name: on_table(getattr(outbox, name), "public.repocache_outbox").text for name in OF_OUTBOX},
    **{name: on_table(getattr(held, name), "public.repocache_outbox").text for name in OF_HELD},
    "write-behind": tables._RIGHTS.text,
    **{f"doctor {name}": getattr(postgres_facts, name).text for name in OF_DOCTOR},
    **{f"doctor {name}": getattr(table_facts, name).text for name in ("_TABLES", "_KEYS")},
    **{f"doctor {name}": getattr(table_counts, name).text for name in ("_COUNTS", "_SINCE")},
    "autogenerate's triggers": autogenerate._TRIGGERS.text,
    "autogenerate's outbox": autogenerate._TABLE.text,
}
DEPENDS = """
SELECT pg_describe_object(refclassid, refobjid, 0) FROM pg_depend
WHERE objid = 'public.asks()'::regprocedure
    AND refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass)
"""


def with_values(sql: str) -> str:
    """Parameters as a driver types them at worst."""
    return re.sub(
        r"(?<!:):[a-z_]+|\$\d+(::\w+)?", lambda found: "'1'" + (found.group(1) or "::varchar"), sql
    )


@pytest.mark.parametrize("name", STATEMENTS)
def test_every_function_is_named_with_its_schema(name: str) -> None:
    """Those for any number of arguments of any types are more than can be planted."""
    assert unqualified(STATEMENTS[name]) == set()


async def test_what_others_have_put_into_the_search_path_is_not_called(
    repocache_endpoints: Endpoints,
) -> None:
    engine = create_async_engine(repocache_endpoints.primary)
    async with engine.connect() as connection:
        for statement in (*create_outbox("public", ()), *create_purges("public", ())):
            await connection.execute(text(statement))
        await connection.exec_driver_sql(f"CREATE SCHEMA {PLANTED}")
        await connection.exec_driver_sql(plants(set().union(*map(called, STATEMENTS.values()))))
        await connection.exec_driver_sql(f"SET LOCAL search_path = {PLANTED}, public")
        for name, sql in {
            "bait": "SELECT concat_ws('x'::text, 'y'::name), 'a'::text = 'b'::varchar",
            **STATEMENTS,
        }.items():
            asks = (
                "CREATE OR REPLACE FUNCTION public.asks() RETURNS void BEGIN ATOMIC "
                f"{with_values(sql)}; END"
            )
            await connection.exec_driver_sql(asks)
            found = list((await connection.exec_driver_sql(DEPENDS)).scalars())
            if name == "bait":
                assert len(found) == 2, "what is planted is found"
            else:
                assert found == [], name
    await engine.dispose()
