"""The shop on the servers, new for each test, under other policies."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from repocache.testing import Endpoints, Servers
from tests.lookups.accounts import make_accounts
from tests.policies.kinds import Accounts, Players, Teams, open_kinds
from tests.shop import Shop, make_shop, template


@pytest.fixture(scope="session")
def repocache_template(repocache_servers: Servers) -> str:
    async def make(url: str) -> None:
        await make_shop(url)
        await make_accounts(url)

    return template(repocache_servers, "policies_template", make)


@pytest.fixture
async def shop(repocache_endpoints: Endpoints) -> AsyncIterator[Shop]:
    async with open_kinds(repocache_endpoints) as shop:
        yield shop


@pytest.fixture
async def other(repocache_endpoints: Endpoints, shop: Shop) -> AsyncIterator[Shop]:
    """Another process of the same application."""
    async with open_kinds(repocache_endpoints) as other:
        yield other


@pytest.fixture
async def games(repocache_endpoints: Endpoints) -> AsyncIterator[Shop]:
    """What is cached beside rows under write-around."""
    async with open_kinds(repocache_endpoints, (Accounts, Teams, Players)) as games:
        yield games
