"""Every fence is needed: without a rule the simulation finds a violation, and with it none."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from proof.protocol import outbox_switches
from proof.protocol.switches import SWITCHES
from proof.simulation.profiles import drawn
from proof.simulation.rules import ELSEWHERE, FOUND, SIMULATED, rule_off
from proof.simulation.run import simulate

__all__ = ["outbox_switches"]  # it adds switches

OPERATIONS = 700
LONGER = {"line of a read": 2000}
MOST = 60
"""Seeds within which a violation must be found."""
PAGE = (Path(__file__).parents[2] / "docs" / "simulation.md").read_text()
ROW = re.compile(r"^\| `([^`]+)` \| (?:`([^`]+)`|[^|`]+) \|$", re.MULTILINE)


@pytest.mark.parametrize("rule", list(FOUND))
def test_a_rule_that_is_switched_off_is_found(rule: str) -> None:
    profile, first = FOUND[rule]
    operations = LONGER.get(rule, OPERATIONS)
    for seed in range(first, first + MOST):
        with rule_off(rule):
            broken = simulate(seed, operations, drawn(seed, profile))
        if broken.violations:
            assert simulate(seed, operations, drawn(seed, profile)).violations == ()
            return
    pytest.fail(f"without {rule!r} nothing is violated within {MOST} seeds")


def test_every_rule_is_found_here_or_guarded_elsewhere() -> None:
    assert {*FOUND, *ELSEWHERE} == {*SWITCHES}
    assert not {*FOUND} & {*ELSEWHERE}
    assert {*SIMULATED} <= {*SWITCHES}


def test_the_page_names_every_rule_and_its_profile() -> None:
    named = {match[1]: match[2] for match in ROW.finditer(PAGE)}
    assert named == {
        **{rule: profile for rule, (profile, _) in FOUND.items()},
        **dict.fromkeys(ELSEWHERE),
    }
