"""Docs of tenants on the servers, new for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from repocache.testing import Endpoints, Servers
from tests.scopes.by_schema.docs_of import make_docs, open_docs
from tests.shop import Shop, template


@pytest.fixture(scope="session")
def repocache_template(repocache_servers: Servers) -> str:
    return template(repocache_servers, "docs_template", make_docs)


@pytest.fixture
async def shop(repocache_endpoints: Endpoints) -> AsyncIterator[Shop]:
    async with open_docs(repocache_endpoints) as shop:
        yield shop


@pytest.fixture
async def other(repocache_endpoints: Endpoints, shop: Shop) -> AsyncIterator[Shop]:
    """Another process of the same application."""
    async with open_docs(repocache_endpoints) as other:
        yield other
