"""The two processes of a pattern: one writes, one reads. They are told on stdin where the servers
are and when to begin, and tell on stdout what they noted."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar

import msgspec
from sqlalchemy import PoolProxiedConnection, select

from benchmarks._patterns.contestants import PATTERNS, Side
from benchmarks._shop import User, plain_engine
from repocache.testing import Endpoints

WRITERS, READERS, CROWD = 4, 8, 16
"""Callers: of writes and of reads with think time, and of writes without."""
WRITES_THINK, READS_THINK = (0.02, 0.06), (0.004, 0.012)
"""Seconds between two calls of one caller: some 100 writes and 900 reads a second."""


class Told(msgspec.Struct):
    """`mixed`: seconds of reads and writes with think time; `closed`: of writes in a closed
    loop."""

    pattern: str
    ends: tuple[str, tuple[str, ...], str]
    rows: int
    mixed: float
    closed: float


class Reads(msgspec.Struct):
    """`shown`: row, when the read began, number. `loads`: rows that the database was asked for."""

    shown: list[tuple[int, float, int]]
    seconds: list[float]
    loads: int


class Writes(msgspec.Struct):
    """`written`: row, number, when the answer to COMMIT had come. `seconds`: of each write of the
    mix. `rate`: of the closed loop, a second."""

    written: list[tuple[int, int, float]]
    seconds: list[float]
    rate: float


def drawn(rows: int, draw: random.Random) -> int:
    """A row: the first is every fifth one."""
    return int(rows * draw.random() ** 4)


async def calls(
    callers: int,
    think: tuple[float, float] | None,
    until: float,
    call: Callable[[int], Awaitable[None]],
) -> None:
    """Until a time on the clock."""
    draw = random.Random(callers)

    async def caller(number: int) -> None:
        while time.monotonic() < until:
            await call(number)
            if think:
                await asyncio.sleep(draw.uniform(*think))

    await asyncio.gather(*map(caller, range(callers)))


async def reading(side: Side, told: Told) -> Reads:
    noted, draw = Reads([], [], 0), random.Random(1)

    async def read(_: int) -> None:
        id = drawn(told.rows, draw)
        began = time.monotonic()
        number = await side.read(id)
        noted.seconds.append(time.monotonic() - began)
        noted.shown.append((id, began, number))

    for id in range(told.rows):
        await side.read(id)
    await begin()
    side.loads = 0
    await calls(READERS, READS_THINK, time.monotonic() + told.mixed, read)
    noted.loads = side.loads
    return noted


async def writing(side: Side, told: Told, ends: Endpoints) -> Writes:
    noted, draw = Writes([], [], 0.0), random.Random(2)
    async with plain_engine(ends) as engine, engine.connect() as connection:
        found = await connection.execute(select(User.id, User.visits))
        numbers = {row.id: row.visits for row in found}
    under_way: ContextVar[tuple[int, int]] = ContextVar("under_way")
    busy: set[int] = set()

    def done() -> None:
        noted.written.append((*under_way.get(), time.monotonic()))

    if side.engine is not None:
        dialect = side.engine.sync_engine.dialect
        commit = dialect.do_commit

        def committed(dbapi_connection: PoolProxiedConnection) -> None:
            commit(dbapi_connection)
            if under_way.get(None) is not None:
                done()

        dialect.do_commit = committed  # type: ignore[method-assign]  # when its answer has come

    async def write(_: int) -> None:
        id = drawn(told.rows, draw)
        while id in busy:
            id = draw.randrange(told.rows)
        busy.add(id)
        numbers[id] += 1
        token = under_way.set((id, numbers[id]))
        began = time.monotonic()
        await side.write(id, numbers[id])
        noted.seconds.append(time.monotonic() - began)
        if side.engine is None:
            done()
        under_way.reset(token)
        busy.discard(id)

    for _ in range(WRITERS):
        await write(0)
    await begin()
    noted.seconds.clear()
    await calls(WRITERS, WRITES_THINK, time.monotonic() + told.mixed, write)
    mixed, began = len(noted.seconds), time.monotonic()
    await calls(CROWD, None, began + told.closed, write)
    noted.rate = (len(noted.seconds) - mixed) / (time.monotonic() - began)
    del noted.seconds[mixed:]
    return noted


async def begin() -> None:
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)


async def work(role: str) -> None:
    told = msgspec.json.decode(await asyncio.to_thread(sys.stdin.readline), type=Told)
    ends = Endpoints(*told.ends)
    found: Reads | Writes
    async with PATTERNS[told.pattern](ends) as side:
        found = await (reading(side, told) if role == "reader" else writing(side, told, ends))
    print(msgspec.json.encode(found).decode(), flush=True)


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1]))
