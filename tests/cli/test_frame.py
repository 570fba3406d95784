"""What all commands do alike: one document, an exit status, and a user's mistake in one line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MISTAKES = {
    "raises": ("import os\n\nraise ValueError('no such\\nshop')\n", "raises.py:3: ValueError: no"),
    "syntax": ("db = (\n", "syntax.py:1: SyntaxError"),
    "needs": ("import nothing_like_it\n", "needs.py:1: ModuleNotFoundError: No module named"),
    "attribute": ("import os\nos.nothing\n", "attribute.py:2: AttributeError"),
    "leaves": ("import sys\nsys.exit('not today')\n", "leaves.py:2: SystemExit: not today"),
    "refused": (
        "from repocache import Database\ndb = Database('mysql://x/y')\n",
        "refused.py:2: ConfigurationError",
    ),
    "makes": ("def db():\n    raise OSError('full')\n", "makes.py:2: OSError: full"),
    "kind": ("class db: ...\n", "is the class db: name a Database"),
    "near": (
        "from repocache import Database\nshop = Database('postgresql+asyncpg://a@b/c')\n",
        "has no attribute 'db'; did you mean 'shop'?",
    ),
}


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "repocache", *words],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("module", MISTAKES)
def test_a_mistake_is_one_line(module: str, tmp_path: Path) -> None:
    source, told = MISTAKES[module]
    (tmp_path / f"{module}.py").write_text(source)
    done = run(tmp_path, "verify", f"{module}:db", "--json")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1
    assert told in done.stderr
    assert list(json.loads(done.stdout)) == ["error"]


def test_a_module_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text("")
    done = run(tmp_path, "relay", "shopp:db")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "repocache: 'shopp:db': there is no module 'shopp' here or on Python's path; did you mean "
        "'shop'?\n"
    )


def test_what_the_application_prints_is_no_answer(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text("print('hello')\n")
    done = run(tmp_path, "outbox", "shop:db", "--json")
    assert list(json.loads(done.stdout)) == ["error"]
    assert done.stderr.startswith("hello\n")


def test_servers_that_are_away(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(
        "from repocache import Database\n"
        "db = Database('postgresql+asyncpg://app@127.0.0.1:1/shop', redis='redis://127.0.0.1:1')\n"
    )
    for command in ("verify", "outbox", "relay"):
        done = run(tmp_path, command, "shop:db")
        assert done.returncode == 2
        assert "Traceback" not in done.stderr, command
        assert "Connect call failed" in done.stderr


def test_completion_is_offered(tmp_path: Path) -> None:
    done = run(tmp_path, "--help")
    assert done.returncode == 0
    assert "--install-completion" in done.stdout
