"""What a commit stores depends on the database alone, never on the state of the writer's
connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from repocache.testing import Endpoints, Servers
from tests.writethrough.ledger import Account, Accounts, Ledger, Price, Prices, open_ledger

State = Callable[[AsyncSession], Awaitable[object]]

OTHERS = """
DROP SCHEMA IF EXISTS tenant_b CASCADE; DROP ROLE IF EXISTS tenant;
CREATE SCHEMA tenant_b; CREATE ROLE tenant;
GRANT tenant TO app; GRANT CREATE, USAGE ON SCHEMA tenant_b TO app, tenant;
GRANT ALL ON account, price TO tenant;
CREATE TABLE tenant_b.account (LIKE public.account INCLUDING ALL);
CREATE TABLE tenant_b.price (LIKE public.price INCLUDING ALL);
INSERT INTO tenant_b.account (id, name) VALUES (2, 'theirs');
    INSERT INTO tenant_b.price VALUES (2, 222);
GRANT ALL ON tenant_b.account, tenant_b.price TO app, tenant;
"""
NO_OTHERS = "DROP SCHEMA tenant_b CASCADE; DROP OWNED BY tenant; DROP ROLE tenant"


@pytest.fixture
async def ledger(
    repocache_endpoints: Endpoints, repocache_servers: Servers, ledger_database: str
) -> AsyncIterator[Ledger]:
    sql = repocache_servers.primary.sql
    await asyncio.to_thread(sql, OTHERS, ledger_database)
    async with open_ledger(repocache_endpoints) as opened:
        yield opened
    await asyncio.to_thread(sql, NO_OTHERS, ledger_database)


async def run(session: AsyncSession, *statements: str) -> None:
    for statement in statements:
        await (await session.connection()).exec_driver_sql(statement)


async def translated(session: AsyncSession) -> None:
    await session.connection(execution_options={"schema_translate_map": {None: "tenant_b"}})


async def translated_later(session: AsyncSession) -> None:
    connection = await session.connection()
    await connection.execution_options(schema_translate_map={None: "tenant_b"})


async def searching(session: AsyncSession) -> None:
    await run(session, "SELECT set_config('search_path', 'tenant_b', true)")


async def searching_by_words(session: AsyncSession) -> None:
    await run(session, "SET LOCAL search_path TO tenant_b, public")


async def searching_elsewhere_first(session: AsyncSession) -> None:
    """A path that leads to the same table today."""
    await run(session, "SET LOCAL search_path TO nowhere, public")


async def another_role(session: AsyncSession) -> None:
    await run(session, "SET LOCAL ROLE tenant")


async def another_role_by_a_function(session: AsyncSession) -> None:
    await run(session, "SELECT set_config('role', 'tenant', true)")


async def another_zone(session: AsyncSession) -> None:
    await run(session, "SET LOCAL TimeZone TO 'Asia/Tokyo'")


async def shadowed(session: AsyncSession) -> None:
    await run(
        session,
        "CREATE TEMPORARY TABLE account (LIKE public.account INCLUDING ALL) ON COMMIT DROP",
        "CREATE TEMPORARY TABLE price (LIKE public.price INCLUDING ALL) ON COMMIT DROP",
        "INSERT INTO account (id, name) VALUES (2, 'theirs')",
        "INSERT INTO price VALUES (2, 222)",
    )


STATES: list[State] = [
    translated,
    translated_later,
    searching,
    searching_by_words,
    searching_elsewhere_first,
    another_role,
    another_role_by_a_function,
    another_zone,
    shadowed,
]


async def write_in(ledger: Ledger, state: State) -> tuple[str, int]:
    """Both rows, and what the writer has for them."""
    async with ledger.db.unit_of_work() as work:
        await state(work.session)
        account = await work.session.get_one(Account, 2, populate_existing=True)
        account.name = f"{account.name}!"
        price = await work.session.get_one(Price, 2)
        price.amount += 1
        await work.commit()
    return account.name, price.amount


@pytest.mark.parametrize("state", STATES)
async def test_rows_read_otherwise_are_invalidated_and_not_stored(
    ledger: Ledger, state: State, repocache_endpoints: Endpoints
) -> None:
    for repository in (Accounts, Prices):
        await ledger.settle(repository, 2)
    await write_in(ledger, state)
    assert ledger.stored == []
    async with open_ledger(repocache_endpoints) as reader, reader.db.causal_session():
        truth = (
            (await reader.accounts.on_primary().require(2)).name,
            (await reader.prices.on_primary().require(2)).amount,
        )
        assert truth[0] in {"n2", "n2!"}
        for each in (reader, ledger):
            assert (
                (await each.accounts.require(2)).name,
                (await each.prices.require(2)).amount,
            ) == truth
            found = await each.accounts.find(Account.id == 2)
            assert [account.name for account in found] == [truth[0]]


async def as_readers(session: AsyncSession) -> None:
    """Settings that decide nothing."""
    await run(
        session,
        "SET LOCAL search_path TO DEFAULT",
        "SET LOCAL work_mem TO '8MB'",
        "SET LOCAL app.tenant TO 'a'",
    )


async def translated_to_itself(session: AsyncSession) -> None:
    await session.connection(execution_options={"schema_translate_map": {}})


@pytest.mark.parametrize("state", [as_readers, translated_to_itself])
async def test_rows_read_as_readers_do_are_stored(ledger: Ledger, state: State) -> None:
    for repository in (Accounts, Prices):
        await ledger.settle(repository, 2)
    assert await write_in(ledger, state) == ("n2!", 3)
    assert ledger.stored == [(2, 2)]
    assert (await ledger.in_l2(Accounts, 2)).name == "n2!"
    assert (await ledger.in_l2(Prices, 2)).amount == 3


async def test_a_statement_for_another_schema_stores_what_is_in_this_one(ledger: Ledger) -> None:
    await ledger.settle(Accounts, 2)
    async with ledger.db.unit_of_work() as work:
        await work.session.execute(
            Account.__table__.update().where(Account.id == 2).values(name="theirs!"),  # type: ignore[attr-defined]
            execution_options={"schema_translate_map": {None: "tenant_b"}},
        )
        await work.commit()
    assert (await ledger.accounts.require(2)).name == "n2"
    assert (await ledger.in_l2(Accounts, 2)).name == "n2"


async def test_a_state_that_stays_on_a_connection_of_the_pool_stores_nothing(
    ledger: Ledger,
) -> None:
    await ledger.settle(Accounts, 2)
    async with ledger.db.unit_of_work() as work:
        await work.session.execute(text("SET search_path TO tenant_b"))  # not LOCAL
        await work.commit()
    await ledger.rename(2, "theirs!")
    assert ledger.stored == []
    assert (await ledger.accounts.require(2)).name == "n2"
