"""TLS, through a small proxy that ends it: the embedded server speaks none."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest

from repocache.redis_link import Address, Link, Tls
from repocache.testing import RedisServer
from tests.redis_link.conftest import PASSWORD
from tests.redis_link.heard import PATIENT, QUICK, Heard, until
from tests.redis_link.sentinel import Saying, named
from tests.redis_link.serving import serving
from tests.redis_link.tls_proxy import SLOW_TO_SHAKE, context, forwarding_to

pytestmark = [
    pytest.mark.usefixtures("clean_loop"),
    pytest.mark.skipif(not shutil.which("openssl"), reason="makes its certificates with openssl"),
]


async def test_calls_pushes_and_big_values_pass(redis: RedisServer, pems: Path) -> None:
    heard = Heard()
    big = b"x" * 3_000_000
    async with serving(forwarding_to(redis), context(pems)) as proxy:
        url = f"rediss://127.0.0.1:{proxy.port}/1?ssl_ca_certs={pems / 'cert.pem'}"
        address = replace(Address.parse(url), password=PASSWORD)
        async with Link(address, heard, channels=["news"], settings=PATIENT) as link:
            assert await link.call("SET", "k", big) == b"OK"
            assert await link.call("GET", "k") == big
            await link.call("PUBLISH", "news", "hello")
            assert heard.pushes == [(b"news", b"hello")]
            await link.call("FLUSHDB")


async def test_client_certificate_is_shown(redis: RedisServer, pems: Path) -> None:
    cert, key = str(pems / "cert.pem"), str(pems / "key.pem")
    async with serving(forwarding_to(redis), context(pems, asks=True)) as proxy:
        shown = replace(proxy, password=PASSWORD, tls=Tls(cert, cert, key))
        async with Link(shown, Heard(), settings=SLOW_TO_SHAKE) as link:
            assert await link.call("PING") == b"PONG"
        async with Link(replace(shown, tls=Tls(cert)), Heard(), settings=QUICK) as link:
            assert not link.alive


@pytest.mark.parametrize("host, tls", [("127.0.0.1", False), ("localhost", True)])
async def test_a_certificate_that_does_not_fit_is_refused(
    redis: RedisServer, pems: Path, host: str, tls: bool
) -> None:
    heard = Heard()
    ca = Tls(str(pems / "cert.pem")) if tls else Tls()
    async with serving(forwarding_to(redis), context(pems)) as proxy:
        wrong = replace(proxy, host=host, tls=ca, password=PASSWORD)
        async with Link(wrong, heard, settings=SLOW_TO_SHAKE) as link:
            assert not link.alive
            assert "CERTIFICATE_VERIFY_FAILED" in heard.troubles[0]
        if tls:
            unchecked = replace(wrong, tls=replace(ca, check_hostname=False))
            async with Link(unchecked, Heard(), settings=SLOW_TO_SHAKE) as link:
                await until(lambda: link.alive)


async def test_sentinels_and_servers_are_spoken_to_alike(redis: RedisServer, pems: Path) -> None:
    login = f":{quote(PASSWORD, safe='')}@"
    async with serving(forwarding_to(redis), context(pems)) as proxy:
        saying = Saying(named(proxy.port, 1))
        async with saying.serving(context(pems)) as sentinel:
            options = f"ssl_ca_certs={pems / 'cert.pem'}"
            url = f"rediss+sentinel://{login}127.0.0.1:{sentinel.port}/main/0?{options}"
            async with Link(Address.parse(url), Heard(), settings=SLOW_TO_SHAKE) as link:
                assert await link.call("PING") == b"PONG"
