"""Varnish in front of the shop on this machine, with the VCL that is shipped."""

from __future__ import annotations

import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from examples.shop.policies import COOKIES_GO
from repocache.edges.config import varnish_vcl
from repocache.testing.local_machine import HOST, LocalMachine
from repocache.testing.process import Account, Command

PROGRAM = shutil.which("varnishd") or shutil.which("varnishd", path="/usr/sbin")
MODULE = next(iter(Path("/usr/lib").glob("**/libvmod_xkey.so")), None)
PATIENCE = 0.5


def is_installed() -> bool:
    """With vmod_xkey (Debian: `varnish`, `varnish-modules`)."""
    return PROGRAM is not None and MODULE is not None


def vcl(backend: int, secret: Path) -> str:
    """The shipped one, for a service on this port of this machine. `secret`: the file with it."""
    changes = (
        ('.port = "8000"', f'.port = "{backend}"'),
        ("/etc/varnish/repocache.secret", str(secret)),
        ('# if (req.url ~ "^/public/") ', COOKIES_GO),
    )
    text = varnish_vcl()
    for old, new in changes:
        if text.count(old) != 1:
            raise ValueError(f"the shipped VCL has no single {old!r} any more")
        text = text.replace(old, new)
    return text


class VarnishFolder:
    """What a `LocalMachine` runs."""

    stop_signal = signal.SIGTERM

    def __init__(self, folder: Path, backend: int, secret: str) -> None:
        self._folder = folder
        file = folder / "secret"
        file.touch(0o600)
        file.write_text(f"{secret}\n")
        (folder / "shop.vcl").write_text(vcl(backend, file))

    def command(self, port: int) -> Command:
        words = ("-F", "-j", "none", "-T", "none", "-s", "default,64m", "-p", "thread_pools=1")
        return Command(
            (
                *(str(PROGRAM), *words, "-n", str(self._folder / "work")),
                *("-a", f"{HOST}:{port}", "-f", str(self._folder / "shop.vcl")),
            ),
            self._folder,
            self._folder / "log",
            signal.SIGTERM,
        )

    def accepts(self, port: int, pid: int) -> bool:
        try:
            socket.create_connection((HOST, port), PATIENCE).close()
        except OSError:
            return False
        return True


@contextmanager
def varnish_in_front(port: int, backend: int, secret: str) -> Iterator[int]:
    """The port that it has: this one, if it is free. Ends it, by its process id."""
    with tempfile.TemporaryDirectory(prefix="shop-", ignore_cleanup_errors=True) as name:
        machine = LocalMachine("varnish", VarnishFolder(Path(name), backend, secret), Account())
        machine.port = port
        try:
            machine.start()
            yield machine.port
        finally:
            machine.stop()
