"""What a client of redis-py's reaches, the link reaches: real servers, with and without password,
user, TLS, Unix socket and sentinels."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio as clients
from redis.asyncio import Redis

from repocache.redis_link import Address, Link, LinkSettings, address_of
from repocache.testing import RedisGroup, RedisServer, redis_group
from tests.redis_link.conftest import PASSWORD, StartRedis
from tests.redis_link.heard import PATIENT, QUICK, Heard
from tests.redis_link.serving import serving
from tests.redis_link.tls_proxy import SLOW_TO_SHAKE, context, forwarding_to

pytestmark = pytest.mark.usefixtures("clean_loop")
SECRET = "hunter2Zq"
Sentinel: Any = clients.Sentinel  # it has no types
with_openssl = pytest.mark.skipif(
    not shutil.which("openssl"), reason="makes its certificates with openssl"
)


@pytest.fixture
def ada(redis: RedisServer) -> Iterator[RedisServer]:
    redis.command("ACL", "SETUSER", "ada", "on", f">{SECRET}", "~*", "&*", "+@all")
    yield redis
    redis.command("ACL", "DELUSER", "ada")


@pytest.fixture
def group() -> Iterator[RedisGroup]:
    with redis_group(sentinels=1) as group:
        yield group


@pytest.fixture
def folder() -> Iterator[Path]:
    """For a socket: its path must be short, and the server is another user."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


@pytest.fixture
def locked_key(pems: Path) -> Path:
    """key.pem behind a password."""
    words = f"ec -aes256 -passout pass:{SECRET} -in key.pem -out locked.pem"
    subprocess.run(["openssl", *words.split()], cwd=pems, check=True, capture_output=True)
    return pems / "locked.pem"


async def reaches_the_same(client: Redis, settings: LinkSettings = QUICK) -> None:
    """One database of one server, as one user."""
    async with client, Link(address_of(client), Heard(), settings=settings) as link:
        await client.set("k", "of the client")
        assert await link.call("GET", "k") == b"of the client"
        assert (await link.call("ACL", "WHOAMI")).decode() == await client.acl_whoami()
        await link.call("DEL", "k")


async def test_with_a_password(redis: RedisServer) -> None:
    await reaches_the_same(Redis(host=redis.host, port=redis.port, password=PASSWORD, db=2))
    await reaches_the_same(Redis.from_url(redis.url))


async def test_as_a_user(ada: RedisServer) -> None:
    await reaches_the_same(Redis(host=ada.host, port=ada.port, username="ada", password=SECRET))


async def test_without_a_password(start_redis: StartRedis) -> None:
    own = start_redis()
    own.command("ACL", "SETUSER", "default", "nopass")
    await reaches_the_same(Redis(host=own.host, port=own.port))


async def test_with_a_wrong_password_nobody_gets_in(redis: RedisServer) -> None:
    heard = Heard()
    client = Redis(host=redis.host, port=redis.port, password=SECRET)
    async with client, Link(address_of(client), heard, settings=QUICK) as link:
        assert not link.alive
    assert "WRONGPASS" in heard.troubles[0]
    assert SECRET not in "".join(heard.troubles)


async def test_by_a_unix_socket(start_redis: StartRedis, folder: Path) -> None:
    start_redis("redis", f"unixsocket {folder}/r.sock", "unixsocketperm 777")
    client = Redis(unix_socket_path=f"{folder}/r.sock", password=PASSWORD, db=3)
    await reaches_the_same(client)


async def test_through_sentinels(group: RedisGroup) -> None:
    address = Address.parse(group.url)
    places = [(each.host, each.port) for each in address.sentinels]
    login = {"password": address.sentinels[0].password}
    async with Sentinel(places, sentinel_kwargs=login, password=address.password) as sentinel:
        await reaches_the_same(sentinel.master_for(address.service, db=1), PATIENT)


@with_openssl
async def test_by_tls(redis: RedisServer, pems: Path) -> None:
    authority = pems / "cert.pem"
    async with serving(forwarding_to(redis), context(pems)) as proxy:
        place: dict[str, Any] = {"host": proxy.host, "port": proxy.port, "password": PASSWORD}
        by_file = Redis(ssl=True, ssl_ca_certs=str(authority), **place)
        await reaches_the_same(by_file, SLOW_TO_SHAKE)
        by_text = Redis(ssl=True, ssl_ca_data=authority.read_text(), **place)
        await reaches_the_same(by_text, SLOW_TO_SHAKE)


@with_openssl
@pytest.mark.parametrize("host, trusts", [("127.0.0.1", False), ("localhost", True)])
async def test_a_certificate_that_does_not_fit_is_refused(
    redis: RedisServer, pems: Path, host: str, trusts: bool
) -> None:
    heard = Heard()
    options: dict[str, Any] = {"ssl_ca_certs": str(pems / "cert.pem")} if trusts else {}
    async with serving(forwarding_to(redis), context(pems)) as proxy:
        client = Redis(host=host, port=proxy.port, password=PASSWORD, ssl=True, **options)
        async with Link(address_of(client), heard, settings=SLOW_TO_SHAKE) as link:
            assert not link.alive
    assert "CERTIFICATE_VERIFY_FAILED" in heard.troubles[0]


@with_openssl
async def test_a_client_certificate_whose_key_has_a_password_is_shown(
    redis: RedisServer, pems: Path, locked_key: Path
) -> None:
    certificate = str(pems / "cert.pem")
    async with serving(forwarding_to(redis), context(pems, asks=True)) as proxy:
        client = Redis(
            host=proxy.host,
            port=proxy.port,
            password=PASSWORD,
            ssl=True,
            ssl_ca_certs=certificate,
            ssl_certfile=certificate,
            ssl_keyfile=str(locked_key),
            ssl_password=SECRET,
            ssl_min_version=ssl.TLSVersion.TLSv1_2,
        )
        await reaches_the_same(client, SLOW_TO_SHAKE)
