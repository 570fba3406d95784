"""The typed examples mean what they say, and the project's own settings see it when they do not."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def mypy(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_examples_type_check() -> None:
    checked = mypy(Path(__file__).with_name("examples.py"))
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_an_example_that_should_fail_and_does_not_is_seen(tmp_path: Path) -> None:
    example = tmp_path / "accepted.py"
    example.write_text("count: int = 1  # type: ignore[assignment]\n")
    checked = mypy(example)
    assert checked.returncode == 1
    assert "unused-ignore" in checked.stdout
