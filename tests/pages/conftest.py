"""A site on the servers, new for each test, and another process of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from repocache.testing import Endpoints, Servers
from tests.pages.site import Site, open_site
from tests.responses.catalog import make_catalog
from tests.shop import template


@pytest.fixture(scope="session")
def repocache_template(repocache_servers: Servers) -> str:
    return template(repocache_servers, "catalog_template", make_catalog)


@pytest.fixture
async def site(repocache_endpoints: Endpoints) -> AsyncIterator[Site]:
    async with open_site(repocache_endpoints) as site:
        yield site


@pytest.fixture
async def client(site: Site) -> AsyncIterator[httpx.AsyncClient]:
    async with site.client() as client:
        yield client


@pytest.fixture
async def other(repocache_endpoints: Endpoints, site: Site) -> AsyncIterator[Site]:
    async with open_site(repocache_endpoints) as other:
        yield other
