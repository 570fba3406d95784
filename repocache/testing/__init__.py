"""Real servers for tests and demos: a PostgreSQL primary, streaming replicas, Valkey or Redis; up
in about 3 s. And a database in memory for tests that need none.

Importable without pytest; the fixtures are in `repocache.testing.plugin`. All that is started is
stopped, by process id. For POSIX systems; only on Linux do servers also die with a program that is
killed.
"""

from repocache.testing.embedded import embedded_servers
from repocache.testing.errors import NotOurs, ServerError
from repocache.testing.given import given_servers
from repocache.testing.in_memory import MemoryDatabase, memory
from repocache.testing.postgres import PostgresServer
from repocache.testing.redis import RedisServer
from repocache.testing.redis_group import RedisGroup, redis_group
from repocache.testing.templates import template_database
from repocache.testing.topology import Endpoints, Layout, Servers

__all__ = [
    "Endpoints",
    "Layout",
    "MemoryDatabase",
    "NotOurs",
    "PostgresServer",
    "RedisGroup",
    "RedisServer",
    "ServerError",
    "Servers",
    "embedded_servers",
    "given_servers",
    "memory",
    "redis_group",
    "template_database",
]
