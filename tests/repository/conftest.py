"""A shop on the servers, new for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import func, update

from repocache.testing import Endpoints, Servers
from tests.shop import Shop, User, open_shop, shop_template


@pytest.fixture(scope="session")
def repocache_template(repocache_servers: Servers) -> str:
    return shop_template(repocache_servers)


@pytest.fixture
async def shop(repocache_endpoints: Endpoints) -> AsyncIterator[Shop]:
    async with open_shop(repocache_endpoints) as shop:
        yield shop


@pytest.fixture
async def still(tmp_path: Path) -> AsyncIterator[Shop]:
    """A shop without servers: for what is answered before any is asked."""
    async with open_shop(Endpoints(f"sqlite+aiosqlite:///{tmp_path}/still", (), "")) as shop:
        yield shop


@pytest.fixture
async def ties(shop: Shop) -> Shop:
    """A shop with many users of one age, and some of one age and name."""
    async with shop.db.sessionmaker() as session:
        await session.execute(
            update(User).values(age=User.id % 4, name=func.concat("n", User.id % 5))
        )
        await session.commit()
    return shop
