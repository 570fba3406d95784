"""A library on the servers, new for each test."""

from __future__ import annotations

import pytest

from repocache.testing import Servers
from tests.cached.library import make_library
from tests.shop import template


@pytest.fixture(scope="session")
def repocache_template(repocache_servers: Servers) -> str:
    return template(repocache_servers, "books_template", make_library)
