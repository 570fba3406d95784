"""A real PgBouncer in front of one server, as another process of ours."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, make_url

from repocache.testing.folder import RunFolder
from repocache.testing.local_machine import HOST, LocalMachine
from repocache.testing.process import Account, Command

IGNORED = "default_transaction_read_only"
SETTINGS = (
    f"listen_addr = {HOST}",
    "unix_socket_dir =",
    "auth_type = scram-sha-256",
    "server_login_retry = 0.1",
    "server_check_delay = 0",
)


def find_bouncer() -> str | None:
    """The program, also where only root's PATH leads to it."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])
    return shutil.which("pgbouncer", path=path)


@dataclass(frozen=True, slots=True)
class Bouncer:
    """The program and its folder. `behind`: the server's URL, `settings`: lines beside ours."""

    program: str
    folder: Path
    account: Account
    behind: URL
    settings: tuple[str, ...]

    @property
    def stop_signal(self) -> signal.Signals:
        """It has nothing to save, and its gentler signals mean something else in each version."""
        return signal.SIGKILL

    @property
    def log(self) -> Path:
        return self.folder / "pgbouncer.log"

    def command(self, port: int) -> Command:
        users = self._file("users.txt", f'"{self.behind.username}" "{self.behind.password}"\n')
        lines = [
            "[databases]",
            f"* = host={self.behind.host} port={self.behind.port}",
            "[pgbouncer]",
            f"listen_port = {port}",
            f"auth_file = {users}",
            *SETTINGS,
            *self.settings,
        ]
        configuration = self._file("pgbouncer.ini", "\n".join([*lines, ""]))
        return Command((self.program, str(configuration)), self.folder, self.log)

    def accepts(self, port: int, pid: int) -> bool:
        """Whether our own process says that it listens, and is up."""
        said = self.log.read_text(errors="replace")
        signs = (f"[{pid}] LOG listening on {HOST}:{port}", f"[{pid}] LOG process up")
        return all(sign in said for sign in signs)

    def _file(self, name: str, content: str) -> Path:
        """For the account's eyes only: there is a password in it."""
        path = self.folder / name
        self.account.write(path, content)
        return path


@contextmanager
def bouncing(program: str, url: str, *settings: str) -> Iterator[str]:
    """The URL of a PgBouncer in front of the server of `url`, which ends with the block."""
    account = Account.unprivileged()
    behind = make_url(url)
    with RunFolder(account) as folder:
        bouncer = Bouncer(program, folder, account, behind, settings)
        machine = LocalMachine("pgbouncer", bouncer, account)
        try:
            machine.start()
            pooled = behind.set(host=HOST, port=machine.port)
            yield pooled.render_as_string(hide_password=False)
        finally:
            machine.stop()
