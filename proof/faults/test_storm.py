"""Short storms over real servers: with all rules nothing is broken, and without one of them the
checker finds it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from proof.faults.check import check
from proof.faults.edn import as_edn
from proof.faults.figures import Figures, told
from proof.faults.ground import Ground, ground
from proof.faults.promise import PROMISES, bounds_of
from proof.faults.records import Entry, Fault, read_history
from proof.faults.round import Plan, Round
from proof.faults.schedule import Planned
from proof.faults.verdict import Verdict
from repocache.redis_link.connection import Limits

SECONDS = 10.0
LAGGING = tuple(Planned("replica", "pause replay", f"replica{n}", 0.3, 5.0, 0.0) for n in (1, 2))
BESIDE = (Planned("cluster", "promote", "cluster", 1.5, 4.0, 0.0),)
"""An old primary lives on beside the new one."""


@pytest.fixture(scope="module")
def stormy_servers() -> Iterator[Ground]:
    with ground() as servers:
        yield servers


STORMS = 5
"""That a rule which is off may take to be found."""


async def blown(servers: Ground, plan: Plan) -> tuple[list[Entry], Verdict]:
    await Round(servers, plan).run()
    history = read_history(plan.folder)
    monotonic = [name for name, service in plan.workers.items() if service.monotonic]
    return history, check(history, bounds_of(Limits()), monotonic)


async def test_no_promise_is_broken(stormy_servers: Ground, tmp_path: Path) -> None:
    history, verdict = await blown(
        stormy_servers, Plan("pytest", SECONDS, tmp_path / "storm", every=0.5, watched=True)
    )
    assert not verdict.violations, "\n".join(told(verdict.violations))
    assert set(verdict.checked) >= set(PROMISES) - {"error", "strict"}
    assert len({each.kind for _, each in history if isinstance(each, Fault)}) > 5
    figures = Figures()
    figures.add(history, verdict, SECONDS)
    assert figures.reads.total() > 100
    assert len(figures.lines()) == 10
    assert as_edn(history).count(":type :ok") > 100


async def test_no_promise_is_broken_beside_an_old_primary(
    stormy_servers: Ground,
    tmp_path: Path,
) -> None:
    plan = Plan("pytest", 7.0, tmp_path / "storm", faults=BESIDE, signed=True)
    history, verdict = await blown(stormy_servers, plan)
    assert not verdict.violations, "\n".join(told(verdict.violations))
    assert [each.kind for _, each in history if isinstance(each, Fault)] == ["cluster: promote"]


@pytest.mark.parametrize(
    "off, faults, broken",
    [
        ("floor", LAGGING, {"stale fill", "applied", "own process", "late"}),
        ("bookmark", LAGGING, {"own write"}),
        ("tags of unknown shapes", (), {"own write", "late", "ending"}),
        ("newer timeline", BESIDE, {"own write", "monotonic", "stale fill", "applied", "late"}),
    ],
)
async def test_a_rule_that_is_off_is_found_out(
    stormy_servers: Ground,
    tmp_path: Path,
    off: str,
    faults: tuple[Planned, ...],
    broken: set[str],
) -> None:
    """Not every storm meets its race: one of some has to."""
    seconds = 7.0 if faults is BESIDE else 5.5
    found: set[str] = set()
    for number in range(STORMS):
        plan = Plan(
            f"pytest {number}", seconds, tmp_path / f"storm{number}", off=off, faults=faults
        )
        _, verdict = await blown(stormy_servers, plan)
        found |= {violation.promise for violation in verdict.violations}
        if found & broken:
            return
    pytest.fail(f"in {STORMS} storms nothing of {broken} was found, but {found}")
