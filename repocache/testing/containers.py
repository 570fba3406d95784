"""The same servers in containers: the optional path, chosen by `REPOCACHE_TEST_SERVERS=containers`.

A plugin of its own, loaded only then, since it needs testcontainers; also Docker with host
networking, and a local `psql`. Images can be named by `REPOCACHE_TEST_POSTGRES_IMAGE` and
`REPOCACHE_TEST_REDIS_IMAGE`.
"""

import os
import secrets
import shlex
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from testcontainers.core.container import DockerContainer  # type: ignore[import-not-found, unused-ignore]

from repocache.testing.binaries import find_psql
from repocache.testing.embedded import APP, make_app
from repocache.testing.errors import ServerError
from repocache.testing.local_machine import HOST
from repocache.testing.ports import free_port
from repocache.testing.postgres import MAINTENANCE, Credentials, PostgresServer, ServerAccess
from repocache.testing.postgres_folder import SETTINGS, SUPERUSER
from repocache.testing.process import await_condition
from repocache.testing.redis import RedisLogin, RedisServer
from repocache.testing.redis_folder import SETTINGS as REDIS_SETTINGS
from repocache.testing.topology import Layout, Servers

POSTGRES_IMAGE = "postgres:18"
REDIS_IMAGE = "valkey/valkey:9"
SECONDS_TO_STOP = 10


class ContainerMachine:
    """A container on the host's network, which runs a shell script with `$DATA`, `$PORT` and
    `$PGPASSWORD`."""

    host = HOST

    def __init__(self, name: str, image: str, password: str) -> None:
        self.name = name
        self.port = free_port()
        self._stack = ExitStack()
        self._container: Any = None
        self._image = image
        self._variables = {"DATA": f"/tmp/{name}", "PORT": str(self.port), "PGPASSWORD": password}  # noqa: S108

    def make(self, script: str, ask: Callable[[], object]) -> None:
        """Start anew, without the data of before; `ask` raises until the server answers."""
        self.remove()
        container = DockerContainer(self._image).with_command([script])
        container.with_kwargs(network_mode="host", entrypoint=["sh", "-ec"], user="nobody")
        for name, value in self._variables.items():
            container.with_env(name, value)
        self._ask = ask
        self._container = self._stack.enter_context(container).get_wrapped_container()
        self.start()

    def remove(self) -> None:
        """End the container and forget its data."""
        self._stack.close()

    @property
    def pid(self) -> int:
        if not self._running():
            raise ServerError(f"{self.name} does not run")
        return int(self._container.attrs["State"]["Pid"])

    def start(self) -> None:
        if not self._running():
            self._container.start()
        await_condition(self._answers, f"{self.name} accepts connections")

    def stop(self) -> None:
        if self._running():
            self._container.stop(timeout=SECONDS_TO_STOP)

    def kill(self) -> None:
        if self._running():
            self._container.kill()
            await_condition(lambda: not self._running(), f"{self.name} is gone")

    def freeze(self) -> None:
        _ = self.pid
        self._container.pause()

    def thaw(self) -> None:
        if self._running() and self._container.status == "paused":
            self._container.unpause()

    def _running(self) -> bool:
        self._container.reload()
        return self._container.status in ("running", "paused")

    def _answers(self) -> bool:
        if not self._running():
            raise ServerError(
                f"{self.name} has ended:\n{self._container.logs().decode(errors='replace')}"
            )
        try:
            self._ask()
        except (OSError, ServerError):
            return False
        return True


def primary_script(layout: Layout) -> str:
    """An empty primary, made at the first start."""
    conf = "".join(
        f"{name} = '{value}'\n" for name, value in {**SETTINGS, **layout.postgres}.items()
    )
    options = (
        f"-A scram-sha-256 -U {SUPERUSER} --wal-segsize=1 --no-sync --locale=C -E UTF8 -D $DATA"
    )
    initdb = f'echo "$PGPASSWORD" | initdb --pwfile=/dev/stdin {options}'
    making = f"{initdb}; printf %s {shlex.quote(conf)} >> $DATA/postgresql.conf"
    return f"if [ ! -e $DATA ]; then {making}; fi; exec postgres -D $DATA -p $PORT"


def replica_script(name: str, primary_port: int) -> str:
    """A copy of a primary, made at the first start."""
    source = f"-h {HOST} -p {primary_port} -U {SUPERUSER} -w"
    making = f"pg_basebackup {source} -R -X stream -c fast --no-sync -C -S {name} -D $DATA"
    return f"if [ ! -e $DATA ]; then {making}; fi; exec postgres -D $DATA -p $PORT"


def redis_script(layout: Layout) -> str:
    """A server that keeps its snapshot in `$DATA`."""
    lines = shlex.quote("\n".join([*REDIS_SETTINGS, *layout.redis, ""]))
    secrets_and_place = (
        '"port $PORT" "requirepass $PGPASSWORD" "masterauth $PGPASSWORD" "dir $DATA"'
    )
    writing = f"mkdir -p $DATA; printf '%s\\n' {secrets_and_place} {lines} > $DATA/server.conf"
    return f"{writing}; exec $(command -v valkey-server redis-server | head -n 1) $DATA/server.conf"


@contextmanager
def container_servers(layout: Layout) -> Iterator[Servers]:
    """Start a primary, its replicas and a Redis in containers; remove them at the end. Raises
    ServerError."""
    password = secrets.token_hex(16)
    app, superuser = Credentials(APP, password), Credentials(SUPERUSER, password)
    access = ServerAccess(app, superuser, APP, find_psql(os.environ))
    image = os.environ.get("REPOCACHE_TEST_POSTGRES_IMAGE", POSTGRES_IMAGE)
    machines: dict[str, ContainerMachine] = {}
    with ExitStack() as stack:

        def add(name: str, image: str) -> ContainerMachine:
            machines[name] = machine = ContainerMachine(name, image, password)
            stack.callback(machine.remove)
            return machine

        def copy(server: PostgresServer, primary: PostgresServer) -> None:
            script = replica_script(server.name, primary.port)
            machines[server.name].make(script, lambda: server.sql("SELECT 1", MAINTENANCE))

        machine = add("redis", os.environ.get("REPOCACHE_TEST_REDIS_IMAGE", REDIS_IMAGE))
        redis = RedisServer("redis", machine, RedisLogin(password))
        machine.make(redis_script(layout), lambda: redis.command("PING"))
        machine = add("primary", image)
        primary = PostgresServer("primary", machine, access)
        machine.make(primary_script(layout), lambda: primary.sql("SELECT 1", MAINTENANCE))
        primary.sql(make_app(password), MAINTENANCE)
        replicas = []
        for number in range(1, layout.replicas + 1):
            replica = PostgresServer(f"replica{number}", add(f"replica{number}", image), access)
            copy(replica, primary)
            replicas.append(replica)
        for replica in replicas:
            replica.await_streaming(primary)
        yield Servers(primary, tuple(replicas), redis, copy)


@pytest.fixture(scope="session")
def repocache_servers(repocache_layout: Layout) -> Iterator[Servers]:
    """The servers of the whole run, in containers. Leave them as they are, or ask for
    `repocache_controls`."""
    with container_servers(repocache_layout) as servers:
        yield servers
