import asyncio
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    "name", ["hits_local", "hits_redis", "misses", "commits", "write_through", "invalidation"]
)
async def test_a_benchmark_runs_and_judges_its_bars(name: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", f"benchmarks.{name}", "--quick"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = (text.decode() for text in await process.communicate())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, err
    assert "wanted:" in out
    # What people use beside it need not be installed; whatever is has to work.
    assert not [
        line
        for line in out.splitlines()
        if "not measured:" in line and "ModuleNotFoundError" not in line
    ]
