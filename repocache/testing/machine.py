"""What a server runs on: the port between a server's words (SQL, commands) and the process behind
them."""

from typing import NoReturn, Protocol

from repocache.testing.errors import NotOurs


class Machine(Protocol):
    """A server process that can be started and ended, or the lack of any say over it. Calls
    block."""

    @property
    def host(self) -> str: ...

    @property
    def port(self) -> int: ...

    @property
    def pid(self) -> int:
        """Id of the process. Raises ServerError unless it runs and is ours."""
        ...

    def start(self) -> None:
        """Returns when it accepts connections; at once if it runs already."""

    def stop(self) -> None:
        """An orderly end; nothing if it does not run."""

    def kill(self) -> None:
        """A crash; nothing if it does not run."""

    def freeze(self) -> None:
        """Silence, with the connections open. Raises ServerError if it does not run."""

    def thaw(self) -> None:
        """The end of the silence; nothing if there was none."""


class GivenMachine:
    """A server of somebody else, known by its address. Every control raises NotOurs."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port

    @property
    def pid(self) -> int:
        return self._refuse()

    def start(self) -> None:
        self._refuse()

    def stop(self) -> None:
        self._refuse()

    def kill(self) -> None:
        self._refuse()

    def freeze(self) -> None:
        self._refuse()

    def thaw(self) -> None:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise NotOurs(
            f"{self.host}:{self.port} was given by its URL and is not ours to control: "
            "unset REPOCACHE_TEST_PRIMARY_URL, REPOCACHE_TEST_REPLICA_URLS and "
            "REPOCACHE_TEST_REDIS_URL"
        )
