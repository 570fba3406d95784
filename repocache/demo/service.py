"""A service process as the conductor has it: started, listened to, ordered about, killed, and never
left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from repocache.demo.records import Order, Ready, Setup, Told, frame, read_told
from repocache.testing.process import send

MODULE = "repocache.demo.worker"
PATIENCE = 20.0
LAST_WORDS = 4000

Hear = Callable[[str, Iterable[Told]], None]
"""Gets the process's name and what it told."""


class ServiceDied(Exception):
    """A service process ended though nobody had asked it to."""


class ServiceProcess:
    """`async with ServiceProcess(setup, hear):` a process that is connected; killed when the block
    is left.

    Raises ServiceDied if it ends before it is connected, or is not within 20 s.
    """

    def __init__(self, setup: Setup, hear: Hear) -> None:
        self.name = setup.service
        self._setup = setup
        self._hear = hear
        self._ready = asyncio.Event()
        self._expected_to_end = False

    async def __aenter__(self) -> Self:
        self._process = await start_process()
        self._listening = asyncio.create_task(self._listen(self._process))
        self._complaints = asyncio.create_task(last_words(self._process))
        try:
            self.order(self._setup)
            ready = asyncio.create_task(self._ready.wait())
            await asyncio.wait(
                [ready, self._listening], timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED
            )
            ready.cancel()
            if not self._ready.is_set():
                await self.kill()
                raise ServiceDied(f"{self.name} did not start: {await self._complaints}")
        except BaseException:
            await self._leave()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._leave()

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    def order(self, order: Order) -> None:
        """Say it; nothing if the process is gone."""
        assert self._process.stdin is not None
        if not self._process.stdin.is_closing():
            self._process.stdin.write(frame([order]))

    async def kill(self) -> None:
        """SIGKILL. Returns when the process is gone and all that it had told is heard."""
        self._expected_to_end = True
        self._kill()
        await self._process.wait()
        await self._listening

    async def stop(self, order: Order) -> None:
        """Let it end by the order, for 10 s at most, and then kill it."""
        self._expected_to_end = True
        self.order(order)
        try:
            async with asyncio.timeout(10.0):
                await self._listening
                await self._process.wait()
        except TimeoutError as error:
            await self.kill()
            raise ServiceDied(f"{self.name} did not stop within 10 s") from error
        if self._process.returncode:
            raise ServiceDied(
                f"{self.name} ended with {self._process.returncode}: {await self._complaints}"
            )

    async def watch(self) -> None:
        """Returns when the process has been asked to end, and has. Raises ServiceDied if it was not
        asked."""
        await self._listening
        status = await self._process.wait()
        if not self._expected_to_end:
            raise ServiceDied(f"{self.name} died with status {status}: {await self._complaints}")

    def _kill(self) -> None:
        """Past asyncio's own `kill`, which may take the exit status from its watcher, which then
        complains."""
        if self.alive:
            send(self._process.pid, signal.SIGKILL)

    async def _listen(self, process: Process) -> None:
        assert process.stdout is not None
        while told := list(await read_told(process.stdout)):
            if not self._ready.is_set() and any(isinstance(each, Ready) for each in told):
                self._ready.set()
            self._hear(self.name, told)

    async def _leave(self) -> None:
        self._expected_to_end = True
        self._kill()
        await self._process.wait()
        for task in (self._listening, self._complaints):
            task.cancel()
        await asyncio.gather(self._listening, self._complaints, return_exceptions=True)


async def start_process() -> Process:
    """Out of the terminal's reach: Ctrl-C is the conductor's affair. It ends when its stdin does,
    so when we do."""
    source = str(Path(__file__).parents[3])
    path = os.pathsep.join(filter(None, (source, os.environ.get("PYTHONPATH", ""))))
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", MODULE),
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": path},
    )


async def last_words(process: Process) -> str:
    """The end of what it wrote to stderr, once it has ended."""
    assert process.stderr is not None
    words = b""
    while more := await process.stderr.read(4096):
        words = (words + more)[-LAST_WORDS:]
    return words.decode(errors="replace").strip() or "it said nothing"
