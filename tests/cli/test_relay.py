"""`repocache relay` as a process: it delivers what nobody else does, and ends when it is told
to."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from repocache.invalidation.outbox import TABLE
from repocache.testing import Endpoints, Servers
from tests.outbox.conftest import outbox_template
from tests.shop import until

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def repocache_template(repocache_servers: Servers) -> str:
    return outbox_template(repocache_servers)


@contextmanager
def relaying(folder: Path, target: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "repocache", "relay", target],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def write_application(folder: Path, ends: Endpoints) -> None:
    (folder / "shop_data.py").write_text(
        "from repocache import Database\nfrom tests.shop import REPOSITORIES\n"
        f"db = Database({ends.primary!r}, redis={ends.redis!r}, repositories=REPOSITORIES)\n"
    )


async def test_it_delivers_and_ends(repocache_endpoints: Endpoints, tmp_path: Path) -> None:
    write_application(tmp_path, repocache_endpoints)
    engine = create_async_engine(repocache_endpoints.primary)
    async with engine.begin() as connection:
        row = {"notices": '[{"k": ["user:7"], "o": []}]'}
        await connection.execute(
            text(f"INSERT INTO {TABLE} (notices) VALUES (CAST(:notices AS jsonb))"), row
        )
    with relaying(tmp_path, "shop_data:db") as process:

        async def empty() -> bool:
            async with engine.connect() as connection:
                return (
                    await connection.execute(text(f"SELECT count(*) FROM {TABLE}"))
                ).scalar() == 0

        await until(empty, "it has delivered")
        os.kill(process.pid, signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 20) == 0
        assert process.stdout is not None
        assert process.stdout.read() == "relaying\n"
    await engine.dispose()


async def test_without_an_outbox(repocache_endpoints: Endpoints, tmp_path: Path) -> None:
    write_application(tmp_path, repocache_endpoints)
    engine = create_async_engine(repocache_endpoints.primary)
    async with engine.begin() as connection:
        await connection.execute(text(f"DROP TABLE {TABLE}"))
    await engine.dispose()
    with relaying(tmp_path, "shop_data:db") as process:
        assert await asyncio.to_thread(process.wait, 30) == 2
        assert process.stderr is not None
        assert "op.create_repocache_outbox() makes one" in process.stderr.read()
