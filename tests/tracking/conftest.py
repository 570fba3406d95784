"""The shop on PostgreSQL and on SQLite."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.schema import CreateTable

from repocache.testing import Servers
from tests.tracking.library import TABLES, owned
from tests.tracking.shop import Base, Shop, opened, with_savepoints

DATABASE = "repocache_shop"
AT_COMMIT = """
CREATE FUNCTION at_commit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.title = 'slow' THEN
        PERFORM pg_sleep(60);
    ELSE
        RAISE EXCEPTION 'no' USING ERRCODE = NEW.title;
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON post DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.title = 'slow' OR NEW.title ~ '^[0-9A-Z]{5}$') EXECUTE FUNCTION
        at_commit()
"""
"""A post with the title "slow" makes COMMIT sleep; one whose title is an SQLSTATE makes it fail
with that."""


@pytest.fixture(scope="session")
def shop_url(repocache_servers: Servers) -> Iterator[str]:
    """A database with the shop's tables, for all tests: a copy for each would take most of their
    time."""
    tables = [CreateTable(table) for table in Base.metadata.sorted_tables]
    script = ";".join(str(each.compile(dialect=postgresql.dialect())) for each in tables)  # type: ignore[no-untyped-call]
    primary = repocache_servers.primary
    primary.create_database(DATABASE)
    primary.sql(f"SET ROLE app; {script}; {AT_COMMIT}", DATABASE)
    yield primary.url(database=DATABASE)
    primary.drop_database(DATABASE)


@pytest.fixture
async def postgres(shop_url: str) -> AsyncIterator[Shop]:
    engine = create_async_engine(shop_url)
    async with engine.begin() as connection:
        names = ", ".join(table.name for table in Base.metadata.sorted_tables)
        await connection.execute(text(f"TRUNCATE {names} RESTART IDENTITY"))
    async with opened(engine) as shop:
        yield shop


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[Shop]:
    path = tmp_path / "shop.db"
    blocking = create_engine(f"sqlite:///{path}")
    Base.metadata.create_all(blocking)
    blocking.dispose()
    engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
    with_savepoints(engine)
    async with opened(engine) as shop:
        yield shop


@pytest.fixture(params=["postgres", "sqlite"])
def shop(request: pytest.FixtureRequest) -> Shop:
    """On both databases."""
    found: Shop = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="session")
def library_urls(repocache_servers: Servers) -> Iterator[list[str]]:
    """The oracle's database, and one beside it that nobody watches."""
    tables = [CreateTable(table) for table in TABLES]
    script = ";".join(str(each.compile(dialect=postgresql.dialect())) for each in tables)  # type: ignore[no-untyped-call]
    primary, names = repocache_servers.primary, ("repocache_watched", "repocache_plain")
    for name in names:
        primary.create_database(name)
        primary.sql(f"SET ROLE app; {script}", name)
    yield [primary.url(database=name) for name in names]
    for name in names:
        primary.drop_database(name)


@pytest.fixture
async def library(library_urls: list[str]) -> AsyncIterator[Shop]:
    """The oracle's tables by themselves, empty."""
    engine = create_async_engine(library_urls[0])
    async with engine.begin() as connection:
        await connection.execute(
            text(f"TRUNCATE {', '.join(table.name for table in TABLES)} RESTART IDENTITY")
        )
    async with opened(engine, owned()) as shop:
        yield shop
