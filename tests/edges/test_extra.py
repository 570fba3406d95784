"""What is there without httpx, what is said where it is needed, and the files that are shipped."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import repocache.edges
from repocache.edges.config.__main__ import main

FOLDER = Path(repocache.edges.__file__).parent
PURE = {
    "address", "allowance", "backlog", "cache_file", "config", "header", "names", "pauses",
}  # fmt: skip
HIDDEN = "import sys; sys.modules['httpx'] = None\n"
"""As if it were not installed."""


def run(source: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", HIDDEN + source],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_what_is_pure_needs_no_httpx() -> None:
    lines = [f"import repocache.edges.{name}" for name in sorted(PURE)]
    done = run("\n".join(["from repocache.edges import *", *lines]))
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", sorted({path.stem for path in FOLDER.glob("[a-z]*.py")} - PURE))
def test_the_rest_says_what_to_install(name: str) -> None:
    done = run(f"import repocache.edges.{name}")
    assert done.stderr.splitlines()[-1] == (
        "ImportError: edges need httpx: pip install 'sqlalchemy-repocache[edges]'"
    )


@pytest.mark.parametrize("name, file", [("varnish", "varnish.vcl"), ("nginx", "nginx.conf")])
def test_a_file_is_printed(name: str, file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name]) == 0
    assert capsys.readouterr().out == (FOLDER / "config" / file).read_text()


@pytest.mark.parametrize("words", [[], ["apache"], ["varnish", "nginx"]])
def test_what_it_does_not_know(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert "varnish|nginx" in capsys.readouterr().err
