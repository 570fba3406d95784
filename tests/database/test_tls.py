"""TLS to PostgreSQL servers that speak it themselves, by an authority of their own: who is verified
is who is meant."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from repocache.errors import DatabaseUnavailable
from repocache.testing import Endpoints, Layout, Servers, embedded_servers
from repocache.testing.binaries import POSTGRES_VARIABLE, SYSTEM_FOLDERS
from repocache.testing.process import Account, await_condition
from tests.outbox.conftest import outbox_template
from tests.shop import open_shop

pytestmark = pytest.mark.skipif(
    not shutil.which("openssl"), reason="makes its certificates with openssl"
)
OF_APP = "FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'app'"
KEY = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"


def speaking_tls() -> list[Path]:
    """`bin` folders of servers that were built with it; those of wheels are not."""
    given = os.environ.get(POSTGRES_VARIABLE)
    folders = (
        [Path(given)]
        if given
        else [each for pattern in SYSTEM_FOLDERS for each in Path("/").glob(pattern)]
    )
    return [each for each in folders if b"SSL_CTX_new" in (each / "postgres").read_bytes()]


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(
        ["openssl", *" ".join(arguments).split()], cwd=folder, check=True, capture_output=True
    )


@pytest.fixture(scope="module")
def pems() -> Iterator[Path]:
    """An authority (`ca.pem`), a server's certificate by it for 127.0.0.1 alone, and another
    authority."""
    account = Account.unprivileged()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        for authority in ("ca", "other"):
            openssl(
                folder,
                (
                    f"req -x509 {KEY} -subj /CN={authority} -keyout {authority}.key -out "
                    f"{authority}.pem"
                ),
            )
        openssl(folder, f"req {KEY} -subj /CN=postgres -keyout server.key -out server.csr")
        (folder / "names").write_text("subjectAltName=IP:127.0.0.1")
        signed = "-CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names"
        openssl(folder, f"x509 -req -in server.csr -out server.pem {signed}")
        (folder / "server.key").chmod(0o600)
        account.own(folder / "server.key")
        yield folder


@pytest.fixture(scope="module")
def tls(pems: Path) -> Iterator[Servers]:
    """A primary and a replica with TLS, and a Redis."""
    found = speaking_tls()
    if not found:
        pytest.skip("no PostgreSQL of this machine speaks TLS")
    files = {"ssl_cert_file": str(pems / "server.pem"), "ssl_key_file": str(pems / "server.key")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(POSTGRES_VARIABLE, str(found[0]))
        with embedded_servers(Layout(replicas=1, postgres={"ssl": "on", **files})) as servers:
            yield servers


@pytest.fixture(scope="module")
def shop_endpoints(tls: Servers) -> Endpoints:
    found = tls.endpoints(outbox_template(tls))
    tls.catch_up()
    return found


def asking(endpoints: Endpoints, query: str, host: str = "127.0.0.1") -> Endpoints:
    primary, *replicas = (
        f"{url.replace('127.0.0.1', host)}?{query}"
        for url in (endpoints.primary, *endpoints.replicas)
    )
    return Endpoints(primary, tuple(replicas), endpoints.redis)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "sslmode=require",
        "sslmode=verify-ca&sslrootcert={pems}/ca.pem",
        "ssl=verify-full&sslrootcert={pems}/ca.pem",
    ],
)
async def test_all_connections_are_encrypted(
    query: str, tls: Servers, shop_endpoints: Endpoints, pems: Path
) -> None:
    """Those of the outbox and the polls too; the replica's as well. Without a word TLS is used
    where it is offered."""
    async with open_shop(asking(shop_endpoints, query.format(pems=pems))) as shop:
        await shop.rename(7, "Ada")
        assert (await shop.users.require(7)).name == "Ada"
        assert shop.db.is_durable
        for server in (tls.primary, *tls.replicas):
            found = server.sql(f"SELECT ssl, count(*) {OF_APP} GROUP BY ssl")
            assert [encrypted for encrypted, _ in found] == ["t"]


async def test_disabled_it_is_not_used(tls: Servers, shop_endpoints: Endpoints) -> None:
    async with open_shop(asking(shop_endpoints, "sslmode=disable")):
        found = tls.primary.sql(f"SELECT DISTINCT ssl {OF_APP}")
        assert found == [("f",)]


@pytest.mark.parametrize(
    "query, host",
    [
        ("sslmode=verify-full&sslrootcert={pems}/ca.pem", "localhost"),
        ("sslmode=verify-full&sslrootcert={pems}/other.pem", "127.0.0.1"),
        ("sslmode=verify-ca&sslrootcert={pems}/other.pem", "127.0.0.1"),
        ("sslmode=verify-full", "127.0.0.1"),
    ],
    ids=[
        "another host",
        "another authority",
        "another authority, any host",
        "the system's authorities",
    ],
)
async def test_who_is_not_the_one_meant_is_refused(
    query: str, host: str, shop_endpoints: Endpoints, pems: Path
) -> None:
    with pytest.raises(DatabaseUnavailable):
        async with open_shop(asking(shop_endpoints, query.format(pems=pems), host)):
            pass


async def test_another_host_of_the_same_authority_is_none_of_verify_cas_affairs(
    shop_endpoints: Endpoints, pems: Path
) -> None:
    async with open_shop(
        asking(shop_endpoints, f"sslmode=verify-ca&sslrootcert={pems}/ca.pem", "localhost")
    ) as shop:
        assert await shop.users.get(7) is not None


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
async def test_a_server_without_it_is_refused_where_it_is_required(
    mode: str, tls: Servers, pems: Path
) -> None:
    """Also one that has lost it: nothing falls back to plain text."""
    tls.primary.sql("ALTER SYSTEM SET ssl = off; SELECT pg_reload_conf()")
    await_condition(lambda: tls.primary.sql("SHOW ssl") == [("off",)], "it has none")
    try:
        endpoints = asking(
            tls.endpoints(outbox_template(tls)), f"sslmode={mode}&sslrootcert={pems}/ca.pem"
        )
        with pytest.raises(DatabaseUnavailable, match="SSL"):
            async with open_shop(endpoints):
                pass
    finally:
        tls.primary.sql("ALTER SYSTEM RESET ssl; SELECT pg_reload_conf()")
