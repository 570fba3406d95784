"""One child process and those that it forks: started, watched, frozen and ended by process id.

Owns who it runs as, its death with its parent, and its log. Leaves to others when a server is
ready.
"""

import os
import pwd
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

from repocache.testing import launcher
from repocache.testing.errors import ServerError
from repocache.testing.private import file_to_append, new_file

KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
GONE = ("", "Z", "X")
LOG_TAIL = 3000


@dataclass(frozen=True, slots=True)
class Account:
    """Whom servers run as: user and group number, -1 and -1 for whoever runs this program."""

    user: int = -1
    group: int = -1

    @classmethod
    def unprivileged(cls) -> "Account":
        """`nobody` if this program runs as root, since PostgreSQL refuses to; else this program's
        own."""
        if os.geteuid() != 0:
            return cls()
        entry = pwd.getpwnam("nobody")
        return cls(entry.pw_uid, entry.pw_gid)

    def write(self, path: Path, text: str) -> None:
        """A file that this account alone may read, in the place of one that is there."""
        with os.fdopen(new_file(path), "w") as file:
            os.fchown(file.fileno(), self.user, self.group)
            file.write(text)

    def make_folder(self, path: Path) -> None:
        """A new folder that this account alone may enter."""
        path.mkdir(0o700)
        self.own(path)

    def own(self, path: Path) -> None:
        """Give a file or folder to this account; of a link the link."""
        os.chown(path, self.user, self.group, follow_symlinks=False)


@dataclass(frozen=True, slots=True)
class Command:
    """What to run: program and arguments, in which folder, its log, the signal for it when this
    program dies."""

    arguments: tuple[str, ...]
    folder: Path
    log: Path
    death_signal: signal.Signals = signal.SIGKILL
    environment: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @property
    def name(self) -> str:
        return Path(self.arguments[0]).name

    def variables(self) -> dict[str, str]:
        """A small environment: no secret of the caller's, no `PGHOST`, English messages."""
        kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
        return (
            kept | {"LC_ALL": "C", "TZ": "UTC", "HOME": str(self.folder)} | dict(self.environment)
        )

    def log_tail(self) -> str:
        return self.log.read_text(errors="replace")[-LOG_TAIL:] if self.log.exists() else ""


class Child:
    """A running command, in a session of its own.

    The kernel sends the parent-death signal when the *thread* that forked ends. So each child has a
    thread that starts it and then waits for it: it may be asked for in any thread, and dies with
    this program even if that is killed.
    """

    def __init__(self, command: Command, account: Account) -> None:
        """Start the command. Raises ServerError if it cannot be started."""
        self.command = command
        self._ended = threading.Event()
        self._spawned: Future[subprocess.Popen[bytes]] = Future()
        keeper = threading.Thread(
            target=self._keep, args=(account,), name=f"keeper-{command.name}", daemon=True
        )
        keeper.start()
        try:
            self._process = self._spawned.result()
        except OSError as error:
            raise ServerError(f"cannot start {command.name}: {error}") from error
        except BaseException:
            # Interrupted while it started: nobody will ever hold this object.
            self._spawned.add_done_callback(lambda spawned: spawned.result().kill())
            raise

    def _keep(self, account: Account) -> None:
        command = self.command
        arguments = [sys.executable, "-I", "-S", launcher.__file__]
        arguments += map(str, (os.getpid(), int(command.death_signal), account.user, account.group))
        try:
            with os.fdopen(file_to_append(command.log), "ab") as log:
                process = subprocess.Popen(  # noqa: S603 - the arguments are ours
                    [*arguments, *command.arguments],
                    cwd=command.folder,
                    env=command.variables(),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        except BaseException as error:  # noqa: BLE001 - raised again where the child was asked for
            self._spawned.set_exception(error)
            return
        self._spawned.set_result(process)
        process.wait()
        self._ended.set()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return not self._ended.is_set()

    @property
    def status(self) -> int | None:
        """The exit status, minus the signal if one ended it, None while it runs."""
        return self._process.returncode if self._ended.is_set() else None

    def wait(self, seconds: float) -> bool:
        """Wait for the end at most that long; whether it came."""
        return self._ended.wait(seconds)

    def end(self, wish: signal.Signals, seconds: float) -> None:
        """Ask it to end by a signal; kill it and all that it forked if it has not after that
        time."""
        if self.alive:
            self.thaw()
            send(self.pid, wish)
            if not self.wait(seconds):
                self.kill()

    def kill(self) -> None:
        """A crash: SIGKILL to the process and all that it forked. Returns when all are gone."""
        self._signal_all(signal.SIGKILL, GONE)
        self._ended.wait()

    def freeze(self) -> None:
        """Stop the process and all that it forked where they are; their connections stay open and
        silent."""
        self._signal_all(signal.SIGSTOP, ("T", "t", *GONE))

    def thaw(self) -> None:
        """Let frozen processes run on."""
        for pid in reversed(self.family()):
            send(pid, signal.SIGCONT)

    def family(self) -> list[int]:
        """The ids of the process and of all that descend from it, parents first; empty when it has
        ended."""
        if not self.alive:
            return []
        children: dict[int, list[int]] = {}
        for pid, parent in processes():
            children.setdefault(parent, []).append(pid)
        family = [self.pid]
        for member in family:
            family += children.get(member, [])
        return family

    def _signal_all(self, sent: signal.Signals, states: tuple[str, ...]) -> None:
        if not self.alive:
            return
        # A stopped parent forks no more, so the list that is made next is complete.
        send(self.pid, signal.SIGSTOP)
        family = self.family()
        for pid in reversed(family):
            send(pid, sent)
        await_condition(
            lambda: all(state(pid) in states for pid in family), "the processes take the signal"
        )


def run_tool(command: Command, account: Account, seconds: float = 60) -> None:
    """Run a program to its end. Raises ServerError with the end of its log if it fails or takes
    longer."""
    child = Child(command, account)
    try:
        ended = child.wait(seconds)
    finally:
        child.kill()
    if not ended or child.status:
        outcome = f"ended with status {child.status}" if ended else f"took longer than {seconds} s"
        raise ServerError(f"{command.name} {outcome}:\n{command.log_tail()}")


def await_condition(condition: Callable[[], bool], what: str, seconds: float = 30) -> None:
    """Look until the condition holds. Raises ServerError naming `what` after that time."""
    deadline = time.monotonic() + seconds
    pause = 0.001
    while not condition():
        if time.monotonic() > deadline:
            raise ServerError(f"waited {seconds} s in vain until {what}")
        time.sleep(pause)
        pause = min(2 * pause, 0.05)


def send(pid: int, sent: signal.Signals) -> None:
    """Signal a process that may have ended."""
    try:
        os.kill(pid, sent)
    except ProcessLookupError:
        return


def state(pid: int) -> str:
    """The process's state as a letter (`T` stopped, `Z` dead but not yet reaped), empty if there is
    none."""
    if sys.platform != "linux":
        return ps("-o", "state=", "-p", str(pid)).strip()[:1]
    return (stat(pid) or [""])[0]


def processes() -> Iterator[tuple[int, int]]:
    """Id and parent's id of every process of the system."""
    if sys.platform != "linux":
        for line in ps("-A", "-o", "pid=,ppid=").splitlines():
            pid, parent = line.split()
            yield int(pid), int(parent)
        return
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and (fields := stat(int(entry.name))):
            yield int(entry.name), int(fields[1])


def stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on, empty if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def ps(*arguments: str) -> str:
    """What `ps` tells where there is no /proc."""
    command = ["/bin/ps", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return done.stdout
