"""A PostgreSQL server as a process of ours: its data folder, port and life. What it says in SQL is `postgres.py`'s."""

import shutil
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from repocache.testing.binaries import PostgresBinaries
from repocache.testing.errors import PortTaken, ServerError
from repocache.testing.ports import free_port
from repocache.testing.process import Account, Child, Command, await_condition, run_tool
from repocache.testing.sql import Login

HOST = "127.0.0.1"
SUPERUSER = "postgres"
TRIES = 5
# Small, local, and quick to notice what a test does to a neighbour.
SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "16MB",
    "min_wal_size": "2MB",
    "max_wal_size": "64MB",
    "wal_keep_size": "32MB",
    "wal_level": "replica",
    "max_wal_senders": "10",
    "max_replication_slots": "10",
    "hot_standby": "on",
    "hot_standby_feedback": "off",
    "max_standby_streaming_delay": "1s",
    "wal_retrieve_retry_interval": "100ms",
    "wal_receiver_status_interval": "1s",
    # A killed server leaves its files, which go with its folder, and no shared memory.
    "dynamic_shared_memory_type": "mmap",
    "huge_pages": "off",
    "jit": "off",
    "fsync": "off",
    "lc_messages": "C",
    "timezone": "UTC",
}


@dataclass(frozen=True, slots=True)
class Site:
    """Where servers live: programs, folder, account, and the superuser's password."""

    binaries: PostgresBinaries
    folder: Path
    account: Account
    password: str


class Postmaster:
    """A data folder and, while it runs, the process that serves it."""

    host = HOST

    def __init__(self, site: Site, name: str) -> None:
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

    @property
    def login(self) -> Login:
        """The superuser's."""
        return Login(SUPERUSER, self._site.password, self.host, self.port)

    @property
    def psql(self) -> str:
        return self._site.binaries.tool("psql")

    @property
    def log(self) -> str:
        """What the server has written."""
        return self._log.read_text(errors="replace")

    def create(self, settings: Mapping[str, str]) -> None:
        """Make an empty primary with these settings beside ours."""
        secret = self._site.folder / f"{self.name}.password"
        secret.touch(0o600)
        self._site.account.own(secret)
        secret.write_text(self._site.password)
        options = ["-A", "scram-sha-256", "-U", SUPERUSER, "--pwfile", str(secret), "--wal-segsize=1"]
        options += ["--no-sync", "--no-instructions", "--locale=C", "-E", "UTF8"]
        try:
            self._fill(
                Command((self._tool("initdb"), *options, "-D", str(self._data)), self._site.folder, self._log)
            )
        finally:
            secret.unlink()
        with (self._data / "postgresql.conf").open("a") as conf:
            conf.writelines(f"{name} = '{value}'\n" for name, value in {**SETTINGS, **settings}.items())

    def copy(self, primary: "Postmaster", slot: str) -> None:
        """Make a replica of a running primary, which keeps its log for us in that slot (made here)."""
        source = ["-h", primary.host, "-p", str(primary.port), "-U", SUPERUSER, "-w"]
        options = ["-R", "-X", "stream", "-c", "fast", "--no-sync", "-C", "-S", slot, "-D", str(self._data)]
        environment = (("PGPASSWORD", self._site.password),)
        arguments = (self._tool("pg_basebackup"), *source, *options)
        self._fill(Command(arguments, self._site.folder, self._log, environment=environment))

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
            self._child.end(signal.SIGINT, 10)

    def kill(self) -> None:
        if self._child is not None:
            self._child.kill()

    def freeze(self) -> None:
        if self._child is not None:
            self._child.freeze()

    def thaw(self) -> None:
        if self._child is not None:
            self._child.thaw()

    def _tool(self, name: str) -> str:
        return self._site.binaries.tool(name)

    def _fill(self, command: Command) -> None:
        """Let a tool make the data folder anew."""
        if self._data.exists():
            shutil.rmtree(self._data)
        self._data.mkdir(0o700)
        self._site.account.own(self._data)
        run_tool(command, self._site.account)

    def _start(self) -> None:
        said = self._log.stat().st_size
        # On the parent's death: an immediate shutdown, which waits for nobody and frees its shared memory.
        command = Command(
            (self._tool("postgres"), "-D", str(self._data), "-p", str(self.port)),
            self._data,
            self._log,
            signal.SIGQUIT,
        )
        child = Child(command, self._site.account)
        try:
            await_condition(
                lambda: not child.alive or self._accepts(child.pid), f"{self.name} accepts connections"
            )
        except BaseException:
            child.kill()
            raise
        if not child.alive:
            words = self._log.read_bytes()[said:].decode(errors="replace")
            kind = PortTaken if "Address already in use" in words else ServerError
            raise kind(f"{self.name} did not start on port {self.port}:\n{words}")
        self._child = child

    def _accepts(self, pid: int) -> bool:
        """Whether the state in the process's own file is `ready`; the file may be one that a crash left."""
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) > 7 and lines[0] == str(pid) and lines[7].startswith("ready")  # noqa: PLR2004
