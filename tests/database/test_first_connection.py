"""What goes wrong while SQLAlchemy gets to know the primary, at the first write, reaches the caller
as it is."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy.exc import DBAPIError

from repocache.testing import Endpoints, Servers
from tests.shop import open_shop, shop_template
from tests.tcp_proxy import TcpProxy

ASKED = b"pg_catalog.version"
"""The first question on the first connection of an engine."""


@pytest.fixture(scope="session")
def repocache_template(repocache_servers: Servers) -> str:
    return shop_template(repocache_servers)


@pytest.mark.parametrize("lost", [False, True], ids=["cancelled", "lost"])
async def test_the_first_write_fails_with_its_own_error(
    repocache_endpoints: Endpoints, lost: bool
) -> None:
    async with TcpProxy(repocache_endpoints.primary) as door:
        ends = Endpoints(door.url, repocache_endpoints.replicas, repocache_endpoints.redis)
        async with open_shop(ends) as shop:
            trapped = door.trap(ASKED)
            write = asyncio.create_task(shop.rename(1, "new"))
            held = await trapped
            if lost:
                held.lose()
            else:
                write.cancel()
            await asyncio.wait([write])
            held.lose()
            if lost:
                assert isinstance(write.exception(), DBAPIError)
            else:
                assert write.cancelled()
            await shop.rename(1, "newer")
            user = await shop.users.get(1)
            assert user is not None
            assert user.name == "newer"
