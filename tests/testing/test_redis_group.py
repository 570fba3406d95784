"""A group of Redis servers under sentinels, as tests get it."""

from __future__ import annotations

from repocache.testing import redis_group
from repocache.testing.process import await_condition


def test_a_replica_that_was_cut_off_lacks_what_came_after_until_it_is_let_in_again() -> None:
    with redis_group(sentinels=0) as group:
        master, replica = group.servers
        master.command("SET", "early", "x")
        replica.catch_up(master)
        replica.pause_replication()
        master.command("SET", "late", "x")
        assert (replica.command("GET", "early"), replica.command("GET", "late")) == ("x", None)
        replica.resume_replication()
        await_condition(lambda: replica.command("GET", "late") == "x", "it has been let in")


def test_sentinels_agree_on_the_new_master_and_write_down_what_they_know() -> None:
    with redis_group(sentinels=2) as group:
        old = group.servers[0]
        assert group.master is old
        assert [group.url.count(str(sentinel.port)) for sentinel in group.sentinels] == [1, 1]
        old.kill()
        new = group.await_failover(old)
        group.sentinels[0].restart()
        assert group.master is new
