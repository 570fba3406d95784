"""Runs with all rules on, and that a seed says all."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from proof.simulation.profiles import NAMES, drawn
from proof.simulation.run import simulate

ROOT = Path(__file__).parents[2]
OPERATIONS = 400
NEW = 4
"""Seeds that nobody has tried before."""
TRACE = """
from proof.simulation.run import simulate
print(simulate(8, 300).trace)
"""


@pytest.mark.parametrize("profile", NAMES)
def test_nothing_is_violated(profile: str) -> None:
    outcome = simulate(1, OPERATIONS, drawn(1, profile))
    assert outcome.violations == ()
    assert outcome.operations >= OPERATIONS


def test_values_are_stored_and_believed() -> None:
    """A simulation in which Redis has nothing to give finds little."""
    counts = simulate(0, OPERATIONS, drawn(0, "stores")).counts
    assert counts["Stored"] > 10
    assert counts["Filled"] > 10
    assert counts["ValueRefused"] == 0


@pytest.mark.parametrize("number", range(NEW))
def test_nothing_is_violated_by_a_seed_that_nobody_has_tried(number: int) -> None:
    seed = secrets.randbelow(10**9)
    outcome = simulate(seed, OPERATIONS, drawn(seed, narrow=True))
    assert outcome.violations == (), (
        f"python -m proof.simulation --seed {seed} --operations {OPERATIONS} --narrow"
    )


def test_a_seed_gives_the_same_trace_in_every_process() -> None:
    """Also where texts have other hashes and the memory is laid out otherwise."""
    traces = {simulate(8, 300).trace, simulate(8, 300).trace}
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
        said = subprocess.run(
            [sys.executable, "-c", TRACE],
            env=environment,
            cwd=ROOT,
            check=True,
            capture_output=True,
        )
        traces.add(int(said.stdout))
    assert len(traces) == 1


def test_two_seeds_give_two_traces() -> None:
    assert simulate(8, 100).trace != simulate(9, 100).trace


def test_a_violation_ends_the_command_with_its_replay() -> None:
    command = [
        sys.executable,
        "-m",
        "proof.simulation",
        "--seeds",
        "0..5",
        "--operations",
        "200",
        "--without",
        "floor",
    ]
    said = subprocess.run(
        [*command, "--processes", "1"], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert said.returncode == 1
    assert "--operations 200 --without 'floor'" in said.stdout
