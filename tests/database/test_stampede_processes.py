"""A thousand callers in eight processes on one cold key: one statement, counted in the server's
log, also where the loader is slow, fails or is killed. Where its callers are cancelled it goes on:
`test_stampede.py`."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from repocache.testing import Endpoints, Servers
from tests.database.one_of_many import COLD
from tests.shop import until

PROCESSES, CALLERS = 8, 1_000


class Many:
    """Eight processes that are ready to ask."""

    def __init__(self, servers: Servers, ends: Endpoints) -> None:
        self._primary = servers.primary
        self.database = ends.primary.rpartition("/")[2].partition("?")[0]
        self._ends = ends
        self.processes: list[asyncio.subprocess.Process] = []
        self._log = Path(f"/proc/{servers.primary.pid}/fd/2").readlink()
        self._read = 0

    async def begin(self, stack: AsyncExitStack) -> None:
        self._primary.sql(f"ALTER DATABASE \"{self.database}\" SET log_statement = 'all'")
        self.processes = [await self._begun(stack) for _ in range(PROCESSES)]
        for each in self.processes:
            assert await self.line(each) == "ready"
        self._read = self._log.stat().st_size

    async def _begun(self, stack: AsyncExitStack) -> asyncio.subprocess.Process:
        callers = str(CALLERS // PROCESSES)
        arguments = (
            "-m",
            "tests.database.one_of_many",
            self._ends.primary,
            self._ends.redis,
            callers,
        )
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, stdin=pipe, stdout=pipe
        )
        stack.push_async_callback(ended, process)
        return process

    async def line(self, process: asyncio.subprocess.Process) -> str:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            return (await process.stdout.readline()).decode().strip()

    async def ask(self, processes: Sequence[asyncio.subprocess.Process]) -> None:
        """All their callers, now."""
        for each in processes:
            assert each.stdin is not None
            each.stdin.write(b"go\n")
        for each in processes:
            assert await self.line(each) == "asking"

    async def answers(self, processes: Sequence[asyncio.subprocess.Process]) -> list[str]:
        return list(await asyncio.gather(*map(self.line, processes)))

    def statements(self) -> int:
        """That were executed on users since all were ready: one that waits for the table is not
        yet."""
        said = self._log.read_bytes()[self._read :].decode(errors="replace")
        return len(re.findall(r"execute [^\n]*:(?: /\*[^\n]*)? SELECT [^;]*?FROM users", said))

    def waiting(self) -> set[str]:
        """The server's processes that wait for the table."""
        rows = self._primary.sql(
            "SELECT pid FROM pg_locks WHERE NOT granted AND relation = 'users'::regclass",
            self.database,
        )
        return {pid for (pid,) in rows}

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[AsyncConnection]:
        """Nobody reads the table meanwhile."""
        engine = create_async_engine(self._ends.primary)
        try:
            async with engine.connect() as connection:
                await connection.execute(text("LOCK TABLE users IN ACCESS EXCLUSIVE MODE"))
                yield connection
        finally:
            await engine.dispose()

    async def until_others_wait(self, *before: str) -> set[str]:
        """Than these."""

        async def wait() -> bool:
            return bool(await asyncio.to_thread(self.waiting) - set(before))

        await until(wait, "one waits for the table")
        return self.waiting()

    def fail(self, pids: set[str]) -> None:
        """Their statements."""
        for pid in pids:
            self._primary.sql(f"SELECT pg_cancel_backend({pid})")


async def ended(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()


@pytest.fixture
async def many(repocache_servers: Servers, repocache_endpoints: Endpoints) -> AsyncIterator[Many]:
    async with AsyncExitStack() as stack:
        found = Many(repocache_servers, repocache_endpoints)
        await found.begin(stack)
        yield found


async def test_a_cold_key_is_one_statement(many: Many) -> None:
    await many.ask(many.processes)
    assert await many.answers(many.processes) == [f"n0{COLD}"] * PROCESSES
    assert many.statements() == 1


async def test_a_slow_loader_is_waited_for(many: Many) -> None:
    async with many.locked():
        await many.ask(many.processes)
        first = await many.until_others_wait()
        await asyncio.sleep(1)  # longer than any of them takes to come
        assert len(first) == 1
        assert many.waiting() == first
    assert await many.answers(many.processes) == [f"n0{COLD}"] * PROCESSES
    assert many.statements() == 1


async def test_a_loader_that_fails_is_followed_by_one_other(many: Many) -> None:
    """Its own callers are told, those of the others are not."""
    async with many.locked():
        await many.ask(many.processes)
        first = await many.until_others_wait()
        many.fail(first)
        assert len(first) == len(await many.until_others_wait(*first)) == 1
    answers = await many.answers(many.processes)
    assert answers.count(f"n0{COLD}") == PROCESSES - 1
    assert many.statements() == 1


async def test_a_loader_that_is_killed_is_followed_by_one_other(many: Many) -> None:
    first, *others = many.processes
    async with many.locked():
        await many.ask([first])
        his = await many.until_others_wait()
        await many.ask(others)
        first.kill()
        await first.wait()
        # PostgreSQL notices that a client is gone when it answers, and would execute it till then.
        many.fail(his)
        assert len(await many.until_others_wait(*his) - his) == 1
    assert await many.answers(others) == [f"n0{COLD}"] * (PROCESSES - 1)
    assert many.statements() == 1
