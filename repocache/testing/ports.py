"""Ports to listen on: below the ephemeral range, any port of which an outgoing connection may
hold."""

import secrets
import socket

from repocache.testing.errors import ServerError

LOWEST = 10_000
BEYOND = 32_768
TRIES = 100


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now. Whoever binds it must be ready to find it
    taken."""
    for _ in range(TRIES):
        port = LOWEST + secrets.randbelow(BEYOND - LOWEST)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise ServerError(f"no free port found on 127.0.0.1 between {LOWEST} and {BEYOND}")
