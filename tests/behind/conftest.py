"""Counters on the servers, new for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from repocache.testing import Endpoints, Servers
from tests.behind.counters import Counting, counting, make_counters
from tests.shop import template


@pytest.fixture(scope="session")
def repocache_template(repocache_servers: Servers) -> str:
    return template(repocache_servers, "counters_template", make_counters)


@pytest.fixture
async def one(repocache_endpoints: Endpoints) -> AsyncIterator[Counting]:
    async with counting(repocache_endpoints) as one:
        yield one


@pytest.fixture
async def other(repocache_endpoints: Endpoints, one: Counting) -> AsyncIterator[Counting]:
    """Another process of the same application."""
    async with counting(repocache_endpoints) as other:
        yield other
