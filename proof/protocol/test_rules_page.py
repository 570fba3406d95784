"""docs/rules.md names every switch and every guarding test, and nothing that is not there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

from proof.protocol.guard import GUARDS
from proof.protocol.switches import SWITCHES

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs" / "rules.md").read_text()
ROW = re.compile(r"^\|.*\| `(?P<switch>[^`]+)` \| `(?P<test>test_\w+)` \|$", re.MULTILINE)
MODEL = {
    "lease",
    "nonce",
    "floor",
    "postcommit",
    "sample",
    "unknown",
    "settle",
    "server",
    "inorder",
    "landed",
}
MODEL |= {"bookmark", "join", "order"}
"""The rules of the protocol's model."""
DRAFTS = {*range(1, 23)} - {19}
"""What broke earlier drafts; the one left out waits for its feature."""


def guarded() -> set[tuple[str, str]]:
    """(switch, test) of every scenario. Each file is imported as pytest does it, whether or not it
    was collected."""
    for path in sorted(HERE.glob("test_*.py")):
        importlib.import_module(f"proof.protocol.{path.stem}")
    return {(guard.rule, guard.test) for guard in GUARDS}


def named() -> set[tuple[str, str]]:
    return {(match["switch"], match["test"]) for match in ROW.finditer(PAGE)}


def test_the_page_names_the_tests_that_there_are() -> None:
    assert named() == guarded()


def test_every_switch_has_a_test_and_every_test_a_switch() -> None:
    assert {switch for switch, _ in guarded()} == set(SWITCHES)


def test_every_rule_and_every_broken_draft_is_on_the_page() -> None:
    rules, drafts = PAGE.split("## What broke earlier drafts")
    assert {match["switch"] for match in ROW.finditer(rules)} >= MODEL
    assert {int(number) for number in re.findall(r"^\| (\d+) \|", drafts, re.MULTILINE)} == DRAFTS
