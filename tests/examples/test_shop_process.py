"""The shop as `dev.py shop` runs it: it comes up, answers, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from pathlib import Path

import httpx
import pytest

from examples.shop.policies import COOKIES_GO
from examples.shop.varnish import vcl
from repocache.testing.process import processes
from tests.edges.servers import needs_varnish

ROOT = Path(__file__).parents[2]
FOR_ITS_CHILD = """
import signal, sys, time
def ended(*_):
    time.sleep(1.0)  # longer than a parent that is interrupted would wait
    print("cleaned up", flush=True)
    sys.exit(7)
signal.signal(signal.SIGINT, ended)
print("ready", flush=True)
time.sleep(60)
"""
WAITS = "import dev, sys; sys.exit(dev.finished([sys.executable, '-c', sys.argv[1]]))"


async def started(*arguments: str) -> asyncio.subprocess.Process:
    """With signals as at a terminal, in a group of its own."""

    def as_at_a_terminal() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)

    return await asyncio.create_subprocess_exec(
        *(sys.executable, *arguments),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=as_at_a_terminal,
    )


async def line_with(process: asyncio.subprocess.Process, words: str) -> list[str]:
    """All lines until one has these words."""
    assert process.stdout is not None
    lines = []
    async with asyncio.timeout(90):
        async for line in process.stdout:
            lines.append(line.decode())
            if words in lines[-1]:
                return lines
    raise AssertionError("".join(lines))


def offspring(pid: int) -> set[int]:
    """All that descend from it."""
    found = {pid}
    for _ in range(5):
        found |= {each for each, parent in processes() if parent in found}
    return found - {pid}


@pytest.mark.parametrize("edge", [pytest.param(True, marks=needs_varnish), False])
async def test_it_serves_until_ctrl_c(edge: bool) -> None:
    arguments = () if edge else ("--no-edge",)
    process = await started("-m", "examples.shop", "--port", "18431", *arguments)
    try:
        lines = await line_with(process, "Ctrl-C")
        url, port = re.findall(r"http://(north\.localhost:(\d+))", lines[0])[0]
        assert edge is ("behind Varnish" in lines[0])
        async with httpx.AsyncClient(trust_env=False) as client:
            path, host = f"http://127.0.0.1:{port}/products/lantern", {"Host": url}
            assert "Lantern" in (await client.get(path, headers=host)).text
            answer = await client.get(path, headers=host)
            assert "Lantern" in answer.text
            assert edge is ("varnish; hit" in answer.headers["cache-status"])
        left = offspring(process.pid)
        assert left
        process.send_signal(signal.SIGINT)
        rest, _ = await asyncio.wait_for(process.communicate(), 60)
        assert b"Traceback" not in rest
        assert process.returncode == 130
        assert not left & {pid for pid, _ in processes()}
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_ctrl_c_lets_what_runs_clean_up() -> None:
    """The terminal sends it to all: the one that waits must not end the other."""
    process = await started("-c", WAITS, FOR_ITS_CHILD)
    try:
        await line_with(process, "ready")
        os.killpg(process.pid, signal.SIGINT)
        await line_with(process, "cleaned up")
        assert await asyncio.wait_for(process.wait(), 30) == 7
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


def test_the_shipped_vcl_is_changed_in_three_places() -> None:
    text = vcl(8123, Path("/somewhere/secret"))
    assert '.port = "8123"' in text
    assert 'std.fileread("/somewhere/secret")' in text
    assert f"    {COOKIES_GO}{{ unset req.http.Cookie; }}" in text
