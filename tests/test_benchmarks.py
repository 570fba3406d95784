import asyncio
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks._growth.pictures import MISSING
from benchmarks._patterns.contestants import PATTERNS
from benchmarks.growth import AXES

ROOT = Path(__file__).parents[1]


JUDGED = [
    "hits_local",
    "hits_redis",
    "misses",
    "commits",
    "write_through",
    "write_behind",
    "invalidation",
    "reads",
    "queries",
    "fixtures",
    "contestants",
    "pages",
]


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", JUDGED)
async def test_a_benchmark_runs_and_judges_its_bars(name: str) -> None:
    out = await output(name, "--quick")
    assert "wanted:" in out
    assert unmeasured(out) == []


@pytest.mark.timeout(400)
async def test_growth_is_drawn_on_every_axis(tmp_path: Path) -> None:
    out = await output("growth", "--quick", "--out", str(tmp_path))
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


@pytest.mark.timeout(400)
async def test_the_plan_measures_its_costs() -> None:
    out = await output("plan", "--quick")
    assert "service processes" in out
    for each in ("l1: client", "l2: client", "miss: client", "commit: client"):
        assert each in out


async def test_the_plan_takes_its_costs() -> None:
    reads = ("--l1", "2", "--l2", "20", "5", "--miss", "100", "50", "40")
    writes = ("--commit", "1000", "100", "500", "200", "--heard", "50", "5")
    out = await output("plan", "--requests", "1000", *reads, *writes)
    assert "| **service processes, a core each** |" in out
    assert "load " not in out, "nothing was measured"


@pytest.mark.parametrize("options", [("--l1-hits", "1.5"), ("--utilisation", "0")])
async def test_the_plan_refuses_what_cannot_be(options: tuple[str, str]) -> None:
    with pytest.raises(AssertionError, match=options[0].strip("-").replace("-", "_")):
        await output("plan", *options)


async def output(name: str, *options: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", f"benchmarks.{name}", *options),
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


@pytest.mark.timeout(400)
async def test_all_patterns_are_measured_under_one_workload(tmp_path: Path) -> None:
    out = await output("patterns", "--quick", "--out", str(tmp_path / "patterns.svg"))
    assert all(f"| {name} | " in out for name in PATTERNS)
    assert "Traceback" not in out
