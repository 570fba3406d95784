"""What PostgreSQL itself says of its functions."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from repocache.mapping.functions import SELF_CONTAINED
from repocache.queries.steady_functions import (
    SETTLED,
    immutable_functions,
    immutable_functions_statement,
    is_steady,
)
from repocache.testing import Endpoints

MOVING = [
    "now",
    "random",
    "clock_timestamp",
    "statement_timestamp",
    "transaction_timestamp",
    "timeofday",
    "nextval",
    "currval",
    "lastval",
    "current_setting",
    "set_config",
    "gen_random_uuid",
    "pg_sleep",
    "age",
    "current_user",
    "inet_client_addr",
    "pg_backend_pid",
    "setseed",
    "version",
    "has_table_privilege",
]


async def test_names_that_are_immutable_whatever_their_arguments(
    repocache_endpoints: Endpoints,
) -> None:
    engine = create_async_engine(repocache_endpoints.primary)
    async with engine.connect() as connection:
        for sql in (
            "CREATE FUNCTION twice(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 * 2'",
            "CREATE FUNCTION mixed(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1'",
            "CREATE FUNCTION mixed(text) RETURNS text LANGUAGE sql AS 'SELECT $1'",
            "CREATE FUNCTION stable(int) RETURNS int STABLE LANGUAGE sql AS 'SELECT $1'",
        ):
            await connection.execute(text(sql))
        found = immutable_functions(await connection.scalars(immutable_functions_statement()))
    await engine.dispose()
    assert found >= {"twice", "lower", "count", "sum", "row_number"}
    assert found.isdisjoint({"mixed", "stable", *MOVING})


async def test_what_is_known_without_asking_depends_on_nothing_that_moves(
    repocache_endpoints: Endpoints,
) -> None:
    """No volatile function is among the names: all of those that the database has are STABLE."""
    engine = create_async_engine(repocache_endpoints.primary)
    question = text(
        "SELECT DISTINCT proname FROM pg_proc WHERE provolatile = 'v' AND prokind <> 'p'"
    )
    async with engine.connect() as connection:
        volatile = set(await connection.scalars(question))
    await engine.dispose()
    assert volatile & set(MOVING)
    assert not volatile & (SETTLED | SELF_CONTAINED)


def test_a_schema_of_the_application_s_own_is_not_postgresql_s() -> None:
    assert is_steady("lower", ["pg_catalog"], frozenset())
    assert not is_steady("lower", ["own"], frozenset())
    assert is_steady("own", ["shop"], frozenset({"own"}))
    assert not any(is_steady(name, [], frozenset()) for name in MOVING)
