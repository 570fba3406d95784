"""A stand-in for testcontainers where there is no Docker: what a container would run is run by this
machine."""

import os
import signal
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from repocache.testing.binaries import find_postgres, find_redis, place_postgres, place_redis
from repocache.testing.folder import RunFolder
from repocache.testing.process import Account, Child, Command


class Container:
    """One container, as docker's own client shows it."""

    def __init__(self, stack: ExitStack, script: str, variables: dict[str, str]) -> None:
        self._account = Account.unprivileged()
        self._folder = stack.enter_context(RunFolder(self._account))
        postgres = place_postgres(find_postgres(os.environ), self._folder, self._account)
        redis = place_redis(find_redis(os.environ), self._folder, self._account)
        self._home = self._folder / "home"
        self._home.mkdir(0o700)
        self._account.own(self._home)
        path = os.pathsep.join([str(postgres.folder), str(redis.parent), os.environ["PATH"]])
        self._variables = variables | {"PATH": path, "DATA": str(self._home / "data")}
        self._script = script
        self._paused = False
        self.attrs: dict[str, dict[str, int]] = {}
        self.status = "created"
        self.start()
        stack.callback(self._remove)

    def start(self) -> None:
        arguments = ("/bin/sh", "-ec", self._script)
        log, variables = self._folder / "log", tuple(self._variables.items())
        self._child = Child(
            Command(arguments, self._home, log, environment=variables), self._account
        )
        self._paused = False
        self.attrs = {"State": {"Pid": self._child.pid}}

    def stop(self, timeout: float) -> None:
        self._child.end(signal.SIGINT, timeout)

    def kill(self) -> None:
        self._child.kill()

    def pause(self) -> None:
        self._child.freeze()
        self._paused = True

    def unpause(self) -> None:
        self._child.thaw()
        self._paused = False

    def reload(self) -> None:
        self.status = ("paused" if self._paused else "running") if self._child.alive else "exited"

    def _remove(self) -> None:
        self._child.kill()

    def logs(self) -> bytes:
        return (self._folder / "log").read_bytes()


class DockerContainer:
    """What is to be run."""

    def __init__(self, image: str) -> None:
        assert image.startswith(("postgres:", "valkey/valkey:"))
        self._variables: dict[str, str] = {}
        self._stack = ExitStack()

    def with_command(self, command: list[str]) -> Self:
        (self._script,) = command
        return self

    def with_kwargs(self, **options: object) -> Self:
        assert options == {"network_mode": "host", "entrypoint": ["sh", "-ec"], "user": "nobody"}
        return self

    def with_env(self, name: str, value: str) -> Self:
        self._variables[name] = value
        return self

    def __enter__(self) -> Self:
        self._container = Container(self._stack, self._script, self._variables)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def get_wrapped_container(self) -> Container:
        return self._container
