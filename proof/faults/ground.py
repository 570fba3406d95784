"""The servers of a run, and who plays which part: a failover changes that. Every call blocks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from proof.faults.items import ROWS, SCHEMA
from repocache.alembic_ops.ddl import create_outbox, create_trigger, drop_trigger
from repocache.testing import (
    Layout,
    RedisServer,
    ServerError,
    Servers,
    embedded_servers,
    redis_group,
)
from repocache.testing.postgres import MAINTENANCE

RECEIVED = "SELECT greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) - '0/0'"
ROOMY = Layout(postgres={"max_connections": "400"})
"""For the pools of all workers, and what a silent link has not let go of yet."""
LEAP = 1000
"""Versions that a failover leaves out, so that they only grow though commits were lost."""


class Ground:
    """`servers.primary`, `servers.replicas` and `servers.redis` are those that play the part now;
    `spare` is the replica of the Redis."""

    def __init__(self, servers: Servers, spare: RedisServer) -> None:
        self.servers = servers
        self.spare = spare

    def watch(self, *, watched: bool) -> None:
        """Put the trigger on the table, or take it off."""
        statements = [
            each.replace("DROP TRIGGER", "DROP TRIGGER IF EXISTS")
            for each in drop_trigger("item", "public")
        ]
        if watched:
            statements += create_trigger("item", "public", "public", ())
        self.servers.primary.sql(";".join(statements))
        self.servers.catch_up()

    def lose_redis(self) -> None:
        """The master dies, and its replica, which lacks what it was told lately, takes its
        place."""
        servers = self.servers
        servers.redis.kill()
        self.spare.promote()
        self.spare.resume_replication()
        servers.redis, self.spare = self.spare, servers.redis

    def follow_redis(self) -> None:
        """The old one comes back, empty, and follows the new one."""
        self.spare.start()
        self.spare.replica_of(self.servers.redis)

    def lose_primary(self, token: str) -> tuple[int, dict[int, int]]:
        """The primary dies, and the replica that has received most takes its place; which one by
        its place among them, and the versions with which the rows go on under this token. What no
        replica had received is lost."""
        primary = self.servers.primary
        primary.freeze()  # a receiver that lost its sender forgets how far it was
        at = self._furthest()
        primary.kill()
        return at, self._promote(at, token)

    def leave_primary(self, token: str) -> tuple[int, dict[int, int]]:
        """The same, but the old primary lives on, and who is connected to it may go on with it."""
        at = self._furthest()
        return at, self._promote(at, token)

    def _furthest(self) -> int:
        received = (replica.sql(RECEIVED, MAINTENANCE) for replica in self.servers.replicas)
        positions = [int(position or 0) for ((position,),) in received]
        return positions.index(max(positions))

    def _promote(self, at: int, token: str) -> dict[int, int]:
        servers = self.servers
        chosen, other = servers.replicas[at], servers.replicas[1 - at]
        chosen.promote()
        chosen.sql(f"SELECT pg_create_physical_replication_slot('{other.name}', true)", MAINTENANCE)
        chosen.sql(f"UPDATE item SET version = version + {LEAP}, token = '{token}'")
        versions = {
            int(id): int(version) for id, version in chosen.sql("SELECT id, version FROM item")
        }
        lost, servers.primary = servers.primary, chosen
        servers.replicas = (lost, other) if at == 0 else (other, lost)
        return versions

    def follow_primary(self) -> None:
        """All others get what the new primary writes. The old one is made anew, and one that had
        received more of the old one's than the new primary had."""
        servers = self.servers
        # Far beyond what the old one had written.
        servers.primary.sql("SELECT pg_switch_wal()", MAINTENANCE)
        position = servers.primary.position()
        for replica in servers.replicas:
            try:
                replica.await_position(position, seconds=3.0)
            except ServerError:
                servers.rebuild(replica, servers.primary)

    def mend(self) -> None:
        """Whatever was done to whom: all follow those who lead now."""
        for server in (self.servers.primary, *self.servers.replicas):
            server.thaw()
            server.start()
        self.follow_primary()
        self.servers.mend()
        self.spare.thaw()
        self.spare.start()
        self.spare.resume_replication()
        self.spare.replica_of(self.servers.redis)


@contextmanager
def ground() -> Iterator[Ground]:
    """Servers of our own, with the rows and the outbox."""
    with embedded_servers(ROOMY) as servers, redis_group(replicas=1, sentinels=0) as group:
        servers.redis = group.servers[0]
        servers.primary.sql("GRANT pg_read_all_stats TO app")
        servers.primary.sql(";".join([SCHEMA, ROWS, *create_outbox("public", ("app",))]))
        servers.catch_up()
        yield Ground(servers, group.servers[1])
