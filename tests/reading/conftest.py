"""Authors and their books on the servers, new for each test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from repocache.testing import Endpoints, Servers
from tests.reading.library import make_library, open_library
from tests.shop import Shop


@pytest.fixture(scope="session")
def repocache_template(repocache_servers: Servers) -> str:
    name, primary = "library_template", repocache_servers.primary
    if not primary.sql(f"SELECT 1 FROM pg_database WHERE datname = '{name}'"):
        primary.create_database(name)
        asyncio.run(make_library(primary.url(database=name)))
    return name


@pytest.fixture
async def shop(repocache_endpoints: Endpoints) -> AsyncIterator[Shop]:
    async with open_library(repocache_endpoints) as shop:
        yield shop
