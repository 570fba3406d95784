"""The near end of a service process: orders, what it told, and the signals that it gets."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import msgspec

from proof.acceptance.service import Setup
from tests.shop import until

ROOT = Path(__file__).parents[2]
GUARD = 30.0
"""Seconds after which an order hangs."""


class OrderFailed(Exception):
    """`kind`: class of the error in the service."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind


class Remote:
    """`events`: (kind, fields), in their order; those of reads and fills are only counted
    (`counts`)."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self._process = process
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._number = 0
        self._ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._hearing = asyncio.create_task(self._hear())

    @classmethod
    async def start(cls, setup: Setup) -> Remote:
        pipe = asyncio.subprocess.PIPE
        words = (sys.executable, "-W", "error", "-m", "proof.acceptance.service")
        process = await asyncio.create_subprocess_exec(
            *words, stdin=pipe, stdout=pipe, cwd=ROOT, limit=2**22
        )
        remote = cls(process)
        try:
            remote._write(setup)
            async with asyncio.timeout(GUARD):
                await remote._ready
        except BaseException:
            await remote.kill()
            raise
        return remote

    async def ask(self, do: str, **using: Any) -> Any:
        """What the order brought. Raises OrderFailed, and TimeoutError if it hangs."""
        self._number += 1
        number = self._number
        asked = self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            self._write({"number": number, "do": do, "using": using})
            async with asyncio.timeout(GUARD):
                return await asked
        finally:
            self._asked.pop(number, None)

    def told(self, kind: str, since: int = 0) -> list[dict[str, Any]]:
        """The events of one kind, from the `since`-th of all events on."""
        return [about for name, about in self.events[since:] if name == kind]

    async def until_told(self, kind: str, since: int = 0, **like: Any) -> dict[str, Any]:
        """The first event of the kind, with these fields."""
        found: list[dict[str, Any]] = []

        def look() -> bool:
            found[:] = [each for each in self.told(kind, since) if like.items() <= each.items()]
            return bool(found)

        await until(look, f"{kind} {like} is told; lately: {self.events[-5:]}")
        return found[0]

    async def until_counted(self, kind: str, number: int) -> dict[str, int]:
        """The counts, once there are so many of the kind."""
        counts: dict[str, int] = {}

        async def look() -> bool:
            counts.update(await self.ask("counts"))
            return counts.get(kind, 0) >= number

        await until(look, f"there are {number} of {kind}")
        return counts

    def freeze(self) -> None:
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self._process.pid, signal.SIGCONT)

    async def until_stopped(self) -> None:
        stat = Path(f"/proc/{self._process.pid}/stat")
        await until(
            lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", "the process has stopped"
        )

    async def kill(self) -> None:
        """SIGKILL; returns when it is gone and all that it told is heard."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._hearing

    def _write(self, what: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(what) + b"\n")

    async def _hear(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            told = msgspec.json.decode(line)
            asked = self._asked.get(told.get("number"))
            if "ready" in told:
                self._ready.set_result(told["ready"])
            elif "event" in told:
                self.events.append((told["event"], told["about"]))
            elif asked is not None and not asked.done():
                if "failed" in told:
                    asked.set_exception(OrderFailed(told["failed"], told["text"]))
                else:
                    asked.set_result(told["got"])
        gone = ConnectionResetError("the service process is gone")
        for each in [self._ready, *self._asked.values()]:
            if not each.done():
                each.set_exception(gone)
                each.exception()
