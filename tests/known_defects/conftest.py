"""Two processes of the shop, new for each test, on one database whose rows are put back before
each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from repocache.testing import Endpoints, Servers
from tests.known_defects.shops import PATIENT
from tests.shop import Shop, in_rotation, open_shop, shop_template

DATABASE = "repocache_peers"
KEEP = """
CREATE SCHEMA kept;
CREATE TABLE kept.users AS TABLE users;
CREATE TABLE kept.orders AS TABLE orders;
"""
PUT_BACK = """
BEGIN;
DROP SEQUENCE IF EXISTS calls;
ALTER TABLE users DROP CONSTRAINT IF EXISTS one_name;
TRUNCATE users, orders;
INSERT INTO users SELECT * FROM kept.users;
INSERT INTO orders SELECT * FROM kept.orders;
COMMIT;
"""


@pytest.fixture(scope="session")
def repocache_template(repocache_servers: Servers) -> str:
    return shop_template(repocache_servers)


@pytest.fixture(scope="session")
def database(repocache_servers: Servers, repocache_template: str) -> Iterator[str]:
    """Name of the database of all tests here."""
    primary = repocache_servers.primary
    primary.drop_database(DATABASE)
    primary.create_database(DATABASE, repocache_template)
    primary.sql(KEEP, DATABASE)
    yield DATABASE
    primary.drop_database(DATABASE)


@pytest.fixture
def repocache_endpoints(repocache_servers: Servers, database: str) -> Endpoints:
    repocache_servers.primary.sql(PUT_BACK, database)
    repocache_servers.redis.clear()
    repocache_servers.catch_up()
    return repocache_servers.endpoints(database)


@pytest.fixture
async def shop(repocache_endpoints: Endpoints) -> AsyncIterator[Shop]:
    async with open_shop(repocache_endpoints, PATIENT) as shop:
        await in_rotation(shop)
        yield shop


@pytest.fixture
async def other(repocache_endpoints: Endpoints) -> AsyncIterator[Shop]:
    """Another process on the same servers."""
    async with open_shop(repocache_endpoints, PATIENT) as other:
        await in_rotation(other)
        yield other
