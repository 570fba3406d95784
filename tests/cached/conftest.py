"""A library on the servers, new for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from repocache.testing import Endpoints, Servers
from tests.cached.library import make_library, open_library
from tests.shop import Shop, template


@pytest.fixture(scope="session")
def repocache_template(repocache_servers: Servers) -> str:
    return template(repocache_servers, "books_template", make_library)


@pytest.fixture
async def library(repocache_endpoints: Endpoints) -> AsyncIterator[Shop]:
    async with open_library(repocache_endpoints) as shop:
        yield shop


@pytest.fixture
async def other(repocache_endpoints: Endpoints, library: Shop) -> AsyncIterator[Shop]:
    """Another process of the same application."""
    async with open_library(repocache_endpoints) as other:
        yield other
