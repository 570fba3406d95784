"""TLS, through a small proxy that ends it: the embedded server speaks none."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest

from repocache.redis_link import Address, Link, LinkSettings, Tls
from repocache.testing import RedisServer
from tests.redis_link.conftest import PASSWORD
from tests.redis_link.heard import PATIENT, QUICK, Heard, until
from tests.redis_link.sentinel import Saying, named
from tests.redis_link.serving import Answer, serving

pytestmark = [
    pytest.mark.usefixtures("clean_loop"),
    pytest.mark.skipif(not shutil.which("openssl"), reason="makes its certificates with openssl"),
]
SLOW_TO_SHAKE = LinkSettings(connect_timeout=20, limits=QUICK.limits, breaker=QUICK.breaker)


@pytest.fixture(scope="module")
def pems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """cert.pem and key.pem, signed by themselves, for 127.0.0.1."""
    folder = tmp_path_factory.mktemp("pems")
    made = (
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=redis"
    )
    more = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(["openssl", *made.split(), *more], cwd=folder, check=True, capture_output=True)
    return folder


def forwarding_to(redis: RedisServer) -> Answer:
    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.transport.abort()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind, onward = await asyncio.open_connection(redis.host, redis.port)
        await asyncio.gather(copy(reader, onward), copy(behind, writer))

    return forward


def context(pems: Path, *, asks: bool = False) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pems / "cert.pem", pems / "key.pem")
    if asks:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(pems / "cert.pem")
    return context


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
