"""The oracle: whatever a transaction does, the rows that it changed are announced, and all else is
as without us.

The same random transactions run on a watched engine and, in a database of its own, on a plain one.
What the application is told and what is written must be the same in both; what the tables show
before and after each commit is compared with what was announced.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from tests.tracking import core_operations, orm_operations
from tests.tracking.library import TABLES, concerned, owned
from tests.tracking.shop import Shop, opened

EXAMPLES = int(os.environ.get("REPOCACHE_ORACLE", "100"))
"""Histories of 4 to 12 transactions. More of them find more: `REPOCACHE_ORACLE=2000`."""
PHASES = [Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink]
NAMES = [table.name for table in TABLES]
OPERATIONS = {
    name: each
    for page in (core_operations, orm_operations)
    for name, each in vars(page).items()
    if asyncio.iscoroutinefunction(each) and each.__module__ == page.__name__
}
LOOK = "SELECT " + ", ".join(f"(SELECT json_agg(t) FROM {name} AS t)::text" for name in NAMES)
EMPTY = ";".join(
    [
        *(f"DELETE FROM {name}" for name in reversed(NAMES)),
        *(
            f"ALTER SEQUENCE {name}_id_seq RESTART"
            for name in ("author", "book", "note", "person", "review")
        ),
    ]
)

Rows = dict[str, set[str]]
"""By table, each as JSON."""


class Step(NamedTuple):
    """An operation with its numbers, or a savepoint with what is done in it."""

    name: str
    n: int
    m: int
    within: tuple[Any, ...] = ()


SIMPLE = st.builds(
    Step, st.sampled_from(sorted(OPERATIONS)), st.integers(0, 5), st.integers(0, 5), st.just(())
)
SAVEPOINT = st.builds(
    lambda name, within: Step(name, 0, 0, tuple(within)),
    st.sampled_from(["release", "rollback"]),
    st.lists(SIMPLE, min_size=1, max_size=3),
)
TRANSACTION = st.tuples(
    st.lists(SIMPLE | SIMPLE | SIMPLE | SAVEPOINT, min_size=1, max_size=6),
    st.sampled_from([True, True, True, False]),
)
HISTORY = st.lists(TRANSACTION, min_size=4, max_size=12)


async def perform(session: AsyncSession, steps: Any) -> list[Any]:
    """What the application is told, up to the first error."""
    said: list[Any] = []
    for step in steps:
        if step.within:
            savepoint = await session.begin_nested()
            said.append(await perform(session, step.within))
            await (savepoint.commit() if step.name == "release" else savepoint.rollback())
        else:
            said.append((step.name, await OPERATIONS[step.name](session, step.n, step.m)))
    return said


async def transact(session: AsyncSession, steps: Any, commits: bool) -> Any:
    """One transaction, on a session that is new for it. An error of the database's ends it."""
    async with session:
        try:
            said: Any = await perform(session, steps)
        except DBAPIError as error:
            said = type(error).__name__, str(error.orig).splitlines()[0], error.statement
            await session.rollback()
        else:
            await (session.commit() if commits else session.rollback())
    return said


async def look(engine: AsyncEngine) -> Rows:
    async with engine.connect() as connection:
        (row,) = (await connection.execute(text(LOOK))).all()
    return {
        name: {json.dumps(each, sort_keys=True) for each in json.loads(some or "[]")}
        for name, some in zip(NAMES, row, strict=True)
    }


def changed(before: Rows, after: Rows) -> set[str]:
    return {
        key
        for name in NAMES
        for row in before[name] ^ after[name]
        for key in concerned(name, json.loads(row))
    }


def missed(before: Rows, after: Rows, announced: set[str]) -> set[str]:
    """Keys of changed rows that nobody was told of."""
    return {
        key
        for key in changed(before, after)
        if key not in announced and f"{key.partition(':')[0]}:*" not in announced
    }


class Library:
    """The watched engine and the plain one, in the same state."""

    def __init__(self, shop: Shop, plain: AsyncEngine) -> None:
        self.shop = shop
        self.plain = plain
        self.transactions = 0

    async def play(self, history: Any) -> None:
        for engine in (self.shop.engine, self.plain):
            async with engine.connect() as connection:
                raw = await connection.get_raw_connection()
                driver: Any = raw.driver_connection
                await driver.execute(EMPTY)
        before: Rows = {name: set() for name in NAMES}
        for steps, commits in history:
            self.shop.clear()
            watched = await transact(self.shop.sessions(), steps, commits)
            plain = await transact(AsyncSession(self.plain, expire_on_commit=False), steps, commits)
            assert watched == plain
            after = await look(self.shop.engine)
            assert after == await look(self.plain)
            announced = {key for each in self.shop.notes.published for key in each.keys}
            assert missed(before, after, announced) == set()
            before = after
            self.transactions += 1


@asynccontextmanager
async def libraries(watched: str, plain: str) -> AsyncIterator[Library]:
    async with AsyncExitStack() as stack:
        shop = await stack.enter_async_context(opened(create_async_engine(watched), owned()))
        engine = create_async_engine(plain)
        stack.push_async_callback(engine.dispose)
        yield Library(shop, engine)


@pytest.mark.timeout(600)  # a shrunk example is worth the wait
def test_every_changed_row_is_announced_and_nothing_else_is_different(
    library_urls: list[str],
) -> None:
    with asyncio.Runner() as runner:
        opening = libraries(*library_urls)
        library = runner.run(opening.__aenter__())

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
            phases=PHASES,
        )
        @given(HISTORY)
        def play(history: Any) -> None:
            runner.run(library.play(history))

        try:
            play()
        finally:
            runner.run(opening.__aexit__(None, None, None))
    assert library.transactions >= 4 * EXAMPLES
