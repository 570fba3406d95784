"""How far one has to walk to follow a read or a commit: it may become less, not more."""

from __future__ import annotations

from benchmarks.journeys import measured

FILE_SWITCHES = {
    "a miss that a replica answers": 96,
    "an L2 hit": 26,
    "an L1 hit": 4,
    "a commit, to two processes' L1, no outbox": 112,
}


async def test_no_journey_has_become_longer() -> None:
    found = {name: each.switches for name, each in (await measured()).items()}
    assert found.keys() == FILE_SWITCHES.keys()
    assert not {name: n for name, n in found.items() if n > FILE_SWITCHES[name]}
