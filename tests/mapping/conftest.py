"""One engine for each database, and the models' tables in it."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from sqlalchemy import MetaData, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from repocache.testing import Endpoints

MakeTables = Callable[[MetaData], Awaitable[AsyncEngine]]


@pytest.fixture
async def postgres(repocache_endpoints: Endpoints) -> AsyncIterator[MakeTables]:
    """Makes tables in an empty PostgreSQL database and gives its engine."""
    engine = create_async_engine(repocache_endpoints.primary)

    async def make(metadata: MetaData) -> AsyncEngine:
        async with engine.begin() as connection:
            await connection.execute(text("CREATE EXTENSION IF NOT EXISTS hstore"))
            await connection.execute(text("CREATE EXTENSION IF NOT EXISTS citext"))
            await connection.run_sync(metadata.create_all)
        # A connection looks for the types of extensions when it is new.
        await engine.dispose()
        return engine

    yield make
    await engine.dispose()


@pytest.fixture
async def sqlite() -> AsyncIterator[MakeTables]:
    """Makes tables in an empty SQLite database in memory and gives its engine."""
    engine = create_async_engine("sqlite+aiosqlite://")

    async def make(metadata: MetaData) -> AsyncEngine:
        async with engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
        return engine

    yield make
    await engine.dispose()


@pytest.fixture(params=["postgres", "sqlite"])
def make_tables(request: pytest.FixtureRequest) -> MakeTables:
    """On both databases."""
    make: MakeTables = request.getfixturevalue(request.param)
    return make
