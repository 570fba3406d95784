"""One database for all tests here, with the rows of each made anew."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from proof.protocol.items import ROWS, SCHEMA, STRANGER
from repocache.testing import Endpoints, Layout, RedisServer, Servers, embedded_servers, redis_group

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


@pytest.fixture(scope="module")
def promoted_servers() -> Iterator[Servers]:
    """Servers whose two replicas were both promoted: what a failover that went wrong leaves
    behind."""
    with embedded_servers() as servers:
        servers.primary.sql(SCHEMA)
        servers.catch_up()
        for replica in servers.replicas:
            replica.promote()
        yield servers


@pytest.fixture
def torn_servers(promoted_servers: Servers) -> Servers:
    for replica in promoted_servers.replicas:
        replica.sql(ROWS)
    promoted_servers.redis.clear()
    return promoted_servers


@pytest.fixture(scope="module")
def surviving_servers() -> Iterator[Servers]:
    """Servers whose replica was promoted, while the primary lives on: what nobody fenced."""
    with embedded_servers(Layout(replicas=1)) as servers:
        servers.primary.sql(SCHEMA)
        servers.catch_up()
        servers.replicas[0].promote()
        yield servers


@pytest.fixture
def survived_servers(surviving_servers: Servers) -> Servers:
    """Both have version 1 of all rows; processes take the old primary for the primary unless told
    otherwise."""
    for server in (surviving_servers.primary, *surviving_servers.replicas):
        server.sql(f"{ROWS} INSERT INTO item VALUES ({STRANGER}, 1)")
    surviving_servers.redis.clear()
    return surviving_servers


@pytest.fixture
def turned_servers() -> Iterator[Servers]:
    """Servers of one test alone, whose replicas it promotes and turns to another primary. The role
    sees which timeline a replica receives."""
    with embedded_servers() as servers:
        servers.primary.sql(SCHEMA + "GRANT pg_read_all_stats TO app;")
        servers.primary.sql(ROWS)
        servers.catch_up()
        yield servers


class PairedServers(Servers):
    """`redis_replica`: in step with `redis`."""

    def __init__(self, servers: Servers, redis: RedisServer, replica: RedisServer) -> None:
        super().__init__(servers.primary, servers.replicas, redis, servers._copy)
        self.redis_replica = replica


@pytest.fixture
def paired_servers(repocache_servers: Servers) -> Iterator[Servers]:
    with redis_group(sentinels=0) as group:
        yield PairedServers(repocache_servers, *group.servers)
