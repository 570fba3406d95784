"""DDL under a running process: what was prepared before it is prepared anew, and nobody notices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from sqlalchemy import select, text

from repocache.testing import Endpoints, Servers
from tests.papers import MAKE, Desk, Paper, Papers, open_desk, run

WIDER = ("ALTER TABLE papers ALTER COLUMN title TYPE varchar(80)",)
TYPE = ("ALTER TABLE papers ALTER COLUMN title TYPE text",)
ENUM = (
    "ALTER TYPE paper_state RENAME TO paper_state_old",
    "CREATE TYPE paper_state AS ENUM ('signed', 'draft', 'newer')",
    "ALTER TABLE papers ALTER COLUMN state DROP DEFAULT",
    "ALTER TABLE papers ALTER COLUMN state TYPE paper_state USING state::text::paper_state",
    "DROP TYPE paper_state_old",
)
DDL = {"wider": WIDER, "type": TYPE, "enum": ENUM}
AT_ONCE = 6

Reads = Callable[[Desk], Awaitable[object]]


@pytest.fixture
async def desk(repocache_endpoints: Endpoints, repocache_servers: Servers) -> AsyncIterator[Desk]:
    await run(repocache_endpoints, *MAKE)
    repocache_servers.catch_up()
    async with open_desk(repocache_endpoints) as opened:
        yield opened


async def get(desk: Desk) -> object:
    told = await asyncio.gather(*(desk.papers.get(f"p{n}") for n in range(AT_ONCE)))
    return [each and each.state for each in told]


async def primary(desk: Desk) -> object:
    papers = desk.papers.on_primary()
    told = await asyncio.gather(*(papers.get(f"p{n}") for n in range(AT_ONCE)))
    return [each and each.state for each in told]


async def find(desk: Desk) -> object:
    condition = (Paper.state == "draft") & (Paper.id == "p1")
    told = await asyncio.gather(*(desk.papers.find(condition) for _ in range(AT_ONCE)))
    return [[each.state for each in found] for found in told]


async def count(desk: Desk) -> object:
    condition = (Paper.state == "draft") & (Paper.id == "p1")
    counts = await asyncio.gather(*(desk.papers.count(condition) for _ in range(AT_ONCE)))
    return counts, await desk.papers.exists(condition)


async def replica(desk: Desk) -> object:
    papers = desk.papers.on_replica(60)
    return [each.id for each in await papers.find(Paper.id == "p1")], await papers.get("p1") is None


async def snapshot(desk: Desk) -> object:
    statement = select(Paper.id, Paper.title, Paper.state).where(
        Paper.state == "draft", Paper.id == "p1"
    )
    async with desk.db.snapshot() as connection:
        first = (await connection.execute(statement)).all()
        return [tuple(row) for row in (*first, *(await connection.execute(statement)).all())]


async def work(desk: Desk) -> object:
    async with desk.db.unit_of_work() as work:
        paper = await work[Papers].require("p1")
        return paper.state, await work[Papers].count(Paper.state == "draft", Paper.id == "p1")


async def session(desk: Desk) -> object:
    async with desk.db.sessionmaker() as session:
        found = await session.scalars(select(Paper).where(Paper.state == "draft", Paper.id == "p1"))
        return [each.title for each in found]


@pytest.mark.parametrize("ddl", DDL)
@pytest.mark.parametrize("reads", [get, primary, find, count, replica, snapshot, work, session])
async def test_reads_after_ddl_answer_as_before(
    desk: Desk, repocache_endpoints: Endpoints, repocache_servers: Servers, reads: Reads, ddl: str
) -> None:
    repocache_servers.catch_up()
    before = await reads(desk)
    for _ in range(2):
        assert await reads(desk) == before
        # Of entities that lie in Redis nobody would ask the database.
        repocache_servers.redis.clear()
    await run(repocache_endpoints, *DDL[ddl])
    repocache_servers.catch_up()
    assert await reads(desk) == before


async def test_nothing_that_was_written_is_sent_again_nor_lost(
    desk: Desk, repocache_endpoints: Endpoints
) -> None:
    """Behind a write the transaction has failed, and says so."""
    count = text("SELECT title FROM papers WHERE id = 'p1'")
    async with desk.db.sessionmaker() as session:
        await session.execute(count)
    await run(repocache_endpoints, *TYPE)
    async with desk.db.sessionmaker() as session:
        await session.execute(text("CREATE TEMPORARY TABLE noted (id int)"))
        await session.execute(text("INSERT INTO noted VALUES (1)"))
        with pytest.raises(Exception, match="cached statement plan is invalid"):
            await session.execute(count)
        await session.rollback()
        assert (await session.execute(count)).scalar_one() == "t"
