"""One database with the ledger's tables, its rows made anew for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from repocache.testing import Endpoints, Servers
from tests.writethrough.ledger import ROWS, SCHEMA, Ledger, open_ledger

DATABASE = "repocache_ledger"


@pytest.fixture(scope="module")
def ledger_database(repocache_servers: Servers) -> Iterator[str]:
    primary = repocache_servers.primary
    primary.drop_database(DATABASE)
    primary.create_database(DATABASE)
    primary.sql(SCHEMA, DATABASE)
    yield DATABASE
    primary.drop_database(DATABASE)


@pytest.fixture
def repocache_endpoints(repocache_servers: Servers, ledger_database: str) -> Endpoints:
    repocache_servers.primary.sql(ROWS, ledger_database)
    repocache_servers.redis.clear()
    repocache_servers.catch_up()
    return repocache_servers.endpoints(ledger_database)


@pytest.fixture
async def ledger(repocache_endpoints: Endpoints) -> AsyncIterator[Ledger]:
    async with open_ledger(repocache_endpoints) as opened:
        yield opened


@pytest.fixture
async def other(repocache_endpoints: Endpoints) -> AsyncIterator[Ledger]:
    """Another process."""
    async with open_ledger(repocache_endpoints) as opened:
        yield opened
