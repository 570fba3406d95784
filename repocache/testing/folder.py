"""The temporary folder of one set of servers, and the removal of those whose program died before it
could.

A folder is in use while its lock is held, which the kernel drops with the process that holds it.
"""

import fcntl
import os
import shutil
import signal
import stat
import sys
import tempfile
from pathlib import Path
from types import TracebackType

from repocache.testing.errors import ServerError
from repocache.testing.postgres_folder import free_shared_memory
from repocache.testing.private import keeps, new_file, own_folder
from repocache.testing.process import GONE, Account, await_condition, send, state

PREFIX = "repocache-servers-"
UNLOCKED = "repocache-unlocked-"
LOCK = "lock"
SERVERS = ("postgres", "valkey-server", "redis-server")


class RunFolder:
    """A folder that servers of `account` can reach, while a `with` lasts. Sweeps what dead programs
    left."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def __enter__(self) -> Path:
        place = reachable_place(self._account)
        for left in sorted(place.glob(f"{PREFIX}*")):
            sweep(left)
        made = Path(tempfile.mkdtemp(prefix=UNLOCKED, dir=place))
        self._lock = new_file(made / LOCK)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        if self._account != Account():
            # The account may enter, and nobody may look around.
            os.chown(made, -1, self._account.group, follow_symlinks=False)
            made.chmod(0o710)
        # Only now does it bear the name that a sweep looks for.
        self.path = made.rename(place / made.name.replace(UNLOCKED, PREFIX))
        return self.path

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        remove(self.path)
        os.close(self._lock)


def reachable_place(account: Account) -> Path:
    """The first usual place for temporary files that the account may enter, and where nobody can
    put a folder of his in the place of ours."""
    # Mkdtemp is used inside.
    places = [Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")]  # noqa: S108
    for place in places:
        if place.is_dir() and keeps(place) and (account == Account() or enterable(place.resolve())):
            return place.resolve()
    raise ServerError(
        "no folder for temporary files that the servers' account may enter, and that is ours, or "
        f"root's with the sticky bit, among {places}: set TMPDIR"
    )


def enterable(folder: Path) -> bool:
    """Whether others may pass the folder and all above it."""
    return all(part.stat().st_mode & stat.S_IXOTH for part in (folder, *folder.parents))


def sweep(folder: Path) -> None:
    """Remove the folder and end the servers in it, if it is ours and the program that made it is
    dead."""
    inside = own_folder(folder)
    if inside is None:
        return
    try:
        lock = os.open(LOCK, os.O_RDWR | os.O_NOFOLLOW, dir_fd=inside)
    except FileNotFoundError:
        return  # its owner removes it at this moment
    finally:
        os.close(inside)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        remove(folder)
    except BlockingIOError:
        return  # in use
    finally:
        os.close(lock)


def remove(folder: Path) -> None:
    """End what still runs inside, free its shared memory, delete the folder; the lock last. Links
    are deleted, not what they lead to. Raises ServerError if the folder is not ours any more."""
    left = servers_inside(folder)
    for pid in left:
        send(pid, signal.SIGKILL)
    await_condition(
        lambda: all(state(pid) in GONE for pid in left), f"the servers in {folder} are gone"
    )
    inside = own_folder(folder)
    if inside is None:
        raise ServerError(f"{folder} is gone, or somebody else's now: look at what stands there")
    try:
        for entry in list(os.scandir(inside)):
            if entry.is_dir(follow_symlinks=False):
                free_shared_memory(folder / entry.name)
                shutil.rmtree(entry.name, dir_fd=inside)
            elif entry.name != LOCK:
                os.unlink(entry.name, dir_fd=inside)
        os.unlink(LOCK, dir_fd=inside)
    finally:
        os.close(inside)
    folder.rmdir()


def servers_inside(folder: Path) -> list[int]:
    """Ids of the servers that work inside. Frozen ones outlive their parent: its last signal waits
    for a thaw."""
    if sys.platform != "linux":
        return []
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            program = (entry / "comm").read_text().strip()
            inside = program in SERVERS and (entry / "cwd").readlink().is_relative_to(folder)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if inside:
            found.append(int(entry.name))
    return found
