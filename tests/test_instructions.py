"""What a read or a commit takes of Python's instructions: it may become less, not more."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy

ROOT = Path(__file__).parents[1]
RECORDED: dict[str, int] = {
    "a miss that a replica answers": 10_853,
    "an L2 hit": 1_219,
    "an L1 hit": 282,
    "64 misses of one moment": 236_224,
    "a commit, to two processes' L1, no outbox": 15_871,
}
"""On CPython 3.11 with SQLAlchemy 2.1."""
MORE = 1.05
"""What a release of SQLAlchemy may add, and a message that comes in the middle."""
TRIES = 3


def counted() -> dict[str, int]:
    """In a process of its own: what other tests have left behind counts in this one, as listeners
    on all engines."""
    command = [sys.executable, "-m", "benchmarks.instructions", "--json"]
    found = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=100)
    counts: dict[str, int] = json.loads(found.stdout)
    return counts


@pytest.mark.skipif(
    (sys.implementation.name, sys.version_info[:2], sqlalchemy.__version__[:3])
    != ("cpython", (3, 11), "2.1"),
    reason="the counts are of CPython 3.11 and SQLAlchemy 2.1",
)
@pytest.mark.timeout(300)
def test_no_path_takes_more_instructions_than_recorded() -> None:
    fewest: dict[str, int] = {}
    for _ in range(TRIES):
        for name, count in counted().items():
            fewest[name] = min(count, fewest.get(name, count))
        assert fewest.keys() == RECORDED.keys()
        if all(fewest[name] <= MORE * count for name, count in RECORDED.items()):
            break
    grown = {
        name: (count, fewest[name])
        for name, count in RECORDED.items()
        if fewest[name] > MORE * count
    }
    assert not grown, "more than recorded: (recorded, now)"
