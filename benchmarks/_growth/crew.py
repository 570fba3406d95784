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
    """One process, started when it has something to do, and anew after it has failed."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None

    @asynccontextmanager
    async def open(self, what: Job) -> AsyncIterator[Window]:
        if self._process is None:
            self._process = await started()
        if await self._told(msgspec.json.encode(what)) != READY:
            raise RuntimeError(f"{what.task}: the other process is not ready")
        try:
            yield self._window
        finally:
            if self._process is not None:
                await self._told(CLOSE)

    async def _window(self, seconds: float) -> Figures:
        answer = await self._told(str(seconds).encode(), seconds)
        return Figures(*msgspec.json.decode(answer, type=tuple[float, float]))

    async def _told(self, line: bytes, seconds: float = 0) -> bytes:
        """The answer to a line. Raises RuntimeError, and ends the process, if it does not come."""
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        answer = b""
        try:
            process.stdin.write(line + b"\n")
            answer = await asyncio.wait_for(process.stdout.readline(), seconds + PATIENCE)
        finally:
            if not answer:
                await self.end(0)
        if not answer:
            raise RuntimeError("the other process has ended")
        return answer.strip()

    async def end(self, patience: float = 10) -> None:
        """It ends when nobody is there to tell it more, or after so many seconds is made to."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), patience)
        if process.returncode is None:
            process.kill()
            await process.wait()


async def started() -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks._growth.worker"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )


@asynccontextmanager
async def crew(many: int) -> AsyncIterator[list[Member]]:
    """So many processes, which do nothing yet."""
    async with AsyncExitStack() as stack:
        members = [Member() for _ in range(many)]
        for each in members:
            stack.push_async_callback(each.end)
        yield members


@asynccontextmanager
async def opened(members: Sequence[Member], what: Job) -> AsyncIterator[list[Window]]:
    """The same job, open in all of them: one after the other, so that none waits for a core for
    longer than its connections do."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(each.open(what)) for each in members]
