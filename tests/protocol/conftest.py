"""One database for all tests here, with the rows of each made anew."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from repocache.testing import Endpoints, Servers
from tests.protocol.world import ROWS, SCHEMA

DATABASE = "repocache_protocol"


@pytest.fixture(scope="module")
def protocol_database(repocache_servers: Servers) -> Iterator[str]:
    primary = repocache_servers.primary
    primary.drop_database(DATABASE)
    primary.create_database(DATABASE)
    primary.sql(SCHEMA, DATABASE)
    yield DATABASE
    primary.drop_database(DATABASE)


@pytest.fixture
def repocache_endpoints(repocache_servers: Servers, protocol_database: str) -> Endpoints:
    repocache_servers.primary.sql(ROWS, protocol_database)
    repocache_servers.redis.clear()
    repocache_servers.catch_up()
    return repocache_servers.endpoints(protocol_database)
