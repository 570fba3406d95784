"""Run folders: what a dead program left is ended and removed, what a living one uses is left alone."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from repocache.testing.folder import PREFIX, RunFolder, enterable, servers_inside
from repocache.testing.process import Account, await_condition, state

KILLED_PROGRAM = """
import os, signal, sys
from repocache.testing import embedded_servers, Layout
with embedded_servers(Layout(replicas=0)) as servers:
    servers.primary.kill()
    servers.primary.start()
    servers.primary.freeze()
    print(servers.primary.pid, servers.redis.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_it_goes_with_its_block(place: Path) -> None:
    with RunFolder(Account()) as folder:
        assert folder.parent == place
        (folder / "data").mkdir()
    assert not list(place.iterdir())


def test_a_living_program_keeps_its_own(place: Path) -> None:
    with RunFolder(Account()) as first:
        (first / "data").mkdir()
        with RunFolder(Account()):
            assert (first / "data").is_dir()


def test_a_folder_that_is_not_ours_is_left(place: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    other = place / f"{PREFIX}other"
    other.mkdir()
    (other / "lock").touch()
    os.chown(other, 65534, 65534)
    with RunFolder(Account()):
        assert other.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_what_a_killed_program_left_is_ended_and_removed(place: Path) -> None:
    program = subprocess.run([sys.executable, "-c", KILLED_PROGRAM], stdout=subprocess.PIPE, check=False)
    assert program.returncode == -signal.SIGKILL
    primary, redis = map(int, program.stdout.split())
    await_condition(lambda: state(redis) in ("", "Z"), "Redis has died with the program")
    (left,) = place.iterdir()
    # A stopped process takes no signal: the kernel's has no effect until it is swept.
    assert primary in servers_inside(left)
    family = servers_inside(left)
    segment = shared_memory(left / "primary")
    assert segment in Path("/proc/sysvipc/shm").read_text()
    with RunFolder(Account()) as folder:
        assert list(place.iterdir()) == [folder]
        assert {state(pid) for pid in family} <= {"", "Z"}
        assert segment not in Path("/proc/sysvipc/shm").read_text()


def shared_memory(data: Path) -> str:
    """Key and id of the server's segment, as /proc prints them."""
    key, number = (data / "postmaster.pid").read_text().splitlines()[6].split()
    return f"{key:>10} {number:>10}"


def test_a_folder_that_others_cannot_enter_is_told(place: Path) -> None:
    closed = place / "closed"
    closed.mkdir(0o700)
    (closed / "inner").mkdir(0o755)
    assert [enterable(folder) for folder in (place, closed, closed / "inner")] == [True, False, False]
