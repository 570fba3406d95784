"""Two processes of the shop on the servers, new for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from repocache.testing import Endpoints, Servers
from tests.peers.shops import PATIENT
from tests.shop import Shop, open_shop, shop_template


@pytest.fixture(scope="session")
def repocache_template(repocache_servers: Servers) -> str:
    return shop_template(repocache_servers)


@pytest.fixture
async def shop(repocache_endpoints: Endpoints) -> AsyncIterator[Shop]:
    async with open_shop(repocache_endpoints, PATIENT) as shop:
        yield shop


@pytest.fixture
async def other(repocache_endpoints: Endpoints) -> AsyncIterator[Shop]:
    """Another process on the same servers."""
    async with open_shop(repocache_endpoints, PATIENT) as other:
        yield other


@pytest.fixture
def database(repocache_endpoints: Endpoints) -> str:
    """Name of the test's database."""
    return repocache_endpoints.primary.rpartition("/")[2]
