"""Plain sessions of SQLAlchemy on the database, snapshots and causal sessions."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import Executable, delete, insert, select, text, update
from sqlalchemy.exc import DBAPIError

from repocache import InvalidId, Settings
from repocache.db.choice import Need
from repocache.events import BookmarkRefused, Published, UndeclaredWrite
from repocache.testing import Servers
from tests.shop import QUICK, Base, Countries, Order, OrderId, Orders, Shop, User, Users, open_shop


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
        (update(users).where(users.c.id == 5).values(name="given").returning(users.c.name), {5: "given"}),
        (delete(User).where(User.id == 6), {6: None, 7: "n07"}),
        (insert(User).values(id=100, name="in", age=1), {100: "in"}),
        (insert(users).values([{"id": n, "name": "in", "age": 1} for n in (101, 102)]), {101: "in"}),
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
        assert scope.bookmark.wrote is None
        assert {user.name for user in (await shop.users.get_many(list(range(1, 61)))).values()} == {"all"}
    (published,) = shop.seen.of(Published)
    assert (published.keys, published.buckets) == (0, 1024)


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


async def test_a_snapshot_sees_one_moment_and_cannot_write(shop: Shop) -> None:
    count = select(User.name).where(User.id == 7)
    for need in (Need(), Need(primary="asked", asked=True)):
        async with shop.db.snapshot(need) as connection:
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
        users = await asyncio.gather(*(asyncio.create_task(shop.users.require(7)) for _ in range(3)))
        assert {user.name for user in users} == {"Ada"}


@pytest.mark.parametrize("text", ["", "x", "AAAA", "é", "a" * 5000, "\0", "lg", "9" * 100, "{}", None])
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
        async with open_shop(repocache_endpoints, settings) as shop, shop.db.causal_session() as session:
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
