"""A catalogue on the servers, new for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from repocache.testing import Endpoints, Servers
from tests.responses.catalog import make_catalog, open_catalog
from tests.shop import Shop, template


@pytest.fixture(scope="session")
def repocache_template(repocache_servers: Servers) -> str:
    return template(repocache_servers, "catalog_template", make_catalog)


@pytest.fixture
async def catalog(repocache_endpoints: Endpoints) -> AsyncIterator[Shop]:
    async with open_catalog(repocache_endpoints) as shop:
        yield shop


@pytest.fixture
async def other(repocache_endpoints: Endpoints, catalog: Shop) -> AsyncIterator[Shop]:
    """Another process of the same application."""
    async with open_catalog(repocache_endpoints) as other:
        yield other
