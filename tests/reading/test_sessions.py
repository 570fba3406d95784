"""`db.reading()`: a plain session on a node that may answer."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest
from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import selectinload

from repocache import (
    CachedEntityRefused,
    ChangesLost,
    ConfigurationError,
    DatabaseUnavailable,
    Settings,
    TopologySettings,
    UsageError,
)
from repocache.testing import Endpoints, Servers
from tests.reading.library import Author, Authors, Book, make_library, open_library
from tests.shop import QUICK, Shop, until


async def where(session: AsyncSession) -> bool:
    """Whether it is on a replica."""
    return bool((await session.execute(select(func.pg_is_in_recovery()))).scalar_one())


async def test_it_reads_what_sqlalchemy_can_read_on_a_replica(shop: Shop) -> None:
    async with shop.db.reading() as session:
        assert await where(session)
        query = select(Author).options(selectinload(Author.books)).order_by(Author.id)
        authors = (await session.scalars(query)).all()
        assert [len(each.books) for each in authors] == [1, 2, 3, 4]
        assert await session.get(Author, 1) is authors[0], "one identity map"
        titles = select(Author.name, Book.title).join(Author.books).where(Author.id == 2)
        assert [tuple(row) for row in await session.execute(titles)] == [("a2", "t0"), ("a2", "t1")]
        stream = await session.stream_scalars(select(Book.id).execution_options(yield_per=2))
        assert len([each async for each in stream]) == 10
    assert [book.title for book in authors[1].books] == ["t0", "t1"], "detached, and loaded"


async def test_a_session_reads_its_own_writes(shop: Shop, repocache_servers: Servers) -> None:
    for replica in repocache_servers.replicas:
        replica.pause_replay()
    try:
        async with shop.db.causal_session(None):
            async with shop.db.unit_of_work() as work:
                (await work[Authors].require(1)).name = "new"
                await work.commit()
            async with shop.db.reading() as session:
                assert not await where(session), "no replica has replayed it"
                assert (await session.get_one(Author, 1)).name == "new"
        async with shop.db.reading() as session:
            assert await where(session)
            assert (await session.get_one(Author, 1)).name == "a1", "nobody asks for more"
    finally:
        for replica in repocache_servers.replicas:
            replica.resume_replay()


async def test_all_its_statements_see_one_moment(shop: Shop) -> None:
    async with shop.db.reading() as session:
        before = await session.scalar(select(func.count()).select_from(Book))
        async with shop.db.unit_of_work() as work:
            work.add(Book(id=99, author_id=1, title="new", code="c99"))
            await work.commit()
        assert await session.scalar(select(func.count()).select_from(Book)) == before


async def test_a_lag_that_no_node_has_is_refused_or_the_primary_s(shop: Shop) -> None:
    async with shop.db.reading(max_lag=60) as session:
        assert await where(session)


async def _add(session: AsyncSession) -> None:
    session.add(Author(id=9, name="new"))
    await session.flush()


async def _change(session: AsyncSession) -> None:
    (await session.get_one(Author, 1)).name = "new"
    await session.scalars(select(Author))  # flushes


WRITES: dict[str, Any] = {
    "add": _add,
    "change": _change,
    "INSERT": lambda s: s.execute(insert(Author).values(id=9, name="new")),
    "UPDATE": lambda s: s.execute(update(Author).values(name="new")),
    "DELETE": lambda s: s.execute(delete(Book)),
    "text": lambda s: s.execute(text("DELETE FROM books")),
    "FOR UPDATE": lambda s: s.execute(select(Author).with_for_update()),
    "a sequence": lambda s: s.execute(text("SELECT nextval('authors_id_seq')")),
}


@pytest.mark.parametrize("name", WRITES)
@pytest.mark.parametrize("node", ["replica", "primary"])
async def test_a_write_is_refused_with_the_remedy(
    name: str, node: str, shop: Shop, repocache_endpoints: Endpoints
) -> None:
    ends = Endpoints(repocache_endpoints.primary, (), repocache_endpoints.redis)
    async with open_library(ends) as alone:
        db = shop.db if node == "replica" else alone.db
        with pytest.raises(UsageError, match=r"only reads: write in `async with db\.unit_of_work"):
            async with db.reading() as session:
                await WRITES[name](session)
    async with shop.db.unit_of_work() as work:
        assert await work.session.scalar(select(func.count()).select_from(Book)) == 10
        assert (await work[Authors].require(1)).name == "a1"
        assert await work[Authors].get(9) is None


async def test_a_change_that_nobody_would_write_is_told(shop: Shop) -> None:
    with pytest.raises(ChangesLost, match="changed Author"):
        async with shop.db.reading() as session:
            (await session.get_one(Author, 1)).name = "new"


async def test_its_entities_are_no_base_of_a_write(shop: Shop) -> None:
    async with shop.db.reading() as session:
        author = await session.get_one(Author, 1, options=[selectinload(Author.books)])
    origin = "this Author 1 was read outside of the transaction, as 'Author', its row may be newer"
    with pytest.raises(CachedEntityRefused, match=origin):
        async with shop.db.unit_of_work() as work:
            work.add(author)
    with pytest.raises(CachedEntityRefused):
        async with shop.db.unit_of_work() as work:
            await work.session.merge(author.books[0])
    with pytest.raises(CachedEntityRefused, match="a change of 'name' would never be written"):
        author.name = "new"
    assert author.name == "a1"


async def test_where_no_node_may_answer(shop: Shop, repocache_servers: Servers) -> None:
    with pytest.raises(ConfigurationError, match="max_lag=0: give seconds, more than 0"):
        shop.db.reading(max_lag=0)
    nodes = [repocache_servers.primary, *repocache_servers.replicas]
    for node in nodes:
        node.freeze()
    try:
        with pytest.raises(DatabaseUnavailable):
            async with shop.db.reading() as session:
                await session.get(Author, 1)
    finally:
        for node in nodes:
            node.thaw()


async def test_a_full_pool_is_told_and_given_back(repocache_endpoints: Endpoints) -> None:
    ends = Endpoints(repocache_endpoints.primary, (), repocache_endpoints.redis)
    small = TopologySettings(sample_every=0.05, max_lag=5.0, pool_size=2, pool_wait=0.2)
    async with open_library(ends, Settings(topology=small)) as shop, AsyncExitStack() as stack:

        async def fill() -> None:
            for _ in range(20):
                session = await stack.enter_async_context(shop.db.reading())
                await session.get(Author, 1)

        with pytest.raises(DatabaseUnavailable):
            await fill()
        await stack.aclose()

        async def hang() -> None:
            async with shop.db.reading() as session:
                await session.get(Author, 1)
                await asyncio.Event().wait()

        for _ in range(20):  # cancelled ones keep no connection
            task = asyncio.create_task(hang())
            await asyncio.sleep(0)
            await until(lambda: shop.db.nodes[0].in_flight > 0, "it reads")
            task.cancel()
            await asyncio.wait({task})
        async with shop.db.reading() as session:
            assert await session.get(Author, 1) is not None


async def test_in_a_monotonic_session_it_shows_nothing_older(
    repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    settings = Settings(topology=QUICK, monotonic=True)
    async with open_library(repocache_endpoints, settings) as shop, shop.db.causal_session(None):
        async with shop.db.unit_of_work() as work:
            await work[Authors].require(1)
            await work.rollback()
        async with shop.db.reading() as session:
            assert (await session.get_one(Author, 1)).name == "a1"


async def test_without_postgresql(tmp_path: Any) -> None:
    ends = Endpoints(f"sqlite+aiosqlite:///{tmp_path}/db", (), "")
    await make_library(ends.primary)
    async with open_library(ends) as shop:
        async with shop.db.reading() as session:
            query = select(Author).options(selectinload(Author.books))
            assert len((await session.scalars(query)).all()) == 4
        with pytest.raises(UsageError):
            async with shop.db.reading() as session:
                await _add(session)
