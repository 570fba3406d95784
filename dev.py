"""Run the project from a clean clone:
`python3 dev.py COMMAND [arguments]`, COMMAND one of demo, shop, test, oldest, packages, check,
faults, behind, fuzz, simulate, benchmark, journeys, instructions, house.

Needs Python 3.11 or later and nothing else. Makes `.venv` at the first use and installs there what
the command needs; arguments are passed on to what is run. `shop` serves examples/shop, behind
Varnish where that is installed, until Ctrl-C. `benchmark` takes names, and options for each of them
after the last. `oldest` runs the tests on the lower bounds of all dependencies (tests/oldest.txt),
in `.venv-oldest`; `packages` those of other projects' mapped classes, with these projects'
packages, in `.venv-packages`.
"""

import hashlib
import os
import re
import subprocess
import sys
import venv
from pathlib import Path
from typing import List, Optional, Tuple

ROOT = Path(__file__).resolve().parent
BOUNDS = ROOT / "tests" / "oldest.txt"
COUNTERS = {"journeys", "instructions", "house"}
"""What counts, and measures no time."""
EXTRAS = {
    "demo": "demo",
    "shop": "examples",
    "test": "test",
    "oldest": "test",
    "packages": "mappings",
    "check": "test",
    "faults": "test",
    "behind": "test",
    "fuzz": "test",
    "simulate": "test",
    "benchmark": "benchmark",
    "journeys": "test",
    "instructions": "test",
    "house": "test",
}


def python_of(name: str) -> Path:
    """The interpreter that runs a command. `python3.13 dev.py test` tests with that version, beside
    the environment that another one has made."""
    folder = ".venv-" + name if name in ("oldest", "packages") else ".venv"
    if made_by(ROOT / folder) not in (None, sys.version_info[:2]):
        folder += "-%d.%d" % sys.version_info[:2]
    return ROOT / folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def made_by(environment: Path) -> Optional[Tuple[int, ...]]:
    """The version of Python in an environment, None if it is not there."""
    settings = environment / "pyvenv.cfg"
    if not settings.exists():
        return None
    found = re.search(r"^version = (\d+)\.(\d+)", settings.read_text(), re.MULTILINE)
    return None if found is None else tuple(map(int, found.groups()))


def install(name: str) -> None:
    """Make the command's environment and install its extra, unless both are as the project's files
    have them now."""
    python, extra = python_of(name), EXTRAS[name]
    wanted = hashlib.sha256(
        (ROOT / "pyproject.toml").read_bytes() + BOUNDS.read_bytes()
    ).hexdigest()
    stamp = python.parents[1] / ("installed-" + extra)
    if python.exists() and stamp.exists() and stamp.read_text() == wanted:
        return
    if not python.exists():
        print("making", python.parents[1], flush=True)
        venv.create(python.parents[1], with_pip=True)
    print("installing .[" + extra + "]", flush=True)
    pip = [
        str(python),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-input",
    ]
    bounds = ["--constraint", str(BOUNDS)] if name == "oldest" else []
    subprocess.run([*pip, *bounds, "--editable", ".[" + extra + "]"], cwd=ROOT, check=True)
    stamp.write_text(wanted)


def commands(name: str, arguments: List[str]) -> List[List[str]]:
    """What a command runs, each the arguments of the environment's Python."""
    if name == "demo":
        return [["-m", "repocache", "demo", *arguments]]
    if name == "shop":
        return [["-m", "examples.shop", *arguments]]
    if name in ("faults", "behind"):
        return [["-m", "proof." + name, *arguments]]
    if name == "fuzz":
        return [["-m", "tests.fuzz", *arguments]]
    if name in COUNTERS:
        return [["-m", "benchmarks." + name, *arguments]]
    if name in ("test", "oldest"):
        # Most tests wait for servers: two at a time, each with servers of its own.
        return [["-m", "pytest", *(arguments or ["-n", "2", "--dist", "loadfile"])]]
    if name == "packages":
        return [["-m", "pytest", *(arguments or ["-q", "tests/packages"])]]
    if name == "simulate":
        return [["-m", "proof.simulation", *arguments]]
    if name == "check":
        return [["-m", "ruff", "check"], ["-m", "ruff", "format", "--check"], ["-m", "mypy"]]
    names, options = parted(arguments)
    found = sorted({path.stem for path in (ROOT / "benchmarks").glob("[!_]*.py")} - COUNTERS)
    return [["-m", "benchmarks." + benchmark, *options] for benchmark in names or found]


def parted(arguments: List[str]) -> Tuple[List[str], List[str]]:
    """Names, and the options after them: from the first that begins with a dash on."""
    at = next((at for at, each in enumerate(arguments) if each.startswith("-")), len(arguments))
    return arguments[:at], arguments[at:]


def main(arguments: List[str]) -> int:
    """Run one command; the exit status is that of the first part that fails."""
    if sys.version_info < (3, 11):
        print(
            "repocache needs Python 3.11 or later; this is", sys.version.split()[0], file=sys.stderr
        )
        return 2
    if not arguments or arguments[0] not in EXTRAS:
        print(__doc__, file=sys.stderr)
        return 2
    name, *rest = arguments
    try:
        install(name)
    except subprocess.CalledProcessError as error:
        print("installation failed:", error, file=sys.stderr)
        print(
            "on Debian and Ubuntu, `apt-get install python3-venv` may be missing", file=sys.stderr
        )
        return 1
    for command in commands(name, rest):
        status = finished([str(python_of(name)), *command])
        if status:
            return status
    return 0


def finished(command: List[str]) -> int:
    """Runs it to its end, and gives its exit status. Ctrl-C, which the terminal sends to both, is
    its own to act on: whoever has servers to stop is waited for."""
    with subprocess.Popen(command, cwd=ROOT) as process:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                continue


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
