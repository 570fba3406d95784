"""A primary, its replicas and a Redis together, and what puts them right after a test has wrecked
them."""

import secrets
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import MappingProxyType

from repocache.testing.errors import ServerError
from repocache.testing.postgres import MAINTENANCE, PostgresServer
from repocache.testing.redis import RedisServer

Copy = Callable[[PostgresServer, PostgresServer], None]


@dataclass(frozen=True, slots=True)
class Layout:
    """What to start.

    `postgres` are settings, by default without fsync; `redis` are lines of its configuration file.
    A killed process loses nothing even so, only a machine without power would: `{"fsync": "on"}`
    gives it true costs.
    """

    replicas: int = 2
    postgres: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    redis: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The addresses that `Database(primary=..., replicas=..., redis=...)` takes."""

    primary: str = field(repr=False)
    replicas: tuple[str, ...] = field(repr=False)
    redis: str = field(repr=False)


class Servers:
    """A running primary with its replicas and a Redis. Every call blocks."""

    def __init__(
        self,
        primary: PostgresServer,
        replicas: tuple[PostgresServer, ...],
        redis: RedisServer,
        copy: Copy,
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
        self.await_position(self.primary.position())

    def await_position(self, position: int) -> None:
        """Wait until all replicas have replayed up to here. Raises ServerError after 30 s."""
        with ThreadPoolExecutor(max(1, len(self.replicas))) as threads:
            for waited in [threads.submit(each.await_position, position) for each in self.replicas]:
                waited.result()

    def rebuild(self, server: PostgresServer, primary: PostgresServer) -> None:
        """Throw a server's data away and make it a replica of that primary: the old one's lot after
        a failover."""
        server.thaw()
        server.stop()
        primary.drop_slot(server.name)
        self._copy(server, primary)
        server.start()
        server.await_streaming(primary)

    def mend(self) -> None:
        """Undo what controls did: the primary is one again, the replicas follow it and are level,
        Redis is empty.

        Data stay, and so does what `ALTER SYSTEM` set on replicas.
        """
        for postgres in (self.primary, *self.replicas):
            postgres.thaw()
            postgres.start()
        if self.primary.in_recovery:
            self.primary.promote()
        self.primary.sql("ALTER SYSTEM RESET ALL; SELECT pg_reload_conf()", MAINTENANCE)
        for replica in self.replicas:
            if not self._streams(replica):
                self.rebuild(replica, self.primary)
        self.catch_up()
        self.redis.kill()
        self.redis.start()
        self.redis.promote()
        self.redis.command("FLUSHALL")
        self.redis.snapshot()

    def _streams(self, replica: PostgresServer) -> bool:
        """Whether a replica follows the primary: not once promoted, turned to another, or ahead of
        it."""
        if not replica.in_recovery or replica.source_port != self.primary.port:
            return False
        replica.resume_replay()
        with suppress(ServerError):
            replica.await_streaming(self.primary, seconds=5)
            return True
        return False


@contextmanager
def fresh_endpoints(servers: Servers, template: str = "template1") -> Iterator[Endpoints]:
    """Addresses of a fresh database, on all servers already, and of an empty Redis."""
    name = f"repocache_{secrets.token_hex(6)}"
    servers.redis.clear()
    servers.primary.create_database(name, template)
    try:
        servers.catch_up()
        yield servers.endpoints(name)
    finally:
        servers.primary.drop_database(name)
