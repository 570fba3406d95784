"""Clients of redis-py's in the place of a URL: what is taken over, and what is refused."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

import pytest
import redis as blocking
import redis.asyncio as clients
from redis.asyncio import (
    BlockingConnectionPool,
    Connection,
    ConnectionPool,
    Redis,
    RedisCluster,
)
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.credentials import UsernamePasswordCredentialProvider

from repocache.errors import ConfigurationError
from repocache.redis_link import Address, Tls, address_of
from tests.spilled import told

SECRET = "hunter2Zq"
LOGIN: dict[str, Any] = {"username": "ada", "password": SECRET}
SENTINELS = [("a", 1), ("b", 2)]
Sentinel: Any = clients.Sentinel  # it has no types


class OwnConnection(Connection):
    pass


class OwnPool(ConnectionPool):
    pass


class OwnRedis(Redis):
    def __init__(self, **options: Any) -> None:
        super().__init__(host="cache", **options)


def tls(**options: Any) -> Redis:
    return Redis(host="cache", ssl=True, **options)


@pytest.mark.parametrize(
    "make, address",
    [
        (Redis, Address()),
        (lambda: Redis(host="cache", port=7, db=3, **LOGIN), Address("cache", 7, db=3, **LOGIN)),
        (lambda: Redis(host="::1", password=SECRET), Address("::1", password=SECRET)),
        (
            lambda: Redis.from_url(f"redis://ada:{SECRET}@cache:7/3"),
            Address("cache", 7, db=3, **LOGIN),
        ),
        (lambda: Redis.from_url("redis://"), Address()),
        (
            lambda: Redis(connection_pool=BlockingConnectionPool(host="cache", db="4")),
            Address("cache", db=4),
        ),
        (
            lambda: Redis(unix_socket_path="/run/r.sock", db=2, **LOGIN),
            Address("", 0, "/run/r.sock", db=2, **LOGIN),
        ),
        (
            lambda: Redis.from_url(f"unix://ada:{SECRET}@/run/r.sock?db=2"),
            Address("", 0, "/run/r.sock", db=2, **LOGIN),
        ),
        (tls, Address("cache", tls=Tls())),
        (
            lambda: tls(ssl_ca_certs="/a", ssl_certfile="/c", ssl_keyfile="/k"),
            Address("cache", tls=Tls("/a", "/c", "/k")),
        ),
        (lambda: tls(ssl_check_hostname=False), Address("cache", tls=Tls(check_hostname=False))),
        (lambda: tls(ssl_cert_reqs=ssl.CERT_REQUIRED), Address("cache", tls=Tls())),
        (
            lambda: Redis.from_url("rediss://cache?ssl_ca_certs=/a&ssl_check_hostname=false"),
            Address("cache", tls=Tls("/a", check_hostname=False)),
        ),
        (lambda: OwnRedis(db=1), Address("cache", db=1)),
        (lambda: blocking.Redis(host="cache", db=1), Address("cache", db=1)),
        (
            lambda: Redis(
                host="cache",
                decode_responses=True,
                socket_timeout=0.5,
                max_connections=3,
                protocol=3,
                client_name="shop",
            ),
            Address("cache"),
        ),
        (
            lambda: Sentinel(
                SENTINELS,
                sentinel_kwargs={"username": "eve", "password": "s&t"},
                socket_timeout=0.1,
                **LOGIN,
            ).master_for("main", db=4),
            Address(
                "",
                0,
                db=4,
                **LOGIN,
                sentinels=tuple(
                    Address(host, port, username="eve", password="s&t") for host, port in SENTINELS
                ),
                service="main",
            ),
        ),
        (
            lambda: Sentinel(
                SENTINELS,
                ssl=True,
                ssl_ca_certs="/a",
                sentinel_kwargs={"ssl": True, "ssl_ca_certs": "/a"},
            ).master_for("main"),
            Address(
                "",
                0,
                tls=Tls("/a"),
                sentinels=tuple(Address(host, port, tls=Tls("/a")) for host, port in SENTINELS),
                service="main",
            ),
        ),
    ],
)
async def test_its_address_is_taken(make: Callable[[], Any], address: Address) -> None:
    assert address_of(make()) == address


async def test_an_address_and_a_url_are_what_they_are() -> None:
    address = Address("cache", tls=Tls(own=ssl.create_default_context()))
    assert address_of(address) is address
    assert address_of("redis://cache:7/3") == Address("cache", 7, db=3)


def of_sentinels(**options: Any) -> Redis:
    client: Redis = Sentinel(SENTINELS, **options).master_for("main", **LOGIN)
    return client


@pytest.mark.parametrize(
    "make, option, remedy",
    [
        (
            lambda: Redis(credential_provider=UsernamePasswordCredentialProvider("ada", SECRET)),
            "credential_provider",
            "give username and password",
        ),
        (lambda: Redis(redis_connect_func=print, **LOGIN), "redis_connect_func", "give a URL"),
        (lambda: Redis(retry=Retry(NoBackoff(), 7), **LOGIN), "retry", "BreakerSettings"),
        (lambda: Redis(retry_on_error=[OSError], **LOGIN), "retry_on_error", "BreakerSettings"),
        (
            lambda: Redis(connection_pool=ConnectionPool(OwnConnection, **LOGIN)),
            "OwnConnection",
            "give a URL or an Address",
        ),
        (lambda: Redis(connection_pool=OwnPool(**LOGIN)), "OwnPool", "give a URL or an Address"),
        (lambda: Redis(**{**LOGIN, "password": SECRET.encode()}), "password", "give a text"),
        (lambda: Redis(host="a", db=SECRET), "db", "no number"),
        (lambda: RedisCluster(host="a", **LOGIN), "Redis Cluster is not supported", "one server"),
        (lambda: Sentinel(SENTINELS, **LOGIN), "Sentinel", "sentinel.master_for('mymaster')"),
        (
            lambda: Sentinel(SENTINELS).slave_for("main", **LOGIN),
            "slave_for",
            "sentinel.master_for('mymaster')",
        ),
        (lambda: of_sentinels(min_other_sentinels=1), "min_other_sentinels", "leave it out"),
        (lambda: of_sentinels(force_master_ip="1.1.1.1"), "force_master_ip", "leave it out"),
        (lambda: of_sentinels(ssl=True), "TLS", "sentinel_kwargs={'ssl': True"),
        (
            lambda: of_sentinels(sentinel_kwargs={"redis_connect_func": print}),
            "redis_connect_func",
            "give a URL",
        ),
        (lambda: tls(ssl_cert_reqs="none", **LOGIN), "ssl_cert_reqs", "ssl_ca_certs"),
        (lambda: tls(ssl_cert_reqs=ssl.CERT_NONE, **LOGIN), "ssl_cert_reqs", "ssl_ca_certs"),
        (lambda: tls(ssl_keyfile="/k", **LOGIN), "ssl_keyfile", "with ssl_certfile"),
        (lambda: tls(ssl_ca_data=SECRET, **LOGIN), "ssl options", "ssl_ca_data"),
        (
            lambda: tls(ssl_certfile="/none", ssl_password=SECRET, **LOGIN),
            "ssl options",
            "check its files",
        ),
        (lambda: tls(ssl_ciphers=SECRET, **LOGIN), "ssl options", "ssl_ciphers"),
    ],
)
async def test_what_cannot_be_taken_is_named_with_a_remedy(
    make: Callable[[], Any], option: str, remedy: str
) -> None:
    client = make()
    with pytest.raises(ConfigurationError) as caught:
        address_of(client)
    assert option in str(caught.value)
    assert remedy in str(caught.value)
    assert SECRET not in told(caught.value)


async def test_an_option_that_nobody_knows_is_refused() -> None:
    client = Redis(connection_pool=ConnectionPool(host="cache", tunnel="bastion"))
    with pytest.raises(ConfigurationError, match="the client's tunnel cannot be taken over: give"):
        address_of(client)


async def test_clients_of_valkeys_are_read_alike() -> None:
    valkey = pytest.importorskip("valkey.asyncio")
    client = valkey.Valkey(host="cache", port=7, db=3, ssl=True, ssl_ca_certs="/a", **LOGIN)
    taken = address_of(client)
    assert (taken.host, taken.port, taken.db, taken.password) == ("cache", 7, 3, SECRET)
    assert taken.tls is not None
    assert taken.tls.ca_certs == "/a"
