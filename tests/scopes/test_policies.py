"""Which policies show a reader the rows of one value: told from what PostgreSQL prints of them."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import BigInteger, Column, MetaData, Table, Text, Uuid
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.sql import text

from repocache.errors import MappingRefused
from repocache.mapping.policies import Secured, check_policies, is_of_one_value
from repocache.testing import Endpoints
from tests.scopes.papers_of import open_papers

TABLE = Table(
    "t",
    MetaData(),
    Column("tenant", Text),
    Column("org", Uuid),
    Column("number", BigInteger),
    Column("Odd name", Text),
)
OF_ONE = {
    "tenant": [
        "tenant = current_setting('app.tenant')",
        "tenant = current_setting('app.tenant', true)",
        "current_setting('app.tenant') = tenant",
        "tenant::text = current_setting('app.tenant')",
        "tenant = NULLIF(current_setting('app.tenant', true), '')",
        "tenant = (SELECT current_setting('app.tenant'))",
        "tenant = current_setting('app.tenant') AND number > 3",
        "number IS NOT NULL AND (tenant = current_setting('app.tenant') AND number IN (1, 2))",
        "tenant = current_setting('app.tenant') AND \"Odd name\" = ' AND ('",
    ],
    "org": [
        "org = current_setting('app.tenant')::uuid",
        "org = NULLIF(current_setting('app.tenant', true), '')::uuid",
        "org = (SELECT current_setting('app.tenant')::uuid)",
    ],
    "number": ["number = current_setting('app.tenant')::bigint"],
    "Odd name": ["\"Odd name\" = current_setting('app.tenant')"],
}
OF_MORE = {
    "tenant": [
        "true",
        "tenant = current_setting('app.other')",
        "tenant <> current_setting('app.tenant')",
        "tenant = current_setting('app.tenant') OR number = 1",
        "number = 1 OR (number = 2 AND tenant = current_setting('app.tenant'))",
        "NOT (tenant = current_setting('app.tenant'))",
        "lower(tenant) = current_setting('app.tenant')",
        "tenant = lower(current_setting('app.tenant'))",
        "tenant = current_setting('app.tenant') AND now() > '2020-01-01'",
        "tenant = current_setting('app.tenant') AND number = current_setting('app.n')::bigint",
        "tenant = current_setting('app.tenant') AND EXISTS (SELECT FROM t AS u)",
        "tenant = current_setting('app.tenant') AND \"Odd name\" = current_user",
        "CASE WHEN number = 1 THEN tenant = current_setting('app.tenant') ELSE true END",
        "\"Odd name\" = current_setting('app.tenant')",
    ],
    "number": ["number = current_setting('app.tenant')::numeric"],
}


async def as_printed(url: str, expression: str) -> str:
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        for sql in (
            'CREATE TEMP TABLE t (tenant text, org uuid, number bigint, "Odd name" text)',
            f"CREATE POLICY p ON t USING ({expression})",
        ):
            await connection.execute(text(sql))
        found = await connection.execute(
            text(
                "SELECT pg_get_expr(polqual, polrelid) FROM pg_policy"
                " WHERE polrelid = 't'::regclass"
            )
        )
        answer: str = found.scalar_one()
    await engine.dispose()
    return answer


@pytest.mark.parametrize(
    "column, expected", [(c, True) for c in OF_ONE] + [(c, False) for c in OF_MORE]
)
async def test_which_are_of_one_value(
    repocache_endpoints: Endpoints, column: str, expected: bool
) -> None:
    for expression in (OF_ONE if expected else OF_MORE)[column]:
        told = await as_printed(repocache_endpoints.primary, expression)
        assert is_of_one_value(told, TABLE.c[column], "app.tenant") is expected, told


OWN = ["own", True, "(tenant = current_setting('app.tenant'::text))"]


@pytest.mark.parametrize(
    "secured, why",
    [
        (Secured(False, False, "app", json.dumps([OWN])), "no row-level security.*ENABLE"),
        (Secured(True, False, "app", json.dumps([OWN])), "not count for the role 'app'.*FORCE"),
        (Secured(True, True, "app", "[]"), r"there is none.*CREATE POLICY"),
        (Secured(True, True, "app", json.dumps([OWN, ["all", True, None]])), "policy 'all': true"),
        (
            Secured(True, True, "app", json.dumps([OWN, ["mine", False, "(f(number))"]])),
            r"policy 'mine': \(f\(number\)\)",
        ),
    ],
)
def test_others_are_refused_with_the_remedy(secured: Secured, why: str) -> None:
    with pytest.raises(MappingRefused, match=f"Papers: .*{why}"):
        check_policies("Papers", TABLE.c.tenant, "app.tenant", secured)


@pytest.mark.parametrize("narrowed", [[], [["few", False, "(number > 3)"]]])
def test_the_row_s_own_columns_may_narrow_them(narrowed: list[object]) -> None:
    secured = Secured(True, True, "app", json.dumps([OWN, *narrowed]))
    check_policies("Papers", TABLE.c.tenant, "app.tenant", secured)


@pytest.mark.parametrize(
    "sql, why",
    [
        ("ALTER TABLE papers NO FORCE ROW LEVEL SECURITY", "does not count for the role"),
        ("ALTER TABLE papers DISABLE ROW LEVEL SECURITY", "no row-level security"),
        ("DROP POLICY own ON papers", "there is none"),
        ("CREATE POLICY more ON papers USING (id = 1)", r"policy 'more': \(id = 1\)"),
    ],
)
async def test_the_database_is_asked_at_start(
    repocache_endpoints: Endpoints, sql: str, why: str
) -> None:
    engine = create_async_engine(repocache_endpoints.primary)
    async with engine.begin() as connection:
        await connection.execute(text(sql))
    await engine.dispose()
    with pytest.raises(MappingRefused, match=why):
        async with open_papers(repocache_endpoints):
            pass
