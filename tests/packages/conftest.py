"""A database for each test, whose tables are those of a package's models."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from repocache.testing import Endpoints
from tests.packages.places import Places


@pytest.fixture
async def places(repocache_endpoints: Endpoints) -> AsyncIterator[Places]:
    opened = Places(repocache_endpoints)
    yield opened
    await opened.close()
