"""An origin and a Worker before it, for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.edges.worker.running_worker import Origin, installed, running, serving


@pytest.fixture(scope="session")
def packages() -> Path:
    return installed()


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    async with serving() as here:
        yield here


@pytest.fixture
async def edge(packages: Path, origin: Origin) -> AsyncIterator[httpx.AsyncClient]:
    async with running(packages, {"ORIGIN": origin.address}) as client:
        yield client
