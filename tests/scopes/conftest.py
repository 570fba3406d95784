"""Papers of tenants on the servers, new for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from repocache.testing import Endpoints, Servers
from tests.scopes.papers_of import make_papers, open_papers
from tests.shop import Shop, template


@pytest.fixture(scope="session")
def repocache_template(repocache_servers: Servers) -> str:
    return template(repocache_servers, "papers_template", make_papers)


@pytest.fixture
async def shop(repocache_endpoints: Endpoints) -> AsyncIterator[Shop]:
    async with open_papers(repocache_endpoints) as shop:
        yield shop


@pytest.fixture
async def other(repocache_endpoints: Endpoints, shop: Shop) -> AsyncIterator[Shop]:
    """Another process of the same application."""
    async with open_papers(repocache_endpoints) as other:
        yield other
