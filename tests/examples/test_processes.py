"""The second example in a process of its own, as a server runs it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from examples.admin.app import make_app
from examples.admin.repositories import REPOSITORIES
from repocache.testing import Endpoints, Servers
from repocache.testing.ports import free_port
from tests.examples.admin import ADA, CHANGES, ME, make_admin
from tests.examples.service import SECRET, Visitor, plain, serving, truth
from tests.shop import template, until

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def repocache_template(repocache_servers: Servers) -> str:
    return template(repocache_servers, "admin_template", make_admin)


@asynccontextmanager
async def running(ends: Endpoints) -> AsyncIterator[Visitor]:
    """`uvicorn --factory examples.admin.app:from_env`."""
    said = {
        "PYTHONPATH": str(ROOT),
        "ADMIN_SECRET": SECRET,
        "ADMIN_DB_PRIMARY": ends.primary,
        "ADMIN_DB_REPLICAS": " ".join(ends.replicas),
        "ADMIN_DB_REDIS": ends.redis,
    }
    port = str(free_port())
    application = ("--factory", "examples.admin.app:from_env")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "uvicorn", *application, "--port", port, "--log-level", "error"),
        env={**os.environ, **said},
        cwd=ROOT,
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:

            async def answers() -> bool:
                assert process.returncode is None
                try:
                    return (await client.get("/openapi.json")).is_success
                except httpx.ConnectError:
                    await asyncio.sleep(0.1)
                    return False

            await until(answers, "it answers", 60)
            yield Visitor(client)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def test_two_processes_answer_alike(repocache_endpoints: Endpoints) -> None:
    """Each has read what the other then changes."""
    ends = repocache_endpoints
    async with (
        serving(plain(ends), REPOSITORIES, make_app) as oracle,
        serving(ends, REPOSITORIES, make_app) as here,
        running(ends) as there,
    ):
        by: Visitor = there
        beside: Visitor = here
        for table, (method, path, body) in CHANGES.items():
            by.bookmark = beside.bookmark = None
            before = [await each.all(ME) for each in (by, beside, by, beside)]
            assert (await by.ask(method, path, ADA, json=body))[0] == 200
            after = await truth(oracle, ME)
            assert after not in before, table
            beside.bookmark = by.bookmark
            assert [await each.all(ME) for each in (by, beside)] == [after, after], table
            by, beside = beside, by
