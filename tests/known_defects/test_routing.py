"""Which node answers whom: writes never a replica, a session never its own past, and a wish holds
until it is taken back."""

from __future__ import annotations

import asyncio
import re
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from packaging.requirements import Requirement
from sqlalchemy import func, insert, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from repocache.bookmark import Bookmark
from repocache.errors import UsageError
from repocache.events import Routed
from repocache.testing import Endpoints, Servers
from tests.known_defects.shops import PATIENT, in_l1
from tests.shop import Order, OrderId, Orders, Shop, User, Users, open_shop

ROOT = Path(__file__).parents[2]
ASKS_FOR_THE_PRIMARY = Bookmark("", None, {}, covered=True, expires=4e9)


@pytest.fixture
async def lagging(shop: Shop, repocache_controls: Servers) -> Servers:
    """Replicas that stay in the rotation and see nothing new."""
    await in_l1(shop, 7)
    for replica in repocache_controls.replicas:
        await asyncio.to_thread(replica.pause_replay)
    return repocache_controls


async def found(shop: Shop, id: int = 7) -> str:
    """The name, from a node and no cache."""
    [user] = await shop.users.find(User.id == id)
    return user.name


async def test_text_that_writes_goes_to_the_primary(
    shop: Shop, repocache_servers: Servers, database: str
) -> None:
    """Defect 15: `text("UPDATE ...")` went to a replica, as all that was no construct for an update
    did."""
    async with shop.db.sessionmaker() as session:
        await session.execute(text("UPDATE users SET name = 'text' WHERE id = 7"))
        await shop.db.changes(session, Users, ids=[7])
        changed = insert(User).values(id=100, name="CTE", age=1).returning(User.id).cte()
        await session.execute(select(changed))
        assert not (await session.execute(text("SELECT pg_is_in_recovery()"))).scalar_one()
        await session.commit()
    there = "SELECT name FROM users WHERE id IN (7, 100) ORDER BY id"
    assert await asyncio.to_thread(repocache_servers.primary.sql, there, database) == [
        ("text",),
        ("CTE",),
    ]


async def test_reads_that_would_write_are_refused_and_no_replica_is_asked(
    shop: Shop, repocache_servers: Servers, database: str
) -> None:
    """Defect 15: functions that write and writing CTEs inside `select()` went to a replica, and
    nothing there was read-only."""
    sql = repocache_servers.primary.sql
    await asyncio.to_thread(
        sql, "CREATE SEQUENCE calls; GRANT ALL ON SEQUENCE calls TO app", database
    )
    await asyncio.to_thread(repocache_servers.catch_up)
    added = insert(User).values(id=100, name="never", age=1).returning(User.id).cte()
    conditions: list[Any] = [
        func.nextval("calls") > 0,
        text("nextval('calls') > 0"),
        User.id.in_(select(added.c.id)),
    ]
    for condition in conditions:
        told = len(shop.seen.of(Routed))
        with pytest.raises(UsageError, match=r"read-only.*unit_of_work"):
            await shop.users.find(condition)
        assert {event.node for event in shop.seen.of(Routed)[told:]} == {"primary"}
    for mark in (None, ASKS_FOR_THE_PRIMARY):
        async with shop.db.causal_session(mark), shop.db.snapshot() as connection:
            with pytest.raises(DBAPIError, match="read-only"):
                await connection.execute(text("UPDATE users SET name = 'never'"))
    untouched = (
        "SELECT is_called::text FROM calls UNION ALL SELECT name FROM users WHERE name = 'never'"
    )
    assert await asyncio.to_thread(sql, untouched, database) == [("false",)]


async def test_a_transaction_is_on_one_node(shop: Shop) -> None:
    """Defect 16: six statements of one session went to two replicas by turns: several snapshots in
    one transaction, and a connection to each."""
    where = text("SELECT inet_server_port(), pg_backend_pid(), pg_is_in_recovery()")
    for mark, replica in ((None, True), (ASKS_FOR_THE_PRIMARY, False)):
        async with shop.db.causal_session(mark), shop.db.snapshot() as connection:
            snapshot = {tuple((await connection.execute(where)).one()) for _ in range(6)}
        assert [on_replica for *_, on_replica in snapshot] == [replica]
    async with shop.db.unit_of_work() as work:
        connections = set()
        for id in range(1, 4):
            await work[Users].get(id)
            await work[Orders].find(Order.number == id)
            connections.add(tuple((await work.session.execute(where)).one()))
    assert [on_replica for *_, on_replica in connections] == [False]


async def test_reads_of_a_session_never_go_back(
    repocache_endpoints: Endpoints, repocache_controls: Servers
) -> None:
    """Defect 16: with each statement on another replica, what had been seen was gone again at the
    next read."""
    old, level = repocache_controls.replicas
    async with open_shop(repocache_endpoints, replace(PATIENT, monotonic=True)) as shop:
        await found(shop)
        await asyncio.to_thread(old.pause_replay)
        await shop.rename(7, "Ada")
        position = await asyncio.to_thread(repocache_controls.primary.position)
        await asyncio.to_thread(level.await_position, position)
        assert {await found(shop) for _ in range(40)} == {"n07", "Ada"}, (
            "without a session: by turns"
        )
        for _ in range(3):
            async with shop.db.causal_session():
                seen = [await found(shop) for _ in range(20)]
            assert "n07" not in seen[seen.index("Ada") if "Ada" in seen else 20 :], seen


async def test_who_has_committed_reads_his_own_writes(
    shop: Shop, other: Shop, lagging: Servers
) -> None:
    """Defect 17: stickiness ended at the commit, exactly when the lag begins, and at the next
    request at the latest."""
    async with shop.db.causal_session() as request:
        await shop.rename(7, "Ada")
        assert (await found(shop), (await shop.users.require(7)).name) == ("Ada", "Ada")
        text = request.encode()
    for process in (shop, other):
        async with process.db.causal_session(text) as request:
            assert (await found(process), (await process.users.require(7)).name) == ("Ada", "Ada")
            text = request.encode()
        assert await found(process) == "n07", "replicas do lag"


async def test_a_session_is_what_its_block_encloses(shop: Shop, lagging: Servers) -> None:
    """Defect 18: a write in a child task did not bind the parent, and two sessions in one task
    shared one flag."""
    for name in ("Ada", "Bob"):
        async with shop.db.causal_session() as request:
            if name == "Ada":
                await asyncio.create_task(shop.rename(7, name))
            else:
                await asyncio.gather(shop.rename(7, name), shop.rename(8, name))
            assert request.bookmark.position
            assert await found(shop) == name
            assert await asyncio.create_task(found(shop)) == name
            async with shop.db.causal_session() as inner:
                assert inner.bookmark.position == 0
                assert await found(shop) == "n07"
            assert await found(shop) == name


async def test_sessions_side_by_side_do_not_share(shop: Shop, lagging: Servers) -> None:
    """Defect 18: what one session did was the other's affair too."""
    wrote, read = asyncio.Event(), asyncio.Event()

    async def writer() -> str:
        async with shop.db.causal_session():
            await shop.rename(7, "Ada")
            wrote.set()
            await read.wait()
            return await found(shop)

    async def reader() -> str:
        async with shop.db.causal_session():
            await wrote.wait()
            name = await found(shop)
            read.set()
            return name

    assert list(await asyncio.gather(writer(), reader())) == ["Ada", "n07"]


async def test_a_commit_takes_back_no_wish(shop: Shop, lagging: Servers) -> None:
    """Defect 19: a commit cleared what the caller had asked for: the next read inside
    `primary_context()` went to a replica."""
    primary, replica = shop.users.on_primary(), shop.users.on_replica(max_lag=60)
    for name in ("Ada", "Bob"):
        await shop.rename(7, name)
        async with shop.db.unit_of_work() as work:
            [user] = await primary.find(User.id == 7)
            assert user.name == (await primary.require(7)).name == name
            await work.commit()
            [user] = await primary.find(User.id == 7)
            assert user.name == (await primary.require(7)).name == name
        assert (await replica.require(7)).name == "n07"
    async with shop.db.causal_session():
        await shop.rename(7, "Cy")
        async with shop.db.unit_of_work() as work:
            (await work[Orders].require(OrderId(1, 1))).total = 0
            await work.commit()
        async with shop.db.unit_of_work() as work:
            await work.rollback()
        assert await found(shop) == "Cy"


async def test_sessions_work_on_this_release_of_sqlalchemy(shop: Shop) -> None:
    """Defect 22: no session could be made on SQLAlchemy 2.1, which was allowed, and before that
    none had a `bind`."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    [requirement] = [Requirement(each) for each in declared if each.startswith("sqlalchemy")]
    bounds = {each.operator: each.version for each in requirement.specifier}
    assert bounds.keys() == {">=", "<"}, "what is not there yet is not promised"
    assert re.search(
        rf"^sqlalchemy=={re.escape(bounds['>='])}",
        (ROOT / "tests/oldest.txt").read_text(),
        re.MULTILINE,
    )
    assert requirement.specifier.contains(sqlalchemy.__version__)
    async with shop.db.unit_of_work() as work, shop.db.sessionmaker() as plain:
        for session in (work.session, plain):
            assert isinstance(session.bind, AsyncEngine)
            assert session.bind.sync_engine is session.get_bind()
            assert (await session.get_one(User, 7)).name == "n07"
