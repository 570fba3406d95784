"""Run the project from a clean clone: `python3 dev.py demo | test | check | benchmark [arguments]`.

Needs Python 3.11 or later and nothing else. Makes `.venv` at the first use and installs there what the
command needs; arguments are passed on to what is run.
"""

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import List

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
EXTRAS = {"demo": "demo", "test": "test", "check": "test", "benchmark": "benchmark"}


def install(extra: str) -> None:
    """Make the environment and install the extra, unless both are as pyproject.toml has them now."""
    wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    stamp = VENV / ("installed-" + extra)
    if PYTHON.exists() and stamp.exists() and stamp.read_text() == wanted:
        return
    if not PYTHON.exists():
        print("making", VENV, flush=True)
        venv.create(VENV, with_pip=True)
    print("installing .[" + extra + "]", flush=True)
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    subprocess.run([*pip, "--editable", ".[" + extra + "]"], cwd=ROOT, check=True)
    stamp.write_text(wanted)


def commands(name: str, arguments: List[str]) -> List[List[str]]:
    """What a command runs, each the arguments of the environment's Python."""
    if name == "demo":
        return [["-m", "repocache", "demo", *arguments]]
    if name == "test":
        return [["-m", "pytest", *arguments]]
    if name == "check":
        return [["-m", "ruff", "check"], ["-m", "ruff", "format", "--check"], ["-m", "mypy"]]
    found = sorted(path.stem for path in (ROOT / "benchmarks").glob("[!_]*.py"))
    return [["-m", "benchmarks." + benchmark] for benchmark in arguments or found]


def main(arguments: List[str]) -> int:
    """Run one command; the exit status is that of the first part that fails."""
    if sys.version_info < (3, 11):
        print("repocache needs Python 3.11 or later; this is", sys.version.split()[0], file=sys.stderr)
        return 2
    if not arguments or arguments[0] not in EXTRAS:
        print(__doc__, file=sys.stderr)
        return 2
    name, *rest = arguments
    try:
        install(EXTRAS[name])
    except subprocess.CalledProcessError as error:
        print("installation failed:", error, file=sys.stderr)
        print("on Debian and Ubuntu, `apt-get install python3-venv` may be missing", file=sys.stderr)
        return 1
    for command in commands(name, rest):
        status = subprocess.run([str(PYTHON), *command], cwd=ROOT, check=False).returncode
        if status:
            return status
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
