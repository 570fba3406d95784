"""A folder in which a Valkey or Redis server works: its configuration and its snapshot."""

import signal
from dataclasses import dataclass, field
from pathlib import Path

from repocache.testing.errors import ServerError
from repocache.testing.local_machine import HOST
from repocache.testing.process import Account, Command
from repocache.testing.redis import RedisLogin, ask

PATIENCE = 0.5
# Nothing survives but a snapshot that was asked for; a replica is served at once and keeps no file
# of it.
SETTINGS = (
    f"bind {HOST}",
    'save ""',
    "appendonly no",
    "dbfilename dump.rdb",
    "repl-diskless-sync yes",
    "repl-diskless-sync-delay 0",
    "repl-diskless-load on-empty-db",
    "rdb-del-sync-files yes",
)


@dataclass(frozen=True, slots=True)
class RedisSite:
    """Where servers live: program, folder, account, password, and lines for their configuration."""

    program: Path
    folder: Path
    account: Account
    password: str = field(repr=False)
    settings: tuple[str, ...] = ()


class RedisFolder:
    """The folder of one server."""

    stop_signal = signal.SIGTERM

    def __init__(self, site: RedisSite, name: str) -> None:
        self._site = site
        self._data = site.folder / name
        self._log = site.folder / f"{name}.log"

    def command(self, port: int) -> Command:
        if not self._data.exists():
            self._site.account.make_folder(self._data)
        password = self._site.password
        lines = [*SETTINGS, f"port {port}", f"requirepass {password}", f"masterauth {password}"]
        configuration = self._data / "server.conf"
        self._site.account.write(configuration, "\n".join([*lines, *self._site.settings, ""]))
        return Command((str(self._site.program), str(configuration)), self._data, self._log)

    def accepts(self, port: int, pid: int) -> bool:
        """Whether our own server answers: somebody else may listen here, while ours finds the port
        taken."""
        try:
            answer = ask(
                (HOST, port), RedisLogin(self._site.password), ["INFO", "server"], PATIENCE
            )
        except (OSError, ServerError):
            return False  # not listening yet, still loading its snapshot, or another's
        return f"process_id:{pid}\r\n" in str(answer)
