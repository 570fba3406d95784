"""The servers together: what a test is given, and what it finds mended after another has wrecked it."""

from repocache.testing import Endpoints, Servers


def test_what_the_primary_commits_reaches_every_replica(repocache_servers: Servers) -> None:
    repocache_servers.primary.sql("DROP TABLE IF EXISTS seen; CREATE TABLE seen AS SELECT 7 AS id")
    repocache_servers.catch_up()
    assert [replica.sql("SELECT id FROM seen") for replica in repocache_servers.replicas] == [
        [("7",)],
        [("7",)],
    ]


def test_a_failover_is_mended(repocache_controls: Servers) -> None:
    primary, (first, second) = repocache_controls.primary, repocache_controls.replicas
    primary.kill()
    first.promote()
    second.follow(first)
    repocache_controls.rebuild(primary, first)
    first.sql("CREATE TABLE of_the_new_history (id int)")
    repocache_controls.mend()
    assert [server.in_recovery for server in (primary, first, second)] == [False, True, True]
    assert second.source_port == primary.port


def test_a_database_is_there_on_all_servers(repocache_endpoints: Endpoints, repocache_servers: Servers) -> None:
    name = repocache_endpoints.primary.rpartition("/")[2]
    for server in (repocache_servers.primary, *repocache_servers.replicas):
        assert server.sql("SELECT current_database()", name) == [(name,)]
