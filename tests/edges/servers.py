"""Real edges in front of a service: Varnish and nginx, with the configuration that is shipped.

    async with varnish(backend_port) as edge: ...

They are programs of the system: `apt-get install varnish varnish-modules nginx-light
libnginx-mod-http-cache-purge`. A test that needs one is skipped where it is not there.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

import repocache.edges
from repocache.testing.ports import free_port
from repocache.testing.process import Account, Child, Command

CONFIG = Path(repocache.edges.__file__).parent / "config"
SECRET = "a-secret-of-many-characters"
VARNISH = shutil.which("varnishd") or shutil.which("varnishd", path="/usr/sbin")
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
XKEY_MODULE = next(iter(Path("/usr/lib").glob("**/libvmod_xkey.so")), None)
PURGE_MODULE = next(iter(Path("/usr/lib").glob("**/ngx_http_cache_purge_module.so")), None)
Arguments = Callable[[int], tuple[str, ...]]
"""Of the program, on a port."""
TRIES = 5
SECONDS = 60.0
"""That a start may take: Varnish compiles its configuration with the system's compiler."""
GRACE = 5.0

needs_varnish = pytest.mark.skipif(
    VARNISH is None or XKEY_MODULE is None,
    reason="varnishd or vmod_xkey is not installed (varnish, varnish-modules)",
)
needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is not installed (nginx-light)")
needs_purge_module = pytest.mark.skipif(
    NGINX is None or PURGE_MODULE is None,
    reason="nginx or its purge module is not installed (libnginx-mod-http-cache-purge)",
)


@dataclass(frozen=True)
class RunningEdge:
    """`folder`: its own, in which nginx keeps its pages under `cache`."""

    port: int
    folder: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def changed(text: str, *changes: tuple[str, str]) -> str:
    """The shipped text with these parts replaced, each of which has to be there."""
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return text


def varnish_vcl(backend_port: int, folder: Path, *changes: tuple[str, str]) -> str:
    secret = folder / "secret"
    secret.write_text(f"{SECRET}\n")
    return changed(
        (CONFIG / "varnish.vcl").read_text(),
        ('.port = "8000"', f'.port = "{backend_port}"'),
        ("/etc/varnish/repocache.secret", str(secret)),
        *changes,
    )


def nginx_conf(backend_port: int, port: int, folder: Path, *changes: tuple[str, str]) -> str:
    shipped = changed(
        (CONFIG / "nginx.conf").read_text(),
        ("/var/cache/nginx/repocache", str(folder / "cache")),
        ("127.0.0.1:8000", f"127.0.0.1:{backend_port}"),
        ("127.0.0.1:8080", f"127.0.0.1:{port}"),
        *changes,
    )
    module = ""
    if PURGE_MODULE is not None:
        module = f"load_module {PURGE_MODULE};\n"
        start, end = "    # location /purge/ {", "    # }\n"
        begin = shipped.index(start)
        until = shipped.index(end, begin) + len(end)
        part = shipped[begin:until].replace("    # ", "    ")
        shipped = shipped[:begin] + part + shipped[until:]
    paths = "".join(
        f"{name}_temp_path {folder / name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;\n" if Account.unprivileged() != Account() else ""
    return (
        f"{module}{user}daemon off;\nworker_processes 1;\npid {folder / 'pid'};\n"
        "events { worker_connections 64; }\n"
        f"http {{\naccess_log off;\n{paths}{shipped}\n}}\n"
    )


@asynccontextmanager
async def varnish(backend_port: int, *changes: tuple[str, str]) -> AsyncIterator[RunningEdge]:
    """Varnish before a service on this port. `changes`: of the shipped file."""
    with tempfile.TemporaryDirectory(prefix="varnish-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "edge.vcl").write_text(varnish_vcl(backend_port, folder, *changes))

        def arguments(port: int) -> tuple[str, ...]:
            return (
                *(str(VARNISH), "-F", "-j", "none", "-T", "none", "-s", "default,32m"),
                *("-n", str(folder / "work"), "-a", f"127.0.0.1:{port}"),
                *("-f", str(folder / "edge.vcl"), "-p", "thread_pools=1"),
            )

        async with running(arguments, folder) as edge:
            yield edge


@asynccontextmanager
async def nginx(backend_port: int, *changes: tuple[str, str]) -> AsyncIterator[RunningEdge]:
    """nginx before a service on this port. `changes`: of the shipped file."""
    with tempfile.TemporaryDirectory(prefix="nginx-", ignore_cleanup_errors=True) as name:
        folder = Path(name)

        def arguments(port: int) -> tuple[str, ...]:
            conf = folder / "nginx.conf"
            conf.write_text(nginx_conf(backend_port, port, folder, *changes))
            return (str(NGINX), "-p", str(folder), "-e", str(folder / "errors"), "-c", str(conf))

        async with running(arguments, folder) as edge:
            yield edge


@asynccontextmanager
async def running(arguments: Arguments, folder: Path) -> AsyncIterator[RunningEdge]:
    """The program, once it listens. Somebody may have taken the port: then on another."""
    for number in range(TRIES):
        port = free_port()
        command = Command(arguments(port), folder, folder / f"log-{number}")
        child = await asyncio.to_thread(Child, command, Account())
        try:
            if await listens(child, port):
                yield RunningEdge(port, folder)
                return
        finally:
            await asyncio.to_thread(child.end, signal.SIGTERM, GRACE)
        taken = any(
            word in command.log_tail() for word in ("Address already in use", "in use", "(98:")
        )
        assert taken, command.log_tail()
    raise AssertionError(f"it found no port in {TRIES} tries")


async def listens(child: Child, port: int) -> bool:
    """Whether it does before it ends."""
    deadline = time.monotonic() + SECONDS
    while child.alive and time.monotonic() < deadline:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.02)
            continue
        writer.close()
        await writer.wait_closed()
        # Who finds the port taken ends about now.
        await asyncio.sleep(0.2)
        return child.alive
    return False
