"""Real servers for tests and demos: a PostgreSQL primary, streaming replicas and a Valkey or Redis, in about 3 s.

Importable without pytest; the fixtures are in `repocache.testing.plugin`. Stops all that it started, by process id.
"""

from repocache.testing.errors import ServerError
from repocache.testing.postgres import PostgresServer
from repocache.testing.redis import RedisServer
from repocache.testing.topology import Endpoints, Layout, Servers, embedded_servers

__all__ = [
    "Endpoints",
    "Layout",
    "PostgresServer",
    "RedisServer",
    "ServerError",
    "Servers",
    "embedded_servers",
]
