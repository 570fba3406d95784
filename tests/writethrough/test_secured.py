"""Values that a connection decides, by row-level security or by a function, are not stored, or not
cached at all."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest
from sqlalchemy import String, func, literal, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, column_property, mapped_column

from repocache import CacheAside, Database, KeyOwner, MappingOptions, Repository, WriteThrough
from repocache.errors import MappingRefused
from repocache.events import Degraded, Event, Stored
from repocache.testing import Endpoints, Servers
from tests.writethrough.ledger import STILL, Account, Accounts, Ledger, LineId


async def test_row_level_security_that_comes_later_stores_nothing(
    ledger: Ledger, repocache_servers: Servers, ledger_database: str
) -> None:
    await ledger.settle(Accounts, 2)
    sql = repocache_servers.primary.sql
    await asyncio.to_thread(sql, SECURE, ledger_database)
    try:
        async with ledger.db.unit_of_work() as work:
            await work.session.execute(text("SELECT set_config('app.tenant', 'a', true)"))
            (await work[Accounts].require(2)).name = "a's secret"
            await work.commit()
        assert ledger.stored == []
        assert await ledger.accounts.get(2) is None
        assert await ledger.accounts.find(Account.id == 2) == []
    finally:
        await asyncio.to_thread(sql, OPEN, ledger_database)


SECURE = """
ALTER TABLE account ENABLE ROW LEVEL SECURITY; ALTER TABLE account FORCE ROW LEVEL SECURITY;
CREATE POLICY mine ON account USING (current_setting('app.tenant', true) = 'a');
"""
OPEN = """
DROP POLICY IF EXISTS mine ON account; ALTER TABLE account DISABLE ROW LEVEL SECURITY;
ALTER TABLE account NO FORCE ROW LEVEL SECURITY;
"""


class Tenants(DeclarativeBase):
    pass


class Told(Tenants):
    """A value that the connection decides."""

    __tablename__ = "price"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    amount: Mapped[int]
    tenant: Mapped[str | None] = column_property(
        func.current_setting("app.tenant", literal(value=True), type_=String)
    )


class Tolds(Repository[Told, int]):
    owner = KeyOwner("told")
    policy = WriteThrough(ttl=60)
    mapping = MappingOptions(derived=("tenant",))


async def test_a_value_that_the_connection_decides_is_not_stored(
    repocache_endpoints: Endpoints,
) -> None:
    seen: list[Event] = []
    settings = dataclasses.replace(STILL, observe=seen.append)
    ends = repocache_endpoints
    async with Database(
        ends.primary, redis=ends.redis, repositories=[Tolds], settings=settings
    ) as db:
        [told] = [
            event.what for event in seen if isinstance(event, Degraded) and "'told'" in event.what
        ]
        assert "write-through of 'told': a column calls current_setting" in told
        assert (await db[Tolds].require(2)).tenant in {None, ""}
        async with db.unit_of_work() as work:
            await work.session.execute(text("SELECT set_config('app.tenant', 'a', true)"))
            (await work[Tolds].require(2)).amount = 3
            await work.commit()
        told_to_all = await db[Tolds].require(2)
        assert (told_to_all.amount, told_to_all.tenant or "") == (3, "")
        assert not [event for event in seen if isinstance(event, Stored)]


class Counting(Tenants):
    __tablename__ = "line"
    account: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


Counting.accounts = column_property(select(func.count(Account.id)).scalar_subquery())


class Countings(Repository[Counting, LineId]):
    owner = KeyOwner("counting", follows=())
    policy = CacheAside(ttl=60)
    mapping = MappingOptions(derived=("accounts",))


class CachedAside(Repository[Account, int]):
    owner = KeyOwner("aside")
    policy = CacheAside(ttl=60)


@pytest.mark.parametrize("repository", [Accounts, CachedAside, Countings])
@pytest.mark.parametrize(
    "secured", [SECURE, "ALTER TABLE account ENABLE ROW LEVEL SECURITY"], ids=["forced", "owner's"]
)
async def test_a_table_with_row_level_security_is_refused_at_start(
    repocache_endpoints: Endpoints,
    repocache_servers: Servers,
    ledger_database: str,
    repository: type[Repository[Any, Any]],
    secured: str,
) -> None:
    sql = repocache_servers.primary.sql
    db = Database(
        repocache_endpoints.primary, redis=repocache_endpoints.redis, repositories=[repository]
    )
    await asyncio.to_thread(sql, secured, ledger_database)
    try:
        with pytest.raises(
            MappingRefused, match=r"account has row-level security.*repositories=.*work\.session"
        ):
            await db.__aenter__()
    finally:
        await asyncio.to_thread(sql, OPEN, ledger_database)
    async with db:
        assert await db[repository].count() > 0
