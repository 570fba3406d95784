"""Increments from several processes, while those that flush are killed, and the database and
connections to Redis with them; and whether the sums are exact."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
import time
from collections import Counter as Tally
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import msgspec
from sqlalchemy import select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine

from proof.behind.words import OWN, Account, Base, Counter, Counters, Order
from proof.behind.worker import QUIET
from repocache import Database
from repocache.alembic_ops.ddl import create_write_behind
from repocache.testing import PostgresServer, Servers
from repocache.testing.errors import ServerError

ROOT = Path(__file__).parents[2]
Process = asyncio.subprocess.Process


@dataclass(frozen=True, slots=True)
class Plan:
    """`increments`: in all, from so many `adders`. `every`: seconds between two faults, about.
    `seed`: of their order."""

    increments: int
    adders: int = 4
    flushers: int = 3
    every: float = 0.7
    seed: int = 0


@dataclass(slots=True)
class Outcome:
    """`faults`: how many there were of each kind. `wrong`: what the sums are not."""

    seconds: float = 0.0
    faults: Tally[str] = field(default_factory=Tally)
    increments: int = 0
    reads: int = 0
    full: int = 0
    dead: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def lines(self) -> list[str]:
        rate = self.increments / self.seconds if self.seconds else 0
        faults = ", ".join(f"{count} {kind}" for kind, count in sorted(self.faults.items()))
        return [
            f"{self.increments:,} increments in {self.seconds:.1f} s, {rate:,.0f} a second",
            f"faults: {faults or 'none'}",
            f"{self.reads} reads compared, {self.full} full backlogs, {self.dead} dead letters",
            *(self.wrong or ["all sums are exact"]),
        ]


class Storm:
    """On a primary and a Redis of its own."""

    def __init__(self, servers: Servers, plan: Plan, database: str) -> None:
        self._servers = servers
        self._plan = plan
        self._random = random.Random(plan.seed)  # no secret
        self._primary = servers.primary.url(database=database)
        self._flushers: list[Process] = []
        self._outcome = Outcome()

    async def run(self) -> Outcome:
        """Raises RuntimeError if a process dies that nobody has killed."""
        await make_tables(self._primary)
        began = time.monotonic()
        each = self._plan.increments // self._plan.adders
        async with (
            self._processes([(-1, 0)] * self._plan.flushers) as self._flushers,
            self._processes([(n, each) for n in range(self._plan.adders)]) as adders,
        ):
            faults = asyncio.create_task(self._faults())
            try:
                accounts = await asyncio.gather(*map(account_of, adders))
            finally:
                faults.cancel()
                await asyncio.wait([faults])
            if not faults.cancelled() and (error := faults.exception()):
                raise error
            await asyncio.to_thread(revived, self._servers.primary)
        await self._judge(accounts)
        self._outcome.seconds = time.monotonic() - began
        return self._outcome

    async def _start(self, number: int, increments: int = 0) -> Process:
        order = Order(self._primary, self._servers.redis.url, number, increments)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", "-m", "proof.behind.worker"),
            msgspec.json.encode(order).decode(),
            stdout=asyncio.subprocess.PIPE,
            # One that finds no database when it starts is begun again.
            stderr=asyncio.subprocess.DEVNULL if number < 0 else None,
            cwd=ROOT,
        )
        if number >= 0:
            assert process.stdout is not None
            if (await process.stdout.readline()).strip() != b"ready":
                raise RuntimeError(f"process {number} did not start")
        return process

    @asynccontextmanager
    async def _processes(self, orders: Iterable[tuple[int, int]]) -> AsyncIterator[list[Process]]:
        """With these numbers, and increments to make."""
        running: list[Process] = []
        try:
            for number, increments in orders:
                running.append(await self._start(number, increments))
            yield running
        finally:
            for process in running:
                await killed(process)

    async def _faults(self) -> None:
        """For ever."""
        kinds = ("flusher killed", "flusher killed", "flusher frozen", "database killed",
                 "database stopped", "connections to Redis cut")  # fmt: skip
        while True:
            await asyncio.sleep(self._plan.every * self._random.uniform(0.5, 1.5))
            kind = self._random.choice(kinds)
            self._outcome.faults[kind] += 1
            at = self._random.randrange(len(self._flushers))
            if kind == "flusher killed":
                await killed(self._flushers[at])
            elif kind == "flusher frozen":
                await self._freeze(self._flushers[at])
            elif kind == "connections to Redis cut":
                self._servers.redis.command("CLIENT", "KILL", "TYPE", "pubsub")
                self._servers.redis.command("CLIENT", "KILL", "TYPE", "normal")
            else:
                await asyncio.to_thread(self._end_database, kind == "database killed")
            for each, process in enumerate(self._flushers):
                if process.returncode is not None:
                    self._flushers[each] = await self._start(-1)

    async def _freeze(self, process: Process) -> None:
        """Longer than its lease: it goes on with what it had read."""
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(1.5)
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)

    def _end_database(self, crash: bool) -> None:
        if crash:
            self._servers.primary.kill()
        else:
            self._servers.primary.stop()
        time.sleep(self._random.uniform(0, 0.3))
        revived(self._servers.primary)

    async def _judge(self, accounts: list[Account]) -> None:
        """Flush what is left, and compare."""
        hits: Tally[int] = Tally()
        weight: Tally[int] = Tally()
        outcome = self._outcome
        for account in accounts:
            hits.update(account.hits)
            weight.update(account.weight)
            outcome.reads += account.reads
            outcome.full += account.full
            outcome.wrong += account.wrong
        outcome.increments = hits.total()
        async with Database(
            self._primary, redis=self._servers.redis.url, repositories=[Counters], settings=QUIET
        ) as db:
            async with asyncio.timeout(60):
                await flushed(db[Counters])
            outcome.dead = await db[Counters].dead.count()
            async with db.engine.connect() as connection:
                columns = (Counter.id, Counter.hits, Counter.weight, Counter.last)
                rows = (await connection.execute(select(*columns))).all()
        found = {id: (hits, weight, last) for id, hits, weight, last in rows}
        for id in sorted({*hits, *found}):
            last = accounts[id - OWN].last if id >= OWN else None
            wanted = (hits[id], Decimal(weight[id]) / 1000 if weight[id] else None, last)
            if found.get(id) != wanted:
                outcome.wrong.append(f"counter {id}: {found.get(id)}, and it should be {wanted}")


async def account_of(adder: Process) -> Account:
    """Once it has made all of its increments. Raises RuntimeError if it died."""
    assert adder.stdout is not None
    line = await adder.stdout.readline()
    if await adder.wait() or not line:
        raise RuntimeError("an adder died")
    return msgspec.json.decode(line, type=Account)


async def flushed(behind: Counters) -> None:
    """The first attempts may meet connections that a crash has left."""
    while True:
        try:
            return await behind.flushed()
        except (SQLAlchemyError, OSError):
            await asyncio.sleep(0.1)


def revived(server: PostgresServer) -> None:
    """Running, whatever it was."""
    for _ in range(20):
        try:
            server.start()
        except ServerError:
            time.sleep(0.2)
        else:
            return
        with suppress(ServerError):
            server.sql("SELECT 1")
            return
    raise RuntimeError("the primary does not start")


async def killed(process: Process) -> None:
    """SIGKILL; nothing if it is dead."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def make_tables(url: str) -> None:
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        for statement in create_write_behind("public", ()):
            await connection.execute(text(statement))
    await engine.dispose()
