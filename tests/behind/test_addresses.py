"""Streams are read wherever the link leads: by TLS, a Unix socket, and through sentinels, whose
failover they follow."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from repocache import LinkSettings, Settings
from repocache.errors import AcceptanceUnknown, BehindUnavailable
from repocache.redis_link import Address, Limits, Tls
from repocache.testing import Endpoints, Layout, Servers, redis_group
from repocache.testing.embedded import start_redis
from repocache.testing.folder import RunFolder
from repocache.testing.process import Account
from tests.behind.counters import Counting, PageViews, counting
from tests.redis_link.serving import serving
from tests.redis_link.tls_proxy import context, forwarding_to
from tests.shop import QUICK, until

SLOW = Settings(
    topology=QUICK, link=LinkSettings(connect_timeout=10.0, limits=Limits(reply_timeout=5.0))
)


async def works(place: Counting) -> None:
    views = place.db[PageViews]
    before = await views.get(7)
    await views.add(7, hits=1)
    after = await views.require(7)
    assert after.hits == (before.hits if before else 0) + 1
    await views.flushed()
    assert await place.sql(f"SELECT 1 FROM page_views WHERE hits = {after.hits}") == [(1,)]


@pytest.fixture(scope="module")
def pems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """cert.pem and key.pem, signed by themselves, for 127.0.0.1."""
    if not shutil.which("openssl"):
        pytest.skip("makes its certificates with openssl")
    folder = tmp_path_factory.mktemp("pems")
    made = (
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=redis"
    )
    more = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(["openssl", *made.split(), *more], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.mark.parametrize("own", [True, False])
async def test_by_tls(
    own: bool, pems: Path, repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    plain = Address.parse(repocache_endpoints.redis)
    authority = str(pems / "cert.pem")
    tls = Tls(own=ssl.create_default_context(cafile=authority)) if own else Tls(authority)
    async with serving(forwarding_to(repocache_servers.redis), context(pems)) as proxy:
        address = dataclasses.replace(plain, host=proxy.host, port=proxy.port, tls=tls)
        placed = dataclasses.replace(repocache_endpoints, redis=address)  # type: ignore[arg-type]
        async with counting(placed, [PageViews], SLOW) as place:
            await works(place)
        # Whoever does not trust the authority is not spoken to.
        other = dataclasses.replace(address, tls=Tls())
        placed = dataclasses.replace(repocache_endpoints, redis=other)  # type: ignore[arg-type]
        async with counting(placed, [PageViews], SLOW) as place:
            with pytest.raises(BehindUnavailable):
                await place.db[PageViews].backlog()


@pytest.fixture
def socket() -> Iterator[str]:
    """A URL. The path is short, and the server is another user."""
    with ExitStack() as stack, tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        account = Account.unprivileged()
        folder = stack.enter_context(RunFolder(account))
        lines = (f"unixsocket {name}/r.sock", "unixsocketperm 777")
        server = start_redis(stack, folder, account, Layout(redis=lines))
        password = Address.parse(server.url).password
        yield f"unix://:{password}@{name}/r.sock?db=3"


async def test_by_a_unix_socket(socket: str, repocache_endpoints: Endpoints) -> None:
    placed = dataclasses.replace(repocache_endpoints, redis=socket)
    async with counting(placed, [PageViews]) as place:
        await works(place)


@pytest.mark.timeout(120)
async def test_through_sentinels_and_their_failover(repocache_endpoints: Endpoints) -> None:
    with redis_group() as group:
        placed = dataclasses.replace(repocache_endpoints, redis=group.url)
        async with counting(placed, [PageViews]) as place:
            await works(place)
            old = group.master
            await asyncio.to_thread(old.kill)
            await asyncio.to_thread(group.await_failover, old)

            async def again() -> bool:
                try:
                    await works(place)
                except (BehindUnavailable, AcceptanceUnknown):
                    return False
                return True

            await until(again, "the new master is found", seconds=60)
            await works(place)
