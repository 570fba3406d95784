"""A primary, its replicas and a Redis together: what a test or a demo starts, and what it puts right afterwards."""

import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from types import MappingProxyType

from repocache.testing.binaries import find_postgres, find_redis, place_postgres, place_redis
from repocache.testing.errors import ServerError
from repocache.testing.folder import RunFolder
from repocache.testing.postgres import MAINTENANCE, Access, Credentials, PostgresServer
from repocache.testing.postmaster import SUPERUSER, Postmaster, Site
from repocache.testing.process import Account, await_condition
from repocache.testing.redis import RedisLogin, RedisProcess, RedisServer, RedisSite

APP = "app"


@dataclass(frozen=True, slots=True)
class Layout:
    """What to start: replicas, settings of PostgreSQL (`{"fsync": "on"}` for crash tests), lines of Redis's configuration."""

    replicas: int = 2
    postgres: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    redis: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The addresses that `Database(primary=..., replicas=..., redis=...)` takes."""

    primary: str
    replicas: tuple[str, ...]
    redis: str


class Servers:
    """A running primary with its replicas and a Redis. Every call blocks."""

    def __init__(
        self,
        primary: PostgresServer,
        replicas: tuple[PostgresServer, ...],
        redis: RedisServer,
        copy: Callable[[PostgresServer, PostgresServer], None],
    ) -> None:
        self.primary = primary
        self.replicas = replicas
        self.redis = redis
        self._copy = copy

    def endpoints(self, database: str = "") -> Endpoints:
        """Addresses of one database, the usual one by default, for the ordinary role."""
        replicas = tuple(replica.url(database=database) for replica in self.replicas)
        return Endpoints(self.primary.url(database=database), replicas, self.redis.url)

    def catch_up(self) -> None:
        """Wait until all replicas have replayed what the primary has written until now."""
        position = self.primary.position()
        for replica in self.replicas:
            replica.await_position(position)

    def rebuild(self, server: PostgresServer, primary: PostgresServer) -> None:
        """Throw a server's data away and make it a replica of that primary: what is done after a failover with the old one."""
        server.thaw()
        server.stop()
        slot = f"slot_name = '{server.name}'"
        await_condition(
            lambda: (
                not primary.sql(f"SELECT 1 FROM pg_replication_slots WHERE active AND {slot}", MAINTENANCE)
            ),
            f"{primary.name} has noticed the end of {server.name}",
        )
        primary.sql(
            f"SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE {slot}", MAINTENANCE
        )
        self._copy(server, primary)
        server.start()
        server.await_streaming(primary)

    def mend(self) -> None:
        """Undo what controls did: all run, the primary is the primary, replicas stream from it and have caught up."""
        for postgres in (self.primary, *self.replicas):
            postgres.thaw()
            postgres.start()
        self.redis.thaw()
        self.redis.start()
        self.redis.promote()
        if self.primary.in_recovery:
            self.primary.promote()
        for replica in self.replicas:
            if replica.in_recovery and replica.source_port == self.primary.port:
                replica.resume_replay()
                with suppress(ServerError):
                    replica.await_streaming(self.primary, seconds=5)
                    continue
            # Promoted, or turned to another primary, or of another history: its data is of no use any more.
            self.rebuild(replica, self.primary)
        self.catch_up()


@contextmanager
def embedded_servers(layout: Layout | None = None) -> Iterator[Servers]:
    """Start servers of our own, stop them at the end, and on every way there: a failure, an exit, a SIGKILL.

    Blocks for about 3 s. Programs are found by `REPOCACHE_TEST_PG_BIN` and `REPOCACHE_TEST_REDIS_BIN`, else in wheels, else
    in the system. Raises ServerError.
    """
    layout = layout or Layout()
    account = Account.unprivileged()
    password = secrets.token_urlsafe(18)
    access = Access(Credentials(APP, password), Credentials(SUPERUSER, password), APP, "")
    with ExitStack() as stack:
        folder = stack.enter_context(RunFolder(account))
        binaries = place_postgres(find_postgres(os.environ), folder, account)
        program = place_redis(find_redis(os.environ), folder, account)
        access = Access(access.app, access.postgres, APP, binaries.tool("psql"))
        redis = RedisProcess(RedisSite(program, folder, account, password, layout.redis), "redis")
        stack.callback(redis.stop)
        redis.start()
        site = Site(binaries, folder, account, password)
        primary = Postmaster(site, "primary")
        stack.callback(primary.stop)
        primary.create(layout.postgres)
        primary.start()
        source = PostgresServer("primary", primary, access)
        source.sql(
            f"CREATE ROLE {APP} LOGIN PASSWORD '{password}'; CREATE DATABASE {APP} OWNER {APP}", MAINTENANCE
        )
        postmasters = {"primary": primary}
        replicas = []
        for number in range(1, layout.replicas + 1):
            name = f"replica{number}"
            postmasters[name] = replica = Postmaster(site, name)
            stack.callback(replica.stop)
            replica.copy(primary, name)
            replica.start()
            replicas.append(PostgresServer(name, replica, access))
        for server in replicas:
            server.await_streaming(source)

        def copy(server: PostgresServer, primary: PostgresServer) -> None:
            postmasters[server.name].copy(postmasters[primary.name], server.name)

        yield Servers(source, tuple(replicas), RedisServer("redis", redis, RedisLogin(password)), copy)
