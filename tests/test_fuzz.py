"""The fuzzers' command finds what its rounds find, and knows the parsers that docs/security.md
names."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import fuzz
from tests.fuzz import PARSERS, Fuzzing

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "security.md").read_text().partition("## Fuzzers")[2]


def test_each_parser_has_a_fuzzer_on_the_page() -> None:
    for path in PARSERS.values():
        text = (ROOT / path).read_text()
        assert "@given" in text
        assert path in PAGE


@pytest.mark.parametrize("outcome", ["pass", "assert False, 'a finding'"])
def test_a_round_that_fails_is_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outcome: str
) -> None:
    test = tmp_path / "test_one.py"
    test.write_text(f"def test_it():\n    {outcome}\n")
    monkeypatch.setattr(fuzz, "PARSERS", {"one": str(test)})
    fuzzing = Fuzzing(0.01)
    fuzzing.lane()
    assert fuzzing.rounds["one"] >= 1
    assert bool(fuzzing.finding) == ("a finding" in fuzzing.finding) == (outcome != "pass")
    assert not fuzzing.finding or "--hypothesis-seed" in fuzzing.finding
