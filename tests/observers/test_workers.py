"""gunicorn's workers and uvicorn's: their reads are added up, and what a worker that ended had of
its own goes with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from repocache.testing.ports import free_port
from tests.observers.test_prometheus import value
from tests.shop import until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="gunicorn runs on Unix")
ROOT = Path(__file__).parents[2]
APP = "tests.observers.workers_app"
CONFIGURATION = """
from prometheus_client import multiprocess


def child_exit(server, worker):
    multiprocess.mark_process_dead(worker.pid)
"""
"""As docs/metrics.md has it."""


@contextmanager
def serving(folder: Path, *command: str) -> Iterator[None]:
    """A server with its workers, all ended on leaving, whatever happens."""
    shared = folder / "shared"
    shared.mkdir()
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(shared), "PYTHONPATH": str(ROOT)}
    server = subprocess.Popen(
        [sys.executable, "-m", *command], env=environment, cwd=ROOT, start_new_session=True
    )
    try:
        yield
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


async def asked(url: str, count: int, workers: int) -> tuple[set[int], int]:
    """The processes that have answered, all of them, and how many requests; each was on a
    connection of its own."""
    found: set[int] = set()
    answered = 0

    async def once() -> bool:
        nonlocal answered
        try:
            async with httpx.AsyncClient() as client:
                answer = await client.get(url)
        except httpx.TransportError:
            return False
        found.add(int(answer.text))
        answered += 1
        return len(found) >= workers and answered >= count

    await until(once, f"{workers} workers have answered", 40)
    return found, answered


async def scraped(url: str) -> str:
    async with httpx.AsyncClient() as client:
        return (await client.get(f"{url}/metrics")).text


async def test_gunicorn_s_workers_share_a_scrape(tmp_path: Path) -> None:
    configuration = tmp_path / "gunicorn.conf.py"
    configuration.write_text(CONFIGURATION)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = ("gunicorn", "-c", str(configuration), "-w", "2", "-b", f"127.0.0.1:{port}")
    with serving(tmp_path, *command, f"{APP}:wsgi"):
        (one, _), reads = await asked(url, 10, 2)
        text = await scraped(url)
        assert value(text, "repocache_reads_total", owner="user", tier="database") == reads
        assert value(text, "repocache_l1_entries", owner="user") == 10
        os.kill(one, signal.SIGKILL)

        async def is_gone() -> bool:
            return value(await scraped(url), "repocache_l1_entries", owner="user") == 5

        await until(is_gone, "its gauges have gone with it", 20)
        text = await scraped(url)
        assert value(text, "repocache_reads_total", owner="user", tier="database") == reads


async def test_uvicorn_s_workers_share_a_scrape(tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = ("uvicorn", "--workers", "2", "--port", str(port), "--log-level", "warning")
    with serving(tmp_path, *command, f"{APP}:asgi"):
        _, reads = await asked(url, 10, 2)
        text = await scraped(url)
        assert value(text, "repocache_reads_total", owner="user", tier="database") == reads
        assert value(text, "repocache_l1_entries", owner="user") == 10
