"""The servers together: what a test is given, and what it finds mended after another has wrecked
it."""

import sys
from pathlib import Path

import pytest

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


def test_a_pause_is_mended(repocache_controls: Servers) -> None:
    repocache_controls.replicas[0].pause_replay()
    repocache_controls.primary.sql("DROP TABLE IF EXISTS late; CREATE TABLE late AS SELECT 7 AS id")
    repocache_controls.mend()
    assert repocache_controls.replicas[0].sql("SELECT id FROM late") == [("7",)]


def test_frozen_and_crashed_servers_are_mended(repocache_controls: Servers) -> None:
    primary, (first, second), redis = (
        repocache_controls.primary,
        repocache_controls.replicas,
        repocache_controls.redis,
    )
    redis.command("SET", "left", 1)
    redis.command("CONFIG", "SET", "maxmemory", "20mb")
    redis.snapshot()
    primary.sql("ALTER SYSTEM SET work_mem = '8MB'; SELECT pg_reload_conf()")
    for server in (primary, first, redis):
        server.freeze()
    second.kill()
    repocache_controls.mend()
    assert primary.sql("SHOW work_mem") == [("4MB",)]
    assert first.sql("SELECT 7") == second.sql("SELECT 7") == [("7",)]
    redis.restart()
    assert redis.command("DBSIZE") == 0
    assert redis.command("CONFIG", "GET", "maxmemory") == ["maxmemory", "0"]


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_rebuilt_server_leaves_no_shared_memory(repocache_controls: Servers) -> None:
    replica = repocache_controls.replicas[0]
    ((data,),) = replica.sql("SHOW data_directory")
    key, number = (Path(data) / "postmaster.pid").read_text().splitlines()[6].split()
    segment = f"{key:>10} {number:>10}"
    assert segment in Path("/proc/sysvipc/shm").read_text()
    replica.kill()
    repocache_controls.rebuild(replica, repocache_controls.primary)
    assert segment not in Path("/proc/sysvipc/shm").read_text()


def test_a_database_is_there_on_all_servers(
    repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    name = repocache_endpoints.primary.rpartition("/")[2]
    for server in (repocache_servers.primary, *repocache_servers.replicas):
        assert server.sql("SELECT current_database()", name) == [(name,)]
