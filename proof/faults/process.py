"""A worker as the conductor has it: started, ordered about, stopped, killed, and never left
behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from proof.faults.traffic import Guest
from proof.faults.worker import Setup
from repocache.testing.process import send

ROOT = Path(__file__).parents[2]
GUARD = 60.0
"""Seconds after which an order hangs: longer than any call of the traffic."""


class WorkerFailed(Exception):
    """A worker died, or could not do what it was ordered to."""


class Process:
    """`alive`: it may be given orders. `hand_over`: gets the sessions that go on elsewhere."""

    def __init__(
        self, setup: Setup, process: asyncio.subprocess.Process, hand_over: Callable[[Guest], None]
    ) -> None:
        self.name = setup.name
        self.alive = False
        self._process = process
        self._hand_over = hand_over
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._number = 0
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._hearing = asyncio.create_task(self._hear())

    @classmethod
    async def start(cls, setup: Setup, hand_over: Callable[[Guest], None]) -> Process:
        """Returns when it is connected. Raises WorkerFailed."""
        pipe = asyncio.subprocess.PIPE
        clock = (str(setup.service.clock), str(setup.service.drift))
        words = (sys.executable, "-W", "error", "-m", "proof.faults.clock", *clock)
        with Path(setup.history).with_suffix(".err").open("wb") as complaints:
            process = await asyncio.create_subprocess_exec(
                *words,
                stdin=pipe,
                stdout=pipe,
                stderr=complaints,
                cwd=ROOT,
                limit=2**22,
                start_new_session=True,
            )
        self = cls(setup, process, hand_over)
        try:
            self._write(setup)
            async with asyncio.timeout(GUARD):
                await self._ready
        except BaseException:
            await self.kill()
            raise
        self.alive = True
        return self

    async def ask(self, do: str, **using: Any) -> Any:
        """What the order brought. Raises WorkerFailed, and TimeoutError if it hangs."""
        self._number += 1
        number = self._number
        asked = self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            self._write({"number": number, "do": do, "using": using})
            async with asyncio.timeout(GUARD):
                return await asked
        finally:
            self._asked.pop(number, None)

    def tell(self, do: str, using: dict[str, Any]) -> None:
        """An order whose outcome nobody waits for."""
        self._write({"number": 0, "do": do, "using": using})

    def freeze(self) -> None:
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self._process.pid, signal.SIGCONT)

    async def leave(self) -> None:
        """It leaves its database in good order, and is no more. Raises as `ask`."""
        self.alive = False
        await self.ask("leave")
        await self.kill()

    async def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        self.alive = False
        if self._process.returncode is None:
            # Past asyncio's own `kill`, which may take the exit status from its watcher, which then
            # complains.
            send(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        await self._hearing

    def _write(self, what: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(what) + b"\n")

    async def _hear(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            told = msgspec.json.decode(line)
            if "ready" in told:
                self._ready.set_result(None)
            elif "hand_over" in told:
                self._hand_over(msgspec.convert(told["hand_over"], Guest, strict=False))
            elif (asked := self._asked.get(told["number"])) is not None and not asked.done():
                if "failed" in told:
                    asked.set_exception(WorkerFailed(f"{self.name}: {told['failed']}"))
                else:
                    asked.set_result(told["got"])
        gone = WorkerFailed(f"{self.name} is gone")
        for each in [self._ready, *self._asked.values()]:
            if not each.done():
                each.set_exception(gone)
                each.exception()
