"""A commit that invalidates, beside the same commit without the library.

    python3 dev.py benchmark commits

PostgreSQL with fsync; one and 64 callers in a closed loop, each with rows of its own. The library adds one round trip before
COMMIT (the transaction's id), one after it (the position, shared by the commits of a moment) and a script in Redis; the
outbox is not among them yet.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from benchmarks._harness import Bar, Call, Effort, Load, Open, interleave, run, under
from benchmarks._shop import Item, Items, database, fill, plain_engine, servers
from repocache.testing import Endpoints

ROWS = 2_000
UPDATE = "update() and commit"
OURS = "repocache: update() and commit"
FLUSH = "get, set and commit"
OURS_FLUSH = "repocache: require, set and commit"


def contestants(ends: Endpoints) -> dict[str, Open]:
    @asynccontextmanager
    async def plain_update() -> AsyncIterator[Call]:
        async with plain_engine(ends) as engine:

            async def commit(number: int) -> None:
                async with AsyncSession(engine, expire_on_commit=False) as session:
                    await session.execute(update(Item).where(Item.id == number).values(stock=Item.stock + 1))
                    await session.commit()

            yield commit

    @asynccontextmanager
    async def our_update() -> AsyncIterator[Call]:
        async with database(ends, Items) as db:

            async def commit(number: int) -> None:
                async with db.unit_of_work() as work:
                    await work.session.execute(update(Item).where(Item.id == number).values(stock=Item.stock + 1))
                    await work.commit()

            await commit(0)
            yield commit

    @asynccontextmanager
    async def plain_flush() -> AsyncIterator[Call]:
        async with plain_engine(ends) as engine:

            async def commit(number: int) -> None:
                async with AsyncSession(engine, expire_on_commit=False) as session:
                    item = await session.get_one(Item, number)
                    item.stock += 1
                    await session.commit()

            yield commit

    @asynccontextmanager
    async def our_flush() -> AsyncIterator[Call]:
        async with database(ends, Items) as db:

            async def commit(number: int) -> None:
                async with db.unit_of_work() as work:
                    item = await work[Items].require(number)
                    item.stock += 1
                    await work.commit()

            await commit(0)
            yield commit

    return {UPDATE: plain_update, OURS: our_update, FLUSH: plain_flush, OURS_FLUSH: our_flush}


async def benchmark(effort: Effort) -> None:
    bars = (
        Bar(OURS, UPDATE, "calls", 0.7, at_least=True),
        Bar(OURS_FLUSH, FLUSH, "calls", 0.7, at_least=True),
    )
    with servers(durable=True) as running:
        ends = await fill(running, 1, ROWS)
        for callers in (1, 64):
            measure = under(Load(callers, ROWS), 2 * effort.closed)
            table = await interleave(f"commit, {callers} callers", contestants(ends), measure, effort.rounds)
            table.show(bars)


if __name__ == "__main__":
    run(benchmark)
