import asyncio
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


JUDGED = [
    "hits_local",
    "hits_redis",
    "misses",
    "commits",
    "write_through",
    "invalidation",
    "contestants",
]


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", JUDGED)
async def test_a_benchmark_runs_and_judges_its_bars(name: str) -> None:
    out = await output(name, "--quick")
    assert "wanted:" in out
    # What people use beside it need not be installed; whatever is has to work.
    assert not [
        line
        for line in out.splitlines()
        if "not measured:" in line and "ModuleNotFoundError" not in line
    ]


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
