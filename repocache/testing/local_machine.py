"""A server as a process of ours: its port, its start until it is ready, its end.

What to run, and how to know that it is ready, is the program's: a folder of PostgreSQL or of Redis.
"""

import signal
from pathlib import Path
from typing import Protocol

from repocache.testing.errors import PortTaken, ServerError
from repocache.testing.ports import free_port
from repocache.testing.process import Account, Child, Command, await_condition

HOST = "127.0.0.1"
TRIES = 5
SECONDS_TO_STOP = 10
TAKEN = "Address already in use"


class Program(Protocol):
    """What runs on a local machine."""

    @property
    def stop_signal(self) -> signal.Signals:
        """Asks for an orderly end that does not wait for clients."""
        ...

    def command(self, port: int) -> Command:
        """What to run, to listen on this port of 127.0.0.1."""
        ...

    def accepts(self, port: int, pid: int) -> bool:
        """Whether the server that runs as this process accepts connections."""
        ...


class LocalMachine:
    """Runs one program, on one port of 127.0.0.1 from its first start on."""

    host = HOST

    def __init__(self, name: str, program: Program, account: Account) -> None:
        self.name = name
        self.port = free_port()
        self._program = program
        self._account = account
        self._child: Child | None = None

    @property
    def pid(self) -> int:
        return self._running().pid

    def start(self) -> None:
        if self._child and self._child.alive:
            return
        for _ in range(TRIES):
            try:
                self._child = self._launch()
            except PortTaken:
                if self._child:
                    raise  # it has run on this port, which others know
                self.port = free_port()
            else:
                return
        raise PortTaken(f"{self.name} found each of {TRIES} ports taken")

    def stop(self) -> None:
        if self._child:
            self._child.end(self._program.stop_signal, SECONDS_TO_STOP)

    def kill(self) -> None:
        if self._child:
            self._child.kill()

    def freeze(self) -> None:
        self._running().freeze()

    def thaw(self) -> None:
        if self._child:
            self._child.thaw()

    def _running(self) -> Child:
        if self._child and self._child.alive:
            return self._child
        raise ServerError(f"{self.name} does not run")

    def _launch(self) -> Child:
        command = self._program.command(self.port)
        said = size(command.log)
        child = Child(command, self._account)
        try:
            await_condition(
                lambda: not child.alive or self._program.accepts(self.port, child.pid),
                f"{self.name} accepts connections",
            )
        except BaseException:
            child.kill()
            raise
        if child.alive:
            return child
        words = command.log.read_bytes()[said:].decode(errors="replace")
        kind = PortTaken if TAKEN in words else ServerError
        raise kind(f"{self.name} ended with status {child.status} on port {self.port}:\n{words}")


def size(path: Path) -> int:
    """Bytes in a file, 0 if there is none."""
    return path.stat().st_size if path.exists() else 0
