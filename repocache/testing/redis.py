"""A Valkey or Redis server as tests see it: its process, and a small blocking client for what a test does to it."""

import signal
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import hiredis

from repocache.testing.errors import PortTaken, ServerError
from repocache.testing.machine import Machine
from repocache.testing.ports import free_port
from repocache.testing.process import Account, Child, Command, await_condition

HOST = "127.0.0.1"
TRIES = 5
SNAPSHOT = "dump.rdb"
# Nothing survives but a snapshot that was asked for; a replica is served at once and keeps no file of it.
SETTINGS = {
    "bind": HOST,
    "protected-mode": "no",
    "save": '""',
    "appendonly": "no",
    "dbfilename": SNAPSHOT,
    "repl-diskless-sync": "yes",
    "repl-diskless-sync-delay": "0",
    "rdb-del-sync-files": "yes",
}
Reply = str | int | float | None | list["Reply"]


@dataclass(frozen=True, slots=True)
class RedisLogin:
    """How a server is spoken to. An empty password: without one."""

    password: str = ""
    user: str = "default"
    database: int = 0


@dataclass(frozen=True, slots=True)
class RedisSite:
    """Where the server lives: program, folder, account, its password, and lines for its configuration file."""

    program: Path
    folder: Path
    account: Account
    password: str
    settings: tuple[str, ...] = ()


class RedisProcess:
    """A folder and, while it runs, the server that works in it."""

    host = HOST

    def __init__(self, site: RedisSite, name: str) -> None:
        self.name = name
        self.port = free_port()
        self._site = site
        self._data = site.folder / name
        self._log = site.folder / f"{name}.log"
        self._child: Child | None = None

    @property
    def pid(self) -> int:
        if self._child is None or not self._child.alive:
            raise ServerError(f"{self.name} does not run")
        return self._child.pid

    def start(self) -> None:
        if self._child is not None and self._child.alive:
            return
        for _ in range(TRIES - 1):
            try:
                return self._start()
            except PortTaken:
                if self._child is not None:
                    raise  # it ran on this port: others know it by that
                self.port = free_port()
        self._start()

    def stop(self) -> None:
        if self._child is not None:
            self._child.end(signal.SIGTERM, 10)

    def kill(self) -> None:
        if self._child is not None:
            self._child.kill()

    def freeze(self) -> None:
        if self._child is not None:
            self._child.freeze()

    def thaw(self) -> None:
        if self._child is not None:
            self._child.thaw()

    def _start(self) -> None:
        if not self._data.exists():
            self._data.mkdir(0o700)
            self._site.account.own(self._data)
        settings = [f"{name} {value}" for name, value in SETTINGS.items()]
        settings += [
            f"port {self.port}",
            f'requirepass "{self._site.password}"',
            f'masterauth "{self._site.password}"',
        ]
        conf = self._data / "server.conf"
        conf.touch(0o600)
        self._site.account.own(conf)
        conf.write_text("\n".join([*settings, *self._site.settings, ""]))
        said = self._log.stat().st_size if self._log.exists() else 0
        child = Child(
            Command((str(self._site.program), str(conf)), self._data, self._log), self._site.account
        )
        try:
            await_condition(lambda: not child.alive or self._accepts(), f"{self.name} accepts connections")
        except BaseException:
            child.kill()
            raise
        if not child.alive:
            words = self._log.read_bytes()[said:].decode(errors="replace")
            kind = PortTaken if "Address already in use" in words else ServerError
            raise kind(f"{self.name} did not start on port {self.port}:\n{words}")
        self._child = child

    def _accepts(self) -> bool:
        try:
            return ask(self, RedisLogin(self._site.password), ["PING"]) == "PONG"
        except (OSError, ServerError):
            return False  # not listening yet, or still loading its snapshot


class RedisServer:
    """One server. Every call blocks; in async code use `await asyncio.to_thread(server.restart)`.

    A server given by its URL raises ServerError on every control (start, stop, kill, restart, freeze, thaw, snapshot,
    replica_of).
    """

    def __init__(self, name: str, machine: Machine, login: RedisLogin) -> None:
        self.name = name
        self._machine = machine
        self._login = login

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} at {self.host}:{self.port}>"

    @property
    def host(self) -> str:
        return self._machine.host

    @property
    def port(self) -> int:
        return self._machine.port

    @property
    def pid(self) -> int:
        """Id of the server's process. Raises ServerError unless it runs and is ours."""
        return self._machine.pid

    @property
    def url(self) -> str:
        """Address with password and database."""
        user = "" if self._login.user == "default" else quote(self._login.user, safe="")
        login = f"{user}:{quote(self._login.password, safe='')}@" if self._login.password else ""
        return f"redis://{login}{self.host}:{self.port}/{self._login.database}"

    def command(self, *words: str | int) -> Reply:
        """The reply to one command. Raises ServerError for an error reply, OSError without a connection."""
        return ask(self._machine, self._login, words)

    def start(self) -> None:
        """Returns when it answers. It holds the last snapshot, or nothing."""
        self._machine.start()

    def stop(self) -> None:
        """An orderly end; the data is lost unless a snapshot was taken."""
        self._machine.stop()

    def kill(self) -> None:
        """A crash: SIGKILL. Returns when it is gone."""
        self._machine.kill()

    def restart(self) -> None:
        """Stop and start, on the same port."""
        self._machine.stop()
        self._machine.start()

    def freeze(self) -> None:
        """Stop it where it is: connections stay open and silent."""
        self._machine.freeze()

    def thaw(self) -> None:
        """Let a frozen server run on."""
        self._machine.thaw()

    def snapshot(self) -> None:
        """Save what it holds: each later start brings it back."""
        self._require_ours()
        self.command("SAVE")

    def replica_of(self, primary: "RedisServer") -> None:
        """Make it a replica of a server with the same password. Returns when it is in step."""
        self._require_ours()
        self.command("REPLICAOF", primary.host, primary.port)
        await_condition(
            lambda: "master_link_status:up" in str(self.command("INFO", "replication")),
            f"{self.name} replicates",
        )

    def promote(self) -> None:
        """Make a replica a primary."""
        self._require_ours()
        self.command("REPLICAOF", "NO", "ONE")

    def clear(self) -> None:
        """Forget all scripts, and the keys of the database."""
        self.command("FLUSHDB")
        self.command("SCRIPT", "FLUSH")

    def _require_ours(self) -> None:
        _ = self.pid


def ask(machine: Machine, login: RedisLogin, words: Sequence[str | int], seconds: float = 10) -> Reply:
    """The reply to one command on a connection of its own. Raises ServerError for an error reply."""
    place = f"{machine.host}:{machine.port}"
    commands: list[tuple[str | int, ...]] = [("SELECT", login.database), tuple(words)]
    if login.password:
        commands.insert(0, ("AUTH", login.user, login.password))
    reader = hiredis.Reader(encoding="utf-8", errors="replace")
    reply: Reply | hiredis.HiredisError | bool = None
    with socket.create_connection((machine.host, machine.port), seconds) as connection:
        for asked in commands:
            connection.sendall(hiredis.pack_command(asked))
            while (reply := reader.gets()) is False:
                received = connection.recv(65536)
                if not received:
                    raise ConnectionResetError(f"{place} closed the connection")
                reader.feed(received)
            if isinstance(reply, hiredis.HiredisError):
                raise ServerError(f"{place} refused {asked[0]}: {reply}")
    return reply
