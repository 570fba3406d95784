"""Every way to end a transaction ends in one place, and nothing is published too early, twice or
not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from repocache.errors import CommitOutcomeUnknown, ConfigurationError, TransactionRefused
from repocache.tracking import Changes
from repocache.transactions.commit_watch import CommitWatch
from repocache.transactions.transaction import Outcome
from tests.tracking.shop import Post, Shop, posts

Way = Callable[[Shop], Awaitable[None]]


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - what is waited for happens in the server
            await asyncio.sleep(0.005)


async def count(shop: Shop) -> int:
    async with shop.engine.connect() as connection:
        return len((await connection.execute(select(posts.c.id))).all())


async def session_commit(shop: Shop) -> None:
    async with shop.plain_session() as session:
        session.add(Post(id=1))
        await session.commit()


async def session_begin_block(shop: Shop) -> None:
    async with shop.plain_session() as session, session.begin():
        session.add(Post(id=1))


async def sessionmaker_begin_block(shop: Shop) -> None:
    async with shop.sessions.begin() as session:
        session.add(Post(id=1))


async def the_sessions_connection_commits(shop: Shop) -> None:
    async with shop.plain_session() as session:
        session.add(Post(id=1))
        await session.flush()
        await (await session.connection()).commit()


async def a_synchronous_session_inside(shop: Shop) -> None:
    def work(session: Session) -> None:
        session.add(Post(id=1))
        session.commit()

    async with shop.plain_session() as session:
        await session.run_sync(work)


async def connection_commit(shop: Shop) -> None:
    async with shop.engine.connect() as connection:
        await connection.execute(insert(posts), {"id": 1})
        await connection.commit()


async def connection_begin_block(shop: Shop) -> None:
    async with shop.engine.connect() as connection, connection.begin():
        await connection.execute(insert(posts), {"id": 1})


async def engine_begin_block(shop: Shop) -> None:
    async with shop.engine.begin() as connection:
        await connection.execute(insert(posts), {"id": 1})


async def engine_with_options(shop: Shop) -> None:
    async with shop.engine.execution_options(logging_token="x").begin() as connection:
        await connection.execute(insert(posts), {"id": 1})


WAYS: list[Way] = [
    session_commit,
    session_begin_block,
    sessionmaker_begin_block,
    the_sessions_connection_commits,
    a_synchronous_session_inside,
    connection_commit,
    connection_begin_block,
    engine_begin_block,
    engine_with_options,
]


@pytest.mark.parametrize("way", WAYS)
async def test_every_way_to_commit_publishes_once(shop: Shop, way: Way) -> None:
    await way(shop)
    assert shop.keys == {"post:1"}
    assert await count(shop) == 1


@pytest.mark.parametrize("way", WAYS)
async def test_every_way_waits_for_the_publication_that_begins_after_commit(
    postgres: Shop, way: Way
) -> None:
    postgres.notes.open.clear()
    commit = asyncio.ensure_future(way(postgres))
    await postgres.notes.begun.wait()
    assert await count(postgres) == 1
    assert not commit.done()
    postgres.notes.open.set()
    await commit
    assert postgres.keys == {"post:1"}


@pytest.mark.parametrize(
    "mode", ["create_savepoint", "rollback_only", "control_fully", "conditional_savepoint"]
)
async def test_a_session_joined_to_an_outer_transaction(shop: Shop, mode: str) -> None:
    async with shop.engine.connect() as connection:
        outer = await connection.begin()
        async with AsyncSession(connection, join_transaction_mode=mode) as session:
            session.add(Post(id=1))
            await session.commit()
        if mode != "control_fully":
            assert shop.notes.published == []
            await outer.commit()
    assert shop.keys == {"post:1"}
    assert await count(shop) == 1


@pytest.mark.parametrize("mode", ["create_savepoint", "rollback_only", "conditional_savepoint"])
async def test_a_commit_joined_to_an_outer_transaction_that_rolls_back(
    shop: Shop, mode: str
) -> None:
    async with shop.engine.connect() as connection:
        outer = await connection.begin()
        async with AsyncSession(connection, join_transaction_mode=mode) as session:
            session.add(Post(id=1))
            await session.commit()
        await outer.rollback()
    assert shop.notes.published == []


async def test_a_joined_sessions_rollback_takes_back_its_own_changes_alone(shop: Shop) -> None:
    async with shop.engine.begin() as connection:
        await connection.execute(insert(posts), {"id": 1})
        async with AsyncSession(connection, join_transaction_mode="create_savepoint") as session:
            session.add(Post(id=2))
            await session.flush()
            await session.rollback()
    assert shop.keys == {"post:1"}


async def fail(shop: Shop) -> None:
    async with shop.sessions.begin() as session:
        session.add(Post(id=3))
        await session.flush()
        raise ZeroDivisionError


async def test_nothing_is_published_of_what_is_rolled_back(shop: Shop) -> None:
    async with shop.plain_session() as session:
        session.add(Post(id=1))
        await session.flush()
        await session.rollback()
        session.add(Post(id=2))
        await session.flush()
    with pytest.raises(ZeroDivisionError):
        await fail(shop)
    async with shop.engine.connect() as connection:
        await connection.execute(insert(posts), {"id": 4})
    async with shop.sessions.begin() as session:
        await session.execute(select(Post))
    assert shop.notes.published == []
    await session_commit(shop)
    assert shop.keys == {"post:1"}


async def test_a_failed_transaction_cannot_be_committed_silently(postgres: Shop) -> None:
    async with postgres.engine.connect() as connection:
        await connection.execute(insert(posts), {"id": 1})
        with pytest.raises(IntegrityError):
            await connection.execute(insert(posts), {"id": 1})
        with pytest.raises(DBAPIError, match="aborted"):
            await connection.commit()
        await connection.rollback()
        await connection.execute(insert(posts), {"id": 2})
        await connection.commit()
    assert postgres.keys == {"post:2"}


@pytest.mark.parametrize("state", ["23505", "40001", "P0001"])
async def test_an_error_at_commit_that_is_a_rollback_publishes_nothing(
    postgres: Shop, state: str
) -> None:
    async with postgres.plain_session() as session:
        session.add(Post(id=1, title=state))
        with pytest.raises(DBAPIError, match="no"):
            await session.commit()
        await session.rollback()
        session.add(Post(id=2))
        await session.commit()
    assert postgres.keys == {"post:2"}
    assert await count(postgres) == 1


@pytest.mark.parametrize("closed", [True, False])
async def test_a_connection_forgets_what_failed_at_commit(postgres: Shop, closed: bool) -> None:
    async with postgres.engine.connect() as connection:
        await connection.execute(insert(posts), {"id": 1, "title": "23505"})
        with pytest.raises(DBAPIError):
            await connection.commit()
        if not closed:
            await connection.rollback()
            await connection.execute(insert(posts), {"id": 2})
            await connection.commit()
    if closed:
        async with postgres.engine.begin() as connection:
            await connection.execute(insert(posts), {"id": 2})
    assert postgres.keys == {"post:2"}


async def test_a_commit_that_finds_sqlite_busy_has_not_happened(sqlite: Shop) -> None:
    reading = create_async_engine(sqlite.engine.url)
    await sqlite.add(Post(id=8), Post(id=9))
    async with reading.connect() as reader, sqlite.engine.connect() as writer:
        await writer.exec_driver_sql("PRAGMA busy_timeout = 0")
        await writer.execute(insert(posts), {"id": 1})
        # A result that is not read to its end keeps a lock.
        rows = await reader.stream(text("SELECT id FROM post"))
        await rows.fetchone()
        with pytest.raises(DBAPIError, match="locked"):
            await writer.commit()
        await rows.close()
    await reading.dispose()
    assert sqlite.notes.published == []
    assert await count(sqlite) == 2


async def test_an_error_at_commit_that_may_be_anything_is_an_unknown_outcome(
    postgres: Shop,
) -> None:
    async with postgres.plain_session() as session:
        session.add(Post(id=1, title="58030"))
        with pytest.raises(CommitOutcomeUnknown):
            await session.commit()
    (published,) = postgres.notes.published
    assert published.outcome is Outcome.UNKNOWN
    assert published.keys == {"post:1"}


async def test_an_unknown_outcome_is_raised_after_its_publication(postgres: Shop) -> None:
    async def write() -> None:
        async with postgres.plain_session() as session:
            session.add(Post(id=1, title="58030"))
            await session.commit()

    postgres.notes.open.clear()
    task = asyncio.create_task(write())
    await postgres.notes.begun.wait()
    await asyncio.wait([task], timeout=0.05)
    assert not task.done()
    postgres.notes.open.set()
    with pytest.raises(CommitOutcomeUnknown):
        await task
    assert len(postgres.notes.published) == 1


async def test_a_connection_of_unknown_outcome_is_not_used_again(postgres: Shop) -> None:
    async with postgres.engine.connect() as connection:
        before = await connection.scalar(text("SELECT pg_backend_pid()"))
        await connection.execute(insert(posts), {"id": 1, "title": "58030"})
        with pytest.raises(CommitOutcomeUnknown):
            await connection.commit()
        assert connection.invalidated
    async with postgres.engine.connect() as connection:
        assert await connection.scalar(text("SELECT pg_backend_pid()")) != before


async def committing(shop: Shop, id: int) -> asyncio.Task[None]:
    """A task whose COMMIT is under way, and sleeps."""

    async def slow() -> None:
        # Not in a `begin()` block, which SQLAlchemy leaves in a task of its own, out of a
        # cancellation's reach.
        async with shop.sessions() as session:
            session.add(Post(id=id, title="slow"))
            await session.commit()

    task = asyncio.create_task(slow())
    await until(lambda: is_committing(shop))
    return task


async def is_committing(shop: Shop) -> bool:
    async with shop.engine.connect() as connection:
        found = await connection.execute(text(f"SELECT 1 {SLEEPERS}"))
        return found.first() is not None


SLEEPERS = (
    "FROM pg_stat_activity WHERE query LIKE 'COMMIT%' AND wait_event = 'PgSleep' AND "
    "datname = current_database()"
)


async def test_a_connection_lost_during_commit_is_an_unknown_outcome(postgres: Shop) -> None:
    task = await committing(postgres, 1)
    async with postgres.engine.connect() as connection:
        await connection.execute(text(f"SELECT pg_terminate_backend(pid) {SLEEPERS}"))
    with pytest.raises(CommitOutcomeUnknown) as raised:
        await task
    assert raised.value.__cause__ is not None
    (published,) = postgres.notes.published
    assert published.outcome is Outcome.UNKNOWN
    assert published.keys == {"post:1"}
    assert published.xid is not None
    postgres.clear()
    await session_commit(postgres)
    assert postgres.keys == {"post:1"}


async def test_a_commit_that_is_cancelled_is_an_unknown_outcome(postgres: Shop) -> None:
    task = await committing(postgres, 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await postgres.settled()
    (published,) = postgres.notes.published
    assert published.outcome is Outcome.UNKNOWN
    assert published.keys == {"post:1"}
    await until(lambda: nobody_sleeps(postgres))
    postgres.clear()
    await session_commit(postgres)
    assert postgres.keys == {"post:1"}


async def nobody_sleeps(shop: Shop) -> bool:
    return not await is_committing(shop)


# The driver of SQLite may itself hang when a connection is closed under repeated cancellations.
@pytest.mark.parametrize("cancellations", [1, 2, 5])
async def test_cancellations_after_commit_do_not_reach_the_publication(
    postgres: Shop, cancellations: int
) -> None:
    postgres.notes.open.clear()
    task = asyncio.ensure_future(session_commit(postgres))
    await postgres.notes.begun.wait()
    for _ in range(cancellations):
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert postgres.notes.published == []
    postgres.notes.open.set()
    await postgres.settled()
    assert postgres.keys == {"post:1"}
    assert await count(postgres) == 1


@pytest.mark.parametrize("way", WAYS)
async def test_no_way_loses_its_publication_by_cancellations(postgres: Shop, way: Way) -> None:
    postgres.notes.open.clear()
    task = asyncio.ensure_future(way(postgres))
    await postgres.notes.begun.wait()
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    assert postgres.notes.published == []
    postgres.notes.open.set()
    # Some ways wait for the end in a task of SQLAlchemy's and then go on.
    await asyncio.wait([task])
    await postgres.settled()
    assert postgres.keys == {"post:1"}


async def commit_until_published(shop: Shop) -> None:
    async with asyncio.timeout(None) as deadline, asyncio.TaskGroup() as group:
        group.create_task(expire(deadline, shop.notes.begun))
        await session_commit(shop)


async def expire(deadline: asyncio.Timeout, begun: asyncio.Event) -> None:
    await begun.wait()
    deadline.reschedule(asyncio.get_running_loop().time())


async def test_a_timeout_after_commit_does_not_reach_the_publication(postgres: Shop) -> None:
    postgres.notes.open.clear()
    with pytest.raises(TimeoutError):
        await commit_until_published(postgres)
    postgres.notes.open.set()
    await postgres.settled()
    assert postgres.keys == {"post:1"}


async def test_a_cancellation_before_commit_publishes_nothing(postgres: Shop) -> None:
    async def work() -> None:
        async with postgres.sessions.begin() as session:
            session.add(Post(id=1))
            await session.flush()
            await session.execute(text("SELECT pg_sleep(60)"))

    task = asyncio.create_task(work())
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert postgres.notes.published == []
    await session_commit(postgres)
    assert postgres.keys == {"post:1"}


async def is_closed(driver: Any) -> bool:
    closed: bool = driver.is_closed()
    return closed


async def test_a_connection_lost_before_commit_publishes_nothing(postgres: Shop) -> None:
    async with postgres.plain_session() as session:
        session.add(Post(id=1))
        await session.flush()
        pid = await session.scalar(text("SELECT pg_backend_pid()"))
        driver = (await (await session.connection()).get_raw_connection()).driver_connection
        async with postgres.engine.connect() as connection:
            await connection.execute(text(f"SELECT pg_terminate_backend({pid})"))
        await until(lambda: is_closed(driver))
        with pytest.raises(DBAPIError) as raised:
            await session.commit()
        assert raised.value.connection_invalidated
    assert postgres.notes.published == []
    await session_commit(postgres)
    assert postgres.keys == {"post:1"}


async def test_a_publication_that_fails_does_not_fail_the_commit(shop: Shop) -> None:
    shop.notes.fails = RuntimeError("Redis is away")
    await session_commit(shop)
    assert shop.keys == {"post:1"}
    with pytest.raises(RuntimeError, match="away"):
        await shop.tasks.all[-1]


async def test_the_transaction_knows_its_id_and_whether_it_waits_for_the_disk(
    postgres: Shop,
) -> None:
    async with postgres.sessions.begin() as session:
        session.add(Post(id=1))
        xid = await session.scalar(text("SELECT pg_current_xact_id()::text"))
    async with postgres.sessions.begin() as session:
        await session.execute(text("SET LOCAL synchronous_commit = off"))
        session.add(Post(id=2))
    first, second = postgres.notes.published
    assert (first.xid, first.synchronous) == (xid, True)
    assert second.synchronous is False


async def test_a_transaction_with_declared_changes_alone_is_published(shop: Shop) -> None:
    async with shop.engine.begin() as connection:
        assert connection.sync_connection is not None
        shop.watch.transaction_of(connection.sync_connection).changes.declare("post", ["post:7"])
    assert shop.keys == {"post:7"}


async def test_concurrent_transactions_are_apart(postgres: Shop) -> None:
    async def work(id: int) -> None:
        async with postgres.sessions.begin() as session:
            session.add(Post(id=id))
            await session.flush()
            await asyncio.sleep(0)

    await asyncio.gather(*map(work, range(1, 6)))
    assert {published.keys for published in postgres.notes.published} == {
        frozenset({f"post:{id}"}) for id in range(1, 6)
    }


AUTOCOMMIT = {"isolation_level": "AUTOCOMMIT"}


async def test_autocommit_is_refused(shop: Shop) -> None:
    with pytest.raises(TransactionRefused, match="AUTOCOMMIT"):
        shop.engine.execution_options(**AUTOCOMMIT)
    async with shop.engine.connect() as connection:
        with pytest.raises(TransactionRefused):
            await connection.execution_options(**AUTOCOMMIT)
    async with shop.plain_session() as session:
        with pytest.raises(TransactionRefused):
            await session.connection(execution_options=AUTOCOMMIT)
    async with shop.plain_session() as session:
        await session.connection(execution_options={"isolation_level": "SERIALIZABLE"})
        session.add(Post(id=1))
        await session.commit()
    assert shop.keys == {"post:1"}


@pytest.mark.parametrize("options", [AUTOCOMMIT, {"execution_options": AUTOCOMMIT}])
async def test_an_engine_in_autocommit_is_refused(options: dict[str, str], sqlite: Shop) -> None:
    engine = create_async_engine("sqlite+aiosqlite://", **options)
    with pytest.raises(ConfigurationError, match="AUTOCOMMIT"):
        CommitWatch(engine, sqlite.notes, sqlite.tasks.spawn, Changes)
    await engine.dispose()


async def test_an_engine_is_watched_once(sqlite: Shop) -> None:
    with pytest.raises(ConfigurationError, match="watched already"):
        CommitWatch(sqlite.engine, sqlite.notes, sqlite.tasks.spawn, Changes)


async def test_two_phase_commits_are_refused(postgres: Shop) -> None:
    async with postgres.engine.connect() as connection:
        with pytest.raises(TransactionRefused, match="two-phase"):
            await connection.run_sync(lambda each: each.begin_twophase())
    async with AsyncSession(postgres.engine, twophase=True) as session:
        session.add(Post(id=1))
        with pytest.raises(TransactionRefused, match="two-phase"):
            await session.commit()
    assert postgres.notes.published == []
    await session_commit(postgres)
    assert postgres.keys == {"post:1"}


@pytest.mark.parametrize(
    "statement",
    [
        "COMMIT",
        "rollback",
        " /* x */ end",
        "ABORT",
        "commit and chain",
        "START TRANSACTION",
        "PREPARE TRANSACTION 'x'",
    ],
)
async def test_textual_ends_of_transactions_are_refused(shop: Shop, statement: str) -> None:
    async with shop.engine.connect() as connection:
        await connection.execute(insert(posts), {"id": 1})
        for execute in (connection.exec_driver_sql(statement), connection.execute(text(statement))):
            with pytest.raises(TransactionRefused, match="textual"):
                await execute
        await connection.commit()
    assert shop.keys == {"post:1"}
