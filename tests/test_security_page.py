"""docs/security.md names tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "security.md").read_text()


def test_each_test_that_the_page_names_is_there() -> None:
    defined = {
        name
        for room in ("tests", "proof")
        for path in (ROOT / room).rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)", path.read_text())
    }
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert len(named) > 30
    assert named - defined == set()


def test_each_file_is_there() -> None:
    named = re.findall(r"(?:tests|proof)/[\w/]+\.py", PAGE)
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []
