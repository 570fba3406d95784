import asyncio
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks._growth.pictures import MISSING
from benchmarks.growth import AXES

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    "name", ["hits_local", "hits_redis", "misses", "commits", "write_through", "invalidation"]
)
async def test_a_benchmark_runs_and_judges_its_bars(name: str) -> None:
    out = await quick(name)
    assert "wanted:" in out
    assert unmeasured(out) == []


@pytest.mark.timeout(300)
async def test_growth_is_drawn_on_every_axis(tmp_path: Path) -> None:
    out = await quick("growth", "--out", str(tmp_path))
    assert unmeasured(out) == []
    for axis in AXES:
        assert f"against {axis.label}" in out
        assert f"| {axis.label} | " in out
    drawn = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    if find_spec("matplotlib") is None:
        assert MISSING in out
        assert drawn == {}
    else:
        assert drawn.keys() == {f"{axis.name}.svg" for axis in AXES}
        assert max(drawn.values()) < 60_000


async def quick(name: str, *arguments: str) -> str:
    """What it prints."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", f"benchmarks.{name}", "--quick", *arguments),
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
    return out


def unmeasured(out: str) -> list[str]:
    """What people use beside it need not be installed; whatever is has to work."""
    return [
        line
        for line in out.splitlines()
        if "not measured:" in line and "ModuleNotFoundError" not in line
    ]
