"""A shop on the servers, new for each test, and writes that nobody hears of."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from repocache.testing import Endpoints, Servers
from tests.shop import Shop, open_shop, shop_template

Outside = Callable[..., Awaitable[None]]


@pytest.fixture(scope="session")
def repocache_template(repocache_servers: Servers) -> str:
    return shop_template(repocache_servers)


@pytest.fixture
async def shop(repocache_endpoints: Endpoints) -> AsyncIterator[Shop]:
    async with open_shop(repocache_endpoints) as shop:
        yield shop


@pytest.fixture
async def outside(repocache_endpoints: Endpoints) -> AsyncIterator[Outside]:
    """Gives a user another name, unknown to the library."""
    engine = create_async_engine(repocache_endpoints.primary)

    async def rename(*ids: int, name: str) -> None:
        async with engine.begin() as connection:
            await connection.execute(
                text("UPDATE users SET name = :name WHERE id = ANY(:ids)"),
                {"name": name, "ids": list(ids)},
            )

    yield rename
    await engine.dispose()
