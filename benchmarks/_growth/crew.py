"""Other processes, each with its own connections to the same servers, that work when they are told.

A line of JSON says what to open; "ready" comes back. Each further line is a number of seconds, and
its answer the calls a second and the CPU a call of so long; "close" closes what was opened.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import msgspec

from benchmarks._harness import Figures
from repocache.testing import Endpoints

Window = Callable[[float], Awaitable[Figures]]
"""Works for so many seconds."""
READY, CLOSE = b"ready", b"close"
PATIENCE = 60.0
"""Seconds for what takes much less."""


class Job(msgspec.Struct, frozen=True):
    """What to open, and where the servers are. `rows`: that are read. `rate`: a second, of what
    sends."""

    task: str
    rows: int
    primary: str
    replicas: tuple[str, ...]
    redis: str
    rate: int = 0

    @property
    def ends(self) -> Endpoints:
        return Endpoints(self.primary, self.replicas, self.redis)


def job(task: str, ends: Endpoints, rows: int, rate: int = 0) -> Job:
    return Job(task, rows, ends.primary, ends.replicas, ends.redis, rate)


class Member:
    """One process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @asynccontextmanager
    async def open(self, what: Job) -> AsyncIterator[Window]:
        if await self._told(msgspec.json.encode(what)) != READY:
            raise RuntimeError(f"{what.task}: the other process is not ready")
        try:
            yield self._window
        finally:
            await self._told(CLOSE)

    async def _window(self, seconds: float) -> Figures:
        answer = await self._told(str(seconds).encode(), seconds)
        return Figures(*msgspec.json.decode(answer, type=tuple[float, float]))

    async def _told(self, line: bytes, seconds: float = 0) -> bytes:
        """The answer to a line. Raises RuntimeError if the process has ended."""
        sending, answers = self._process.stdin, self._process.stdout
        assert sending is not None
        assert answers is not None
        sending.write(line + b"\n")
        answer = await asyncio.wait_for(answers.readline(), seconds + PATIENCE)
        if not answer:
            raise RuntimeError("the other process has ended")
        return answer.strip()

    async def end(self) -> None:
        """It ends when nobody is there to tell it more."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), 10)
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


@asynccontextmanager
async def crew(many: int) -> AsyncIterator[list[Member]]:
    """So many processes, which do nothing yet."""
    async with AsyncExitStack() as stack:
        members = []
        for _ in range(many):
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "benchmarks._growth.worker"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            members.append(Member(process))
            stack.push_async_callback(members[-1].end)
        yield members


@asynccontextmanager
async def opened(members: Sequence[Member], what: Job) -> AsyncIterator[list[Window]]:
    """The same job, open in all of them."""
    async with AsyncExitStack() as stack:
        windows = [stack.enter_async_context(each.open(what)) for each in members]
        yield list(await asyncio.gather(*windows))
