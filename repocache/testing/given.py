"""Servers that somebody else runs, named by `REPOCACHE_TEST_*_URL` variables.

They are used and not controlled. `REPOCACHE_TEST_SUPERUSER` (USER:PASSWORD) plays `postgres` where
it is set; else the role of the URLs plays both, and must be allowed to create databases.
"""

import os
from collections.abc import Mapping
from typing import NoReturn
from urllib.parse import urlsplit

from sqlalchemy import make_url

from repocache.testing.binaries import find_psql
from repocache.testing.errors import NotOurs, ServerError
from repocache.testing.machine import GivenMachine
from repocache.testing.postgres import Credentials, PostgresServer, ServerAccess
from repocache.testing.redis import RedisLogin, RedisServer
from repocache.testing.topology import Servers

PRIMARY_VARIABLE = "REPOCACHE_TEST_PRIMARY_URL"
REPLICAS_VARIABLE = "REPOCACHE_TEST_REPLICA_URLS"
REDIS_VARIABLE = "REPOCACHE_TEST_REDIS_URL"
SUPERUSER_VARIABLE = "REPOCACHE_TEST_SUPERUSER"
WORKER_VARIABLE = "PYTEST_XDIST_WORKER"
"""In which pytest-xdist says which of its processes this is: gw0, gw1, ..."""
VARIABLES = (PRIMARY_VARIABLE, REPLICAS_VARIABLE, REDIS_VARIABLE)


def are_given(environ: Mapping[str, str]) -> bool:
    """Whether one of the variables is set: nothing is to be started then."""
    return any(environ.get(name) for name in VARIABLES)


def given_servers(environ: Mapping[str, str]) -> Servers:
    """The servers that the variables name; replicas are separated by spaces or commas and may be
    none. Processes of pytest-xdist share them: the third has the third database of the Redis,
    counted from the URL's.

    Raises ServerError if the primary or the Redis is not named, or has no database for this
    process.
    """
    if missing := [name for name in (PRIMARY_VARIABLE, REDIS_VARIABLE) if not environ.get(name)]:
        raise ServerError(f"{' and '.join(missing)} must be set as well, or none of the three")
    psql = find_psql(os.environ)
    user, _, password = environ.get(SUPERUSER_VARIABLE, "").partition(":")
    superuser = Credentials(user, password) if user else None
    urls = environ.get(REPLICAS_VARIABLE, "").replace(",", " ").split()
    replicas = tuple(
        given_postgres(f"replica{n}", url, psql, superuser) for n, url in enumerate(urls, start=1)
    )
    primary = given_postgres("primary", environ[PRIMARY_VARIABLE], psql, superuser)
    redis = given_redis("redis", environ[REDIS_VARIABLE], worker_number(environ))
    return Servers(primary, replicas, redis, refuse_copy)


def given_postgres(
    name: str, address: str, psql: str, superuser: Credentials | None = None
) -> PostgresServer:
    """The PostgreSQL server at a SQLAlchemy URL, whose role plays `app`, and `postgres` too where
    there is no superuser."""
    url = make_url(address)
    if not url.host or not url.username:
        raise ServerError(
            f"the URL of {name} lacks host or user: postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
        )
    role = Credentials(url.username, str(url.password or ""))
    access = ServerAccess(role, superuser or role, url.database or role.user, psql)
    return PostgresServer(name, GivenMachine(url.host, url.port or 5432), access)


def worker_number(environ: Mapping[str, str]) -> int:
    """Of a process of pytest-xdist, from 0; 0 in any other."""
    return int(environ.get(WORKER_VARIABLE, "").removeprefix("gw") or 0)


def given_redis(name: str, address: str, worker: int = 0) -> RedisServer:
    """The Redis at a URL, in the database that is so many further. Raises ServerError if it has
    none of that number."""
    url = urlsplit(address)
    if url.scheme != "redis" or not url.hostname:
        raise ServerError(f"the URL of {name} must be redis://USER:PASSWORD@HOST:PORT/DATABASE")
    number = int(url.path.strip("/") or 0) + worker
    login = RedisLogin(url.password or "", url.username or "default", number)
    server = RedisServer(name, GivenMachine(url.hostname, url.port or 6379), login)
    if worker:
        try:
            server.command("PING")
        except ServerError as error:
            raise ServerError(
                f"{name}: process gw{worker} of pytest-xdist has its database {number} ({error}): "
                "raise `databases` in its configuration, or run fewer processes"
            ) from error
    return server


def refuse_copy(server: PostgresServer, primary: PostgresServer) -> NoReturn:
    """A server that is not ours is not rebuilt."""
    raise NotOurs(f"{server.name} is not ours to rebuild from {primary.name}")
