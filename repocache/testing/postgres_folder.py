"""A data folder of PostgreSQL: made empty or copied from a primary, and served by a postmaster."""

import ctypes
import os
import shutil
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from repocache.testing.binaries import PostgresBinaries
from repocache.testing.local_machine import HOST
from repocache.testing.private import file_to_append
from repocache.testing.process import Account, Command, run_tool

SUPERUSER = "postgres"
LINE_OF_PORT = 3
LINE_OF_SEGMENT = 6
LINE_OF_STATE = 7
IPC_RMID = 0
SEGMENTS = Path("/proc/sysvipc/shm")
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
class PostgresSite:
    """Where servers live: programs, folder, account, and the superuser's password."""

    binaries: PostgresBinaries
    folder: Path
    account: Account
    password: str = field(repr=False)


class PostgresFolder:
    """The data of one server."""

    stop_signal = signal.SIGINT

    def __init__(self, site: PostgresSite, name: str) -> None:
        self._site = site
        self._name = name
        self._data = site.folder / name
        self._log = site.folder / f"{name}.log"

    def create(self, settings: Mapping[str, str]) -> None:
        """Make an empty primary, with these settings beside ours."""
        secret = self._site.folder / f"{self._name}.password"
        self._site.account.write(secret, self._site.password)
        options = [
            "-A",
            "scram-sha-256",
            "-U",
            SUPERUSER,
            "--pwfile",
            str(secret),
            "--wal-segsize=1",
        ]
        options += ["--no-sync", "--no-instructions", "--locale=C", "-E", "UTF8"]
        if self._site.binaries.major >= 16:
            # A random password needs no slow hash, and tests open many connections.
            options += ["-c", "scram_iterations=1"]
        try:
            self._fill("initdb", options)
        finally:
            secret.unlink()
        with os.fdopen(file_to_append(self._data / "postgresql.conf"), "a") as conf:
            conf.writelines(
                f"{name} = '{value}'\n" for name, value in {**SETTINGS, **settings}.items()
            )

    def copy(self, primary_port: int) -> None:
        """Make a replica of a running primary, which keeps its log for us in a slot of our name,
        made here."""
        options = ["-h", HOST, "-p", str(primary_port), "-U", SUPERUSER, "-w"]
        options += ["-R", "-X", "stream", "-c", "fast", "--no-sync", "-C", "-S", self._name]
        self._fill("pg_basebackup", options, ("PGPASSWORD", self._site.password))

    def command(self, port: int) -> Command:
        arguments = (self._site.binaries.tool("postgres"), "-D", str(self._data), "-p", str(port))
        # On the parent's death: an immediate shutdown, which waits for nobody and frees its shared
        # memory.
        return Command(arguments, self._data, self._log, signal.SIGQUIT)

    def accepts(self, port: int, pid: int) -> bool:
        """Whether the state in the process's own file is `ready`; the file may be one that a crash
        left."""
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        served = [str(pid), str(port)]
        return (
            len(lines) > LINE_OF_STATE
            and [lines[0], lines[LINE_OF_PORT]] == served
            and lines[LINE_OF_STATE].startswith("ready")
        )

    def _fill(self, tool: str, options: list[str], *variables: tuple[str, str]) -> None:
        """Let a tool make the data anew."""
        if self._data.exists():
            free_shared_memory(self._data)
            shutil.rmtree(self._data)
        self._site.account.make_folder(self._data)
        arguments = (self._site.binaries.tool(tool), *options, "-D", str(self._data))
        command = Command(arguments, self._site.folder, self._log, environment=variables)
        run_tool(command, self._site.account)


def free_shared_memory(data: Path) -> None:
    """Remove the System V segment that a killed server left, before the file that names it goes
    with its data.

    One of another's than the file's owner stays: he may have written what he likes.
    """
    try:
        found = os.open(data / "postmaster.pid", os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return  # an orderly end, no PostgreSQL, or a link, which no server makes
    with os.fdopen(found) as file:
        owner, lines = os.fstat(found).st_uid, file.read().splitlines()
    if sys.platform == "linux" and len(lines) > LINE_OF_SEGMENT:
        _, segment = lines[LINE_OF_SEGMENT].split()
        if segments().get(segment) == str(owner):
            ctypes.CDLL(None).shmctl(int(segment), IPC_RMID, None)


def segments() -> dict[str, str]:
    """The user of each System V segment of shared memory, by its number; Linux alone tells."""
    names, *rows = (line.split() for line in SEGMENTS.read_text().splitlines())
    number, user = names.index("shmid"), names.index("uid")
    return {row[number]: row[user] for row in rows}
