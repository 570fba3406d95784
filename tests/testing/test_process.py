"""Children: they end when told, with all that they forked, and with the program that started
them."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from repocache.testing.errors import ServerError
from repocache.testing.process import Account, Child, Command, await_condition, run_tool, state

FOREVER = "sleep 1000"


class Nursery:
    """Starts shell scripts and ends them after the test."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.log = folder / "log"
        self._stack = stack

    def command(self, script: str) -> Command:
        return Command(("/bin/sh", "-c", script), self.folder, self.log)

    def start(self, script: str, said: str = "") -> Child:
        child = Child(self.command(script), Account())
        self._stack.callback(child.kill)
        await_condition(lambda: said in self.log.read_text(), f"{script} says {said}")
        return child


@pytest.fixture
def nursery(tmp_path: Path) -> Iterator[Nursery]:
    with ExitStack() as stack:
        yield Nursery(tmp_path, stack)


def test_its_end_is_known(nursery: Nursery) -> None:
    child = nursery.start("exit 3")
    assert child.wait(10)
    assert (child.alive, child.status) == (False, 3)


def test_a_program_that_is_not_there_is_named(nursery: Nursery) -> None:
    command = Command(("/nowhere/server",), nursery.folder, nursery.log)
    with pytest.raises(ServerError, match="cannot run /nowhere/server: No such file"):
        run_tool(command, Account())


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="nowhere"):
        Child(Command(("/bin/true",), tmp_path / "nowhere", tmp_path / "log"), Account())


def test_a_tool_that_fails_is_quoted(nursery: Nursery) -> None:
    with pytest.raises(ServerError, match="status 2:\nno such thing"):
        run_tool(nursery.command("echo no such thing >&2; exit 2"), Account())


def test_a_tool_that_takes_too_long_is_ended(nursery: Nursery) -> None:
    with pytest.raises(ServerError, match=r"longer than 0\.01 s"):
        run_tool(nursery.command(f"echo $$; {FOREVER}"), Account(), seconds=0.01)
    assert not [pid for pid in nursery.log.read_text().split() if state(int(pid)) not in ("", "Z")]


def test_a_crash_takes_all_that_it_forked(nursery: Nursery) -> None:
    child = nursery.start(f"(sh -c '{FOREVER}; true' & wait) & wait")
    await_condition(lambda: len(child.family()) == 4, "there are grandchildren")
    family = child.family()
    child.kill()
    assert {state(pid) for pid in family} <= {"", "Z"}
    assert child.status == -signal.SIGKILL


def test_frozen_processes_run_on(nursery: Nursery) -> None:
    child = nursery.start(f"{FOREVER} & echo ready; wait", said="ready")
    child.freeze()
    family = child.family()
    assert (len(family), {state(pid) for pid in family}) == (2, {"T"})
    child.thaw()
    await_condition(lambda: {state(pid) for pid in family} == {"S"}, "they run")


def test_a_frozen_child_ends_when_asked(nursery: Nursery) -> None:
    child = nursery.start(
        "trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done", said="ready"
    )
    child.freeze()
    child.end(signal.SIGTERM, 10)
    assert child.status == 7


def test_a_deaf_child_is_killed(nursery: Nursery) -> None:
    child = nursery.start("trap '' TERM; echo ready; while :; do sleep 0.01; done", said="ready")
    child.end(signal.SIGTERM, 0.05)
    assert child.status == -signal.SIGKILL


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells a child of its parent's death"
)
def test_it_outlives_the_thread_that_asked_for_it(nursery: Nursery) -> None:
    children: list[Child] = []
    asking = threading.Thread(target=lambda: children.append(nursery.start(FOREVER)))
    asking.start()
    asking.join()
    assert not children[0].wait(0.1)


DYING_PROGRAM = """
import sys
from pathlib import Path
from repocache.testing.process import Account, Child, Command
folder = Path(sys.argv[1])
child = Child(Command(("/bin/sh", "-c", "echo ready; exec sleep 1000"), folder, folder / "log"),
    Account())
print(child.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells a child of its parent's death"
)
def test_it_dies_with_a_program_that_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", DYING_PROGRAM, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as program:
        assert program.stdout
        pid = int(program.stdout.readline())
        await_condition(lambda: "ready" in (tmp_path / "log").read_text(), "the child runs")
        program.kill()
    await_condition(lambda: state(pid) in ("", "Z"), "the child is gone", seconds=10)


def test_it_gets_no_secret_and_no_setting_of_the_callers(
    nursery: Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGHOST", "elsewhere")
    run_tool(nursery.command("env"), Account())
    names = {line.partition("=")[0] for line in nursery.log.read_text().splitlines()}
    assert "PGHOST" not in names
    assert {"PATH", "HOME", "LC_ALL"} <= names


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run servers as somebody else")
def test_root_runs_servers_as_nobody(nursery: Nursery, place: Path) -> None:
    command = Command(("/bin/sh", "-c", "id -un; id -Gn"), place, nursery.log)
    run_tool(command, Account.unprivileged())
    user, groups = nursery.log.read_text().splitlines()
    assert user == "nobody"
    assert "root" not in groups.split()
