"""Plain sessions of SQLAlchemy on the database, snapshots and causal sessions."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import Executable, delete, insert, select, text, update
from sqlalchemy.exc import DBAPIError

from repocache import InvalidId, Settings
from repocache.bookmark import Bookmark
from repocache.events import BookmarkRefused, Published, Served, UndeclaredWrite
from repocache.keys import owner_bucket
from repocache.routing.around import current_session
from repocache.testing import Servers
from tests.shop import (
    QUICK,
    Base,
    Countries,
    Order,
    OrderId,
    Orders,
    Shop,
    User,
    Users,
    in_rotation,
    open_shop,
    until,
)

ASKS_FOR_THE_PRIMARY = Bookmark("", None, {}, covered=True, expires=4e9)


async def test_what_a_plain_session_commits_is_invalidated(shop: Shop) -> None:
    await shop.users.get_many([7, 8, 9])
    make = shop.db.sessionmaker
    async with shop.db.causal_session():
        async with make() as session:
            user = await session.get(User, 7)
            assert user is not None
            user.name = "by commit"
            await session.commit()
            assert user.name == "by commit"
        async with make.begin() as session:
            user = await session.get(User, 8)
            assert user is not None
            user.name = "by block"
        async with make() as session, session.begin(), session.begin_nested():
            await session.execute(update(User).where(User.id == 9).values(name="by statement"))
        names = [user.name for user in (await shop.users.get_many([7, 8, 9])).values()]
    assert names == ["by commit", "by block", "by statement"]
    assert [event.keys for event in shop.seen.of(Published)] == [1, 1, 1]


async def test_bulk_statements_of_any_form_are_invalidated(shop: Shop) -> None:
    ids = list(range(1, 61))
    users = Base.metadata.tables["users"]
    statements: list[tuple[Executable, dict[int, str | None]]] = [
        (update(User).where(User.id <= 3).values(name="orm"), {1: "orm", 3: "orm", 4: "n04"}),
        (update(users).where(users.c.id == 4).values(name="core"), {3: "orm", 4: "core"}),
        (
            update(users).where(users.c.id == 5).values(name="given").returning(users.c.name),
            {5: "given"},
        ),
        (delete(User).where(User.id == 6), {6: None, 7: "n07"}),
        (insert(User).values(id=100, name="in", age=1), {100: "in"}),
        (
            insert(users).values([{"id": n, "name": "in", "age": 1} for n in (101, 102)]),
            {101: "in"},
        ),
    ]
    for statement, expected in statements:
        await shop.users.get_many([*ids, 100, 101, 102])
        async with shop.db.causal_session():
            async with shop.db.sessionmaker() as session:
                await session.execute(statement)
                await session.commit()
            for id, name in expected.items():
                user = await shop.users.get(id)
                assert (user and user.name) == name


async def test_many_rows_at_once(shop: Shop) -> None:
    await shop.users.get_many(list(range(1, 61)))
    async with shop.db.causal_session() as scope:
        async with shop.db.sessionmaker() as session:
            await session.execute(update(User).values(name="all"))
            await session.commit()
        assert list(scope.bookmark.buckets) == [owner_bucket("user")]
        assert {user.name for user in (await shop.users.get_many(list(range(1, 61)))).values()} == {
            "all"
        }
    (published,) = shop.seen.of(Published)
    assert (published.keys, published.buckets) == (0, 1)


async def test_a_rollback_tells_nobody(shop: Shop) -> None:
    async with shop.db.sessionmaker() as session:
        await session.execute(update(User).values(name="all"))
        await session.rollback()
    assert not shop.seen.of(Published)


async def test_textual_sql_in_a_plain_session_says_what_it_touches(shop: Shop) -> None:
    await shop.users.get_many([7, 8])
    async with shop.db.causal_session():
        async with shop.db.sessionmaker() as session:
            await session.execute(text("UPDATE users SET name = 'x' WHERE id = 7"))
            await shop.db.changes(session, Users, ids=[7])
            with pytest.raises(InvalidId):
                await shop.db.changes(session, Countries, ids="de")
            await session.commit()
        assert (await shop.users.require(7)).name == "x"
    assert [event.keys for event in shop.seen.of(Published)] == [1]
    async with shop.db.causal_session():
        async with shop.db.sessionmaker() as session:
            await session.execute(text("UPDATE orders SET total = 5"))
            await shop.db.changes(session, Orders)
            await session.commit()
        assert (await shop.db[Orders].require(OrderId(1, 1))).total == 5
    assert not shop.seen.of(UndeclaredWrite)


WHOLE = ["UPDATE users SET age = age + 1", "TRUNCATE users"]


@pytest.mark.parametrize("statement", WHOLE)
async def test_a_session_that_changed_a_whole_owner_goes_on_using_the_caches(
    shop: Shop, statement: str
) -> None:
    """Others' at once, and this one's as soon as its rows are loaded again."""
    await asyncio.gather(shop.db[Countries].require("de"), shop.users.require(7))
    await in_l1(shop)
    async with shop.db.causal_session() as session:
        async with shop.db.unit_of_work() as work:
            await work.session.execute(text(statement))
            if statement != "TRUNCATE users":
                work.changes(Users)
            await work.commit()
        assert session.bookmark.takes_cached
        shop.seen.clear()
        await shop.db[Countries].require("de")
        assert [event.tier for event in shop.seen.of(Served)] == []
        first = await shop.users.get(7)
        assert [event.tier for event in shop.seen.of(Served)] == ["database"]
        await in_l1(shop)
        again = await shop.users.get(7)
        assert [event.tier for event in shop.seen.of(Served)] == ["database"]
        assert (first is None) == (again is None) == (statement == "TRUNCATE users")


async def in_l1(shop: Shop) -> None:
    """Whatever was read has come down."""
    await until(lambda: not len(shop.db._started.cache.shared.inflight), "the loads have ended")


async def test_a_snapshot_sees_one_moment_and_cannot_write(shop: Shop) -> None:
    count = select(User.name).where(User.id == 7)
    for mark in (None, ASKS_FOR_THE_PRIMARY):
        async with shop.db.causal_session(mark), shop.db.snapshot() as connection:
            before = (await connection.execute(count)).scalar_one()
            await shop.rename(7, before + "'")
            assert (await connection.execute(count)).scalar_one() == before
            with pytest.raises(DBAPIError, match="read-only"):
                await connection.execute(update(User).values(name="x"))
    assert (await shop.users.on_primary().require(7)).name == "n07''"


async def test_a_session_reads_its_own_writes_from_lagging_replicas(
    repocache_controls: Servers, repocache_endpoints: Any
) -> None:
    async with open_shop(repocache_endpoints) as shop, open_shop(repocache_endpoints) as other:
        await other.users.get(7)
        for replica in repocache_controls.replicas:
            await asyncio.to_thread(replica.pause_replay)
        async with shop.db.causal_session() as session:
            await shop.rename(7, "Ada")
            assert (await shop.users.require(7)).name == "Ada"
            assert [user.name for user in await shop.users.find(User.id == 7)] == ["Ada"]
            assert await shop.users.exists(User.name == "Ada")
            text = session.encode()
        # Without the bookmark a replica may answer; with it, in another process, it may not.
        assert [user.name for user in await other.users.find(User.id == 7)] == ["n07"]
        async with other.db.causal_session(text):
            assert [user.name for user in await other.users.find(User.id == 7)] == ["Ada"]
            assert (await other.users.require(7)).name == "Ada"


async def test_tasks_share_the_session_that_they_were_begun_in(shop: Shop) -> None:
    async with shop.db.causal_session() as session:
        await asyncio.create_task(shop.rename(7, "Ada"))
        assert session.bookmark.position
        users = await asyncio.gather(
            *(asyncio.create_task(shop.users.require(7)) for _ in range(3))
        )
        assert {user.name for user in users} == {"Ada"}


@pytest.mark.parametrize(
    "text", ["", "x", "AAAA", "é", "a" * 5000, "\0", "lg", "9" * 100, "{}", None]
)
async def test_a_session_begins_with_anything(still: Shop, text: str | None) -> None:
    async with still.db.causal_session(text) as session:
        assert await still.users.get(7) is not None
        assert session.bookmark.position == 0
    assert len(still.seen.of(BookmarkRefused)) == (1 if text else 0)


async def test_signed_bookmarks(repocache_endpoints: Any) -> None:
    signed = Settings(topology=QUICK, secrets=("new" * 8, "old" * 8))
    older = Settings(topology=QUICK, secrets=("old" * 8,))
    foreign = Settings(topology=QUICK, secrets=("foreign" * 8,))
    texts = []
    for settings in (signed, older, foreign):
        async with (
            open_shop(repocache_endpoints, settings) as shop,
            shop.db.causal_session() as session,
        ):
            await shop.rename(7, settings.secrets[0])
            texts.append(session.encode())
    async with open_shop(repocache_endpoints, signed) as shop:
        for text, taken in zip(texts, (True, True, False), strict=True):
            async with shop.db.causal_session(text) as session:
                assert bool(session.bookmark.position) is taken
    assert [event.why for event in shop.seen.of(BookmarkRefused)] == ["signature"]


async def test_monotonic_reads_go_past_the_cache_and_never_back(
    repocache_controls: Servers, repocache_endpoints: Any
) -> None:
    async with open_shop(repocache_endpoints, Settings(topology=QUICK, monotonic=True)) as shop:
        await shop.users.get(7)
        for replica in repocache_controls.replicas:
            await asyncio.to_thread(replica.pause_replay)
        await shop.rename(7, "Ada")
        async with shop.db.causal_session():
            assert (await shop.users.on_primary().require(7)).name == "Ada"
            assert (await shop.users.require(7)).name == "Ada"
            assert [user.name for user in await shop.users.find(User.id == 7)] == ["Ada"]


async def test_a_snapshot_holds_the_bookmark_of_its_session(
    repocache_controls: Servers, repocache_endpoints: Any
) -> None:
    name = select(User.name).where(User.id == 7)
    async with open_shop(repocache_endpoints) as shop:
        await in_rotation(shop)
        for replica in repocache_controls.replicas:
            await asyncio.to_thread(replica.pause_replay)
        async with shop.db.causal_session():
            await shop.rename(7, "Ada")
            async with shop.db.snapshot() as connection:
                assert (await connection.execute(name)).scalar_one() == "Ada"
        async with shop.db.snapshot() as connection:
            assert (await connection.execute(name)).scalar_one() == "n07", "nobody asked for more"


async def test_an_outer_session_knows_what_the_inner_one_wrote(
    repocache_controls: Servers, repocache_endpoints: Any
) -> None:
    async with open_shop(repocache_endpoints) as shop:
        for replica in repocache_controls.replicas:
            await asyncio.to_thread(replica.pause_replay)
        async with shop.db.causal_session() as outer:
            async with shop.db.causal_session():
                await shop.rename(7, "Ada")
            assert outer.bookmark.position
            assert [user.name for user in await shop.users.find(User.id == 7)] == ["Ada"]


@pytest.mark.parametrize("how", ["unit of work", "session", "snapshot", "rolled back"])
async def test_what_a_transaction_showed_has_been_seen(
    repocache_controls: Servers, repocache_endpoints: Any, how: str
) -> None:
    """1. Somebody commits; 2. a monotonic session reads that in a transaction, which writes
    nothing;
    3. its next read, on a replica that lags, would be older."""
    name = select(User.name).where(User.id == 7)
    settings = Settings(topology=QUICK, monotonic=True)
    async with (
        open_shop(repocache_endpoints, settings) as shop,
        open_shop(repocache_endpoints) as other,
    ):
        await in_rotation(shop)
        for replica in repocache_controls.replicas:
            await asyncio.to_thread(replica.pause_replay)
        await other.rename(7, "Ada")
        async with shop.db.causal_session(
            ASKS_FOR_THE_PRIMARY if how == "snapshot" else None
        ) as session:
            if how == "snapshot":
                async with shop.db.snapshot() as connection:
                    assert (await connection.execute(name)).scalar_one() == "Ada"
            elif how == "session":
                async with shop.db.sessionmaker() as plain:
                    assert (await plain.execute(name)).scalar_one() == "Ada"
            else:
                async with shop.db.unit_of_work() as work:
                    assert (await work.session.execute(name)).scalar_one() == "Ada"
                    assert session.bookmark.position is None, (
                        "it goes on, and shows whatever it will"
                    )
                    await (work.rollback() if how == "rolled back" else work.commit())
            assert session.bookmark.position
            assert [user.name for user in await shop.users.find(User.id == 7)] == ["Ada"]


@pytest.mark.parametrize("monotonic", [True, False])
async def test_a_transaction_that_is_lost_raises_what_it_was_lost_by(
    repocache_endpoints: Any, monotonic: bool
) -> None:
    """A cancelled statement costs its connection; then the session looks at what the transaction
    showed, of which nobody can be asked."""
    settings = Settings(topology=QUICK, monotonic=monotonic)
    async with (
        open_shop(repocache_endpoints, settings) as shop,
        shop.db.causal_session() as session,
    ):
        with pytest.raises(ZeroDivisionError):
            await _loses_its_connection(shop)
        assert (session.bookmark.position is None) == monotonic
        working = asyncio.create_task(_sleeps(shop))
        await until(lambda: _asleep(shop), "it waits for the database")
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
        assert await shop.users.find(User.id == 7)


async def test_a_transaction_that_is_cancelled_while_the_primary_is_asked_leaves_nothing_running(
    repocache_endpoints: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1. A transaction of a monotonic session ends, and the primary is asked how far its WAL goes;
    2. its task is cancelled before the answer."""
    settings = Settings(topology=QUICK, monotonic=True)
    asked = asyncio.Event()

    async def never() -> None:
        asked.set()
        await asyncio.Event().wait()

    async def reads() -> None:
        async with shop.db.sessionmaker() as plain:
            await plain.execute(select(User.name).where(User.id == 7))
            await plain.rollback()

    async with (
        open_shop(repocache_endpoints, settings) as shop,
        shop.db.causal_session() as session,
    ):
        with monkeypatch.context() as patch:
            patch.setattr(shop.db._topology, "position", never)
            working = asyncio.create_task(reads())
            await asked.wait()
            working.cancel()
            with pytest.raises(asyncio.CancelledError):
                await working
            await asyncio.sleep(0)
            left = [
                task
                for task in asyncio.all_tasks()
                if "position" in repr(task) or "never" in repr(task)
            ]
        assert left == []
        assert session.bookmark.position is None, "what it showed is not known"
        assert [user.id for user in await shop.users.find(User.id == 7)] == [7]
        assert session.bookmark.position, "and the primary has told since"


async def test_what_a_lost_snapshot_showed_is_known(repocache_endpoints: Any) -> None:
    """1. A snapshot on a replica has shown something; 2. its connection is lost, as when that
    server begins another life, further back, which would tell of that. It has told before 1."""
    settings = Settings(topology=QUICK, monotonic=True)
    async with (
        open_shop(repocache_endpoints, settings) as shop,
        shop.db.causal_session() as session,
    ):
        await in_rotation(shop)
        with pytest.raises(ZeroDivisionError):
            await _loses_its_snapshot(shop)
        assert session.bookmark.position


async def _loses_its_snapshot(shop: Shop) -> None:
    async with shop.db.snapshot() as connection:
        session = current_session()
        assert session is not None
        assert session.bookmark.position
        assert (await connection.execute(text("SELECT pg_is_in_recovery()"))).scalar_one()
        await connection.invalidate()
        raise ZeroDivisionError


async def _loses_its_connection(shop: Shop) -> None:
    async with shop.db.unit_of_work() as work:
        await work.session.execute(select(User.name).where(User.id == 7))
        await (await work.session.connection()).invalidate()
        raise ZeroDivisionError


async def _sleeps(shop: Shop) -> None:
    async with shop.db.unit_of_work() as work:
        await work.session.execute(text("SELECT pg_sleep(60)"))


async def _asleep(shop: Shop) -> bool:
    there = text("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'")
    async with shop.db._topology.write_engine.connect() as connection:
        return bool((await connection.execute(there)).scalar_one())


async def test_composite_ids_in_a_plain_session(shop: Shop) -> None:
    orders = shop.db[Orders]
    await orders.get_many([OrderId(1, 1), OrderId(1, 2)])
    async with shop.db.causal_session():
        async with shop.db.sessionmaker() as session:
            order = await session.get(Order, (1, 1))
            assert order is not None
            await session.delete(order)
            await session.commit()
        assert await orders.get(OrderId(1, 1)) is None
        assert await orders.get(OrderId(1, 2)) is not None
