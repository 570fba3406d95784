"""docs/security.md names tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "security.md").read_text()


def test_each_test_that_the_page_names_is_there() -> None:
    defined = {
        name
        for path in TESTS.rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)", path.read_text())
    }
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert len(named) > 30
    assert named - defined == set()


def test_each_file_is_there() -> None:
    named = re.findall(r"tests/[\w/]+\.py", PAGE)
    assert named
    assert [name for name in named if not (TESTS.parent / name).exists()] == []
