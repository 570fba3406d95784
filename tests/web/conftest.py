"""A shop behind a web application, new for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from repocache import Settings
from repocache.testing import Endpoints, Servers
from tests.shop import QUICK, Shop, in_rotation, make_shop, open_shop, shop_template

SETTINGS = Settings(topology=QUICK, secrets=("a secret of the shop's",))


@pytest.fixture(scope="session")
def repocache_template(repocache_servers: Servers) -> str:
    return shop_template(repocache_servers)


@pytest.fixture
async def shop(repocache_endpoints: Endpoints) -> AsyncIterator[Shop]:
    async with open_shop(repocache_endpoints, SETTINGS) as shop:
        await in_rotation(shop)
        yield shop


@pytest.fixture
async def other(repocache_endpoints: Endpoints, shop: Shop) -> AsyncIterator[Shop]:
    """The same shop in another process, as it were."""
    async with open_shop(repocache_endpoints, SETTINGS) as other:
        await in_rotation(other)
        yield other


@pytest.fixture
async def still(tmp_path: Path) -> AsyncIterator[Shop]:
    """A shop in a file of SQLite, with no replica and no Redis."""
    url = f"sqlite+aiosqlite:///{tmp_path}/shop"
    await make_shop(url)
    async with open_shop(Endpoints(url, (), "")) as shop:
        yield shop
