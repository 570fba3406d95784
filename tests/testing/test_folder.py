"""Run folders: what a dead program left is ended and removed, what a living one uses is left
alone."""

import ctypes
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from repocache.testing import Layout, ServerError, embedded_servers
from repocache.testing.folder import PREFIX, RunFolder, enterable, reachable_place, servers_inside
from repocache.testing.postgres_folder import IPC_RMID, free_shared_memory, segments
from repocache.testing.private import new_file
from repocache.testing.process import Account, Command, await_condition, run_tool, state

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
    program = subprocess.run(
        [sys.executable, "-c", KILLED_PROGRAM], stdout=subprocess.PIPE, check=False
    )
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
    assert [enterable(folder) for folder in (place, closed, closed / "inner")] == [
        True,
        False,
        False,
    ]


def test_a_link_is_not_followed(place: Path) -> None:
    """Whoever may write in the folder for temporary files plants one that leads to what is ours."""
    precious = place / "precious"
    (precious / "data").mkdir(parents=True)
    for name in ("lock", "letter", "data/letter"):
        (precious / name).write_text("kept")
    planted = place / f"{PREFIX}planted"
    planted.symlink_to(precious)
    with RunFolder(Account()):
        pass
    assert planted.is_symlink()
    assert [(precious / name).read_text() for name in ("lock", "letter", "data/letter")] == [
        "kept"
    ] * 3


def test_links_inside_are_removed_and_not_what_they_lead_to(place: Path) -> None:
    precious = place / "precious"
    precious.mkdir()
    (precious / "letter").write_text("kept")
    with RunFolder(Account()) as folder:
        (folder / "data").mkdir()
        for link in (folder / "folder", folder / "data" / "folder"):
            link.symlink_to(precious)
        for link in (folder / "file", folder / "data" / "postmaster.pid"):
            link.symlink_to(precious / "letter")
    assert not folder.exists()
    assert (precious / "letter").read_text() == "kept"


def test_a_link_in_the_place_of_ours_is_told(place: Path) -> None:
    precious = place / "precious"
    precious.mkdir()
    (precious / "lock").write_text("kept")
    run = RunFolder(Account())
    folder = run.__enter__()
    folder.rename(place / "moved")
    folder.symlink_to(precious)
    with pytest.raises(ServerError, match="is gone, or somebody else's now"):
        run.__exit__(None, None, None)
    assert (precious / "lock").read_text() == "kept"


def test_a_place_where_others_may_exchange_what_is_ours_is_none(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = place / "shared"
    shared.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(shared))
    for mode, taken in ((0o777, False), (0o1777, True), (0o755, True)):
        shared.chmod(mode)
        assert (reachable_place(Account()) == shared) is taken
    if os.geteuid() == 0:
        os.chown(shared, 65534, 65534)
        assert reachable_place(Account()) != shared


def test_a_file_is_nobody_elses_and_replaces_a_link(place: Path) -> None:
    kept, made = place / "kept", place / "made"
    kept.write_text("kept")
    made.symlink_to(kept)
    before = os.umask(0)
    try:
        Account().write(made, "secret")
        Account().make_folder(place / "folder")
    finally:
        os.umask(before)
    assert (made.read_text(), kept.read_text()) == ("secret", "kept")
    assert [stat.S_IMODE(path.lstat().st_mode) for path in (made, place / "folder")] == [
        0o600,
        0o700,
    ]


def test_a_log_does_not_follow_a_link(place: Path) -> None:
    kept, log = place / "kept", place / "tool.log"
    kept.write_text("kept")
    log.symlink_to(kept)
    with pytest.raises(ServerError, match="cannot start true"):
        run_tool(Command(("/bin/true",), place, log), Account())
    log.unlink()
    run_tool(Command(("/bin/sh", "-c", "echo said"), place, log), Account())
    assert (kept.read_text(), log.read_text()) == ("kept", "said\n")
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_segment_of_another_users_stays(place: Path) -> None:
    """The account of the servers may write what it likes into the file that names one."""
    if os.geteuid() != 0:
        pytest.skip("only root could remove it")
    memory = ctypes.CDLL(None)
    segment = memory.shmget(0, 4096, 0o600)
    try:
        (place / "postmaster.pid").write_text("\n".join(["x"] * 6 + [f"1 {segment}"]))
        os.chown(place / "postmaster.pid", 65534, 65534)
        free_shared_memory(place)
        assert segments()[str(segment)] == "0"
    finally:
        memory.shmctl(segment, IPC_RMID, None)
    assert str(segment) not in segments()


def test_nobody_else_reads_what_servers_keep(place: Path) -> None:
    before = os.umask(0o022)
    try:
        with embedded_servers(Layout(replicas=1)) as servers:
            (folder,) = place.iterdir()
            modes = {path.relative_to(folder): path.lstat().st_mode for path in kept(folder)}
            shown = stat.S_IMODE(folder.stat().st_mode)
            assert servers.primary.sql("SELECT 1") == [("1",)]
    finally:
        os.umask(before)
    assert shown & 0o007 == 0
    assert {str(path) for path in modes} >= {
        "primary",
        "primary.log",
        "replica1",
        "redis",
        "redis.log",
    }
    assert [path for path, mode in modes.items() if mode & 0o077 and not stat.S_ISLNK(mode)] == []


def kept(folder: Path) -> Iterator[Path]:
    """All but the programs, which are everybody's anyway."""
    for name in ("primary", "replica1", "redis"):
        yield folder / name
    yield from folder.glob("*.log")
    yield from folder.glob("redis/*")
    yield from folder.glob("primary/*.conf")


def test_a_link_that_comes_back_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1. What was there is removed; 2. somebody puts a link in its place; 3. the file is made."""
    victim, path = tmp_path / "victim", tmp_path / "file"
    victim.write_text("theirs")
    original = Path.unlink

    def unlink(self: Path, missing_ok: bool = False) -> None:
        original(self, missing_ok=True)
        self.symlink_to(victim)

    monkeypatch.setattr(Path, "unlink", unlink)
    with pytest.raises(FileExistsError):
        new_file(path)
    assert victim.read_text() == "theirs"
