"""`python -m examples.shop --port 8000`: both shops, on PostgreSQL with two replicas and a Redis of
their own, behind Varnish where that is installed; for this time only."""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import socket
import sys
from collections.abc import Iterable
from contextlib import ExitStack

import uvicorn

from examples.shop.app import HOSTS, from_env
from examples.shop.seed import PASSWORD, PEOPLE, prepare
from examples.shop.varnish import is_installed, varnish_in_front
from repocache.testing import Endpoints, embedded_servers
from repocache.testing.local_machine import HOST


def listening(port: int) -> socket.socket:
    """On this port, or on another one that is free."""
    for wanted in (port, 0):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, wanted))
        except OSError:
            listener.close()
            continue
        return listener
    raise OSError(f"there is no port to listen on at {HOST}")


def variables(ends: Endpoints) -> dict[str, str]:
    """Of the application; see `app.from_env`."""
    return {
        "SHOP_DB_PRIMARY": ends.primary,
        "SHOP_DB_REPLICAS": " ".join(ends.replicas),
        "SHOP_DB_REDIS": ends.redis,
        "SHOP_DB_SECRETS": secrets.token_urlsafe(),
        "SHOP_INSECURE": "1",
        "SHOP_READS": "1",
    }


def told(port: int, is_edge: bool) -> Iterable[str]:
    """What is printed at the start."""
    first, second = (f"http://{host}:{port}" for host in HOSTS)
    yield f"two shops, {first} and {second}" + (", behind Varnish" if is_edge else "")
    if not is_edge:
        yield "no Varnish: it or vmod_xkey is not installed (Debian: varnish, varnish-modules)"
    yield f"what was read where, and what writes purged: {first}/_reads"
    people = " or ".join(f"{name} (admin)" if admin else name for name, admin in PEOPLE.items())
    yield f"sign in at {first}/login as {people}, password {PASSWORD}"
    yield "try:"
    yield f"  curl -si {first}/products/lantern | grep -i -e ^cache -e ^age  # twice: then a hit"
    yield f"  rename it at {first}/admin, and ask again: its page is made anew, others are hits"
    yield f"  set its price there: {first}/products/lantern shows it at once, from the kept page"
    yield "Ctrl-C ends it all"


class Server(uvicorn.Server):
    """That says so once it listens. `lines`: what it says."""

    def __init__(self, config: uvicorn.Config, lines: Iterable[str]) -> None:
        super().__init__(config)
        self._lines = lines

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            print(*self._lines, sep="\n", flush=True)  # noqa: T201  # to whom starts it


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.shop")
    parser.add_argument("--port", type=int, default=8000, help="where to open the shops")
    parser.add_argument("--no-edge", action="store_true", help="without Varnish")
    given = parser.parse_args()
    is_edge = is_installed() and not given.no_edge
    with ExitStack() as stack:
        servers = stack.enter_context(embedded_servers())
        servers.primary.create_database("shop")
        servers.primary.sql("GRANT pg_read_all_stats TO app")
        ends = servers.endpoints("shop")
        asyncio.run(prepare(ends.primary))
        os.environ |= variables(ends)
        listener = stack.enter_context(listening(0 if is_edge else given.port))
        port: int = listener.getsockname()[1]
        if is_edge:
            secret = secrets.token_urlsafe()
            port = stack.enter_context(varnish_in_front(given.port, port, secret))
            os.environ |= {
                "SHOP_VARNISH": f"http://{HOST}:{port}",
                "SHOP_VARNISH_SECRET": secret,
            }
        config = uvicorn.Config(from_env(), log_level="warning")
        Server(config, told(port, is_edge)).run(sockets=[listener])


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
