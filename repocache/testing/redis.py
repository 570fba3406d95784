"""A Valkey or Redis server as tests see it, and the small blocking client with which they reach
into it."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import quote

import hiredis

from repocache.testing.errors import ServerError
from repocache.testing.machine import Machine
from repocache.testing.process import await_condition

Reply = str | int | float | None | list["Reply"]


@dataclass(frozen=True, slots=True)
class RedisLogin:
    """How a server is spoken to. An empty password: without one."""

    password: str = field(default="", repr=False)
    user: str = "default"
    database: int = 0


class RedisServer:
    """One server. Every call blocks; in async code use `await asyncio.to_thread(server.restart)`.

    A server given by its URL raises NotOurs on every control: start, stop, kill, restart, freeze,
    thaw, snapshot, replica_of, promote, pause_replication, resume_replication.
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
        """The reply to one command. Raises ServerError for an error reply, OSError without a
        connection."""
        return ask((self.host, self.port), self._login, words)

    def clear(self) -> None:
        """Forget the keys of the database, and all scripts."""
        self.command("FLUSHDB")
        self.command("SCRIPT", "FLUSH")

    def start(self) -> None:
        """Returns when it answers. It holds the last snapshot, or nothing."""
        self._machine.start()

    def stop(self) -> None:
        """An orderly end; the data is lost, unless a snapshot was taken."""
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
        """Save what it holds: each later start brings it back, until the fixtures tidy up."""
        self._require_ours()
        self.command("SAVE")

    def replica_of(self, primary: "RedisServer") -> None:
        """Make it a replica of a server with the same password. Returns when it is in step."""
        self._require_ours()
        self.command("REPLICAOF", primary.host, primary.port)
        await_condition(
            lambda: "master_link_status:up" in str(self.command("INFO", "replication")),
            f"{self.name} follows {primary.name}",
        )

    def catch_up(self, primary: "RedisServer") -> None:
        """Wait until a replica has been told all that its primary was told until now."""
        told = offset_in(primary.command("INFO", "replication"), "master_repl_offset")
        await_condition(
            lambda: offset_in(self.command("INFO", "replication"), "slave_repl_offset") >= told,
            f"{self.name} catches up",
        )

    def promote(self) -> None:
        """Make a replica a primary; nothing if it is one."""
        self._require_ours()
        self.command("REPLICAOF", "NO", "ONE")

    def pause_replication(self) -> None:
        """A replica hears no more of its primary and is not let in again: it lacks what that is
        told from now on."""
        self._require_ours()
        self.command("CONFIG", "SET", "masterauth", "not the password")
        self.command("CLIENT", "KILL", "TYPE", "master")

    def resume_replication(self) -> None:
        """Let it in again."""
        self._require_ours()
        self.command("CONFIG", "SET", "masterauth", self._login.password)

    def _require_ours(self) -> None:
        _ = self.pid


def offset_in(info: Reply, field: str) -> int:
    """An offset in what INFO replication says, 0 where there is none."""
    found = str(info).partition(f"\n{field}:")[2].split()
    return int(found[0]) if found else 0


def ask(
    place: tuple[str, int], login: RedisLogin, words: Sequence[str | int], seconds: float = 10
) -> Reply:
    """The reply to one command on a connection of its own. Raises ServerError for an error
    reply."""
    commands = [words]
    if login.database:  # 0 it is without, and a sentinel has none
        commands.insert(0, ["SELECT", login.database])
    if login.password:
        commands.insert(0, ["AUTH", login.user, login.password])
    with socket.create_connection(place, seconds) as connection:
        return [exchange(connection, command) for command in commands][-1]


def exchange(connection: socket.socket, words: Sequence[str | int]) -> Reply:
    """Send one command and wait for its reply."""
    encoded = [str(word).encode() for word in words]
    connection.sendall(
        b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%b\r\n" % (len(e), e) for e in encoded)
    )
    reader = hiredis.Reader(encoding="utf-8", errors="replace")
    while (reply := reader.gets()) is False:
        received = connection.recv(65536)
        if not received:
            raise ConnectionResetError("the server closed the connection")
        reader.feed(received)
    if isinstance(reply, hiredis.HiredisError):
        raise ServerError(f"{words[0]} was refused: {reply}")
    return cast("Reply", reply)
