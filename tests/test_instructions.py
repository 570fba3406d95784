"""What a read or a commit takes of Python's instructions: it may become less, not more."""

from __future__ import annotations

import sys

import pytest
import sqlalchemy

from benchmarks.instructions import Instructions
from benchmarks.journeys import measured

RECORDED: dict[str, int] = {
    "a miss that a replica answers": 10_741,
    "an L2 hit": 1_171,
    "an L1 hit": 273,
    "64 misses of one moment": 226_861,
    "a commit, to two processes' L1, no outbox": 15_628,
}
"""On CPython 3.11 with SQLAlchemy 2.1."""
MORE = 1.05
"""What a release of SQLAlchemy may add, and a message that comes in the middle."""
TRIES = 3


@pytest.mark.skipif(sys.gettrace() is not None, reason="somebody else traces")
@pytest.mark.skipif(
    (sys.implementation.name, sys.version_info[:2], sqlalchemy.__version__[:3])
    != ("cpython", (3, 11), "2.1"),
    reason="the counts are of CPython 3.11 and SQLAlchemy 2.1",
)
async def test_no_path_takes_more_instructions_than_recorded() -> None:
    fewest: dict[str, int] = {}
    for _ in range(TRIES):
        for name, each in (await measured(Instructions)).items():
            fewest[name] = min(each.count, fewest.get(name, each.count))
        assert fewest.keys() == RECORDED.keys()
        if all(fewest[name] <= MORE * count for name, count in RECORDED.items()):
            break
    grown = {
        name: (count, fewest[name])
        for name, count in RECORDED.items()
        if fewest[name] > MORE * count
    }
    assert not grown, "more than recorded: (recorded, now)"
