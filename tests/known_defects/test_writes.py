"""Who writes, and in which way: every commit reaches every process, through replicas, lists and
views too."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from sqlalchemy import delete, insert, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from repocache import Bookmark
from repocache.events import Published, Routed, UndeclaredWrite
from repocache.testing import Endpoints, Servers
from tests.known_defects.shops import PATIENT, heard, in_l1, names
from tests.shop import Base, Shop, User, Users, open_shop

Write = Callable[[Shop], Awaitable[object]]
users = Base.metadata.tables["users"]
RENAMED = update(User).where(User.id == 7).values(name="Ada")


async def by_unit_of_work(shop: Shop) -> None:
    async with shop.db.unit_of_work() as work:
        (await work[Users].require(7)).name = "Ada"
        await work.commit()


async def by_statement_in_a_unit_of_work(shop: Shop) -> None:
    async with shop.db.unit_of_work() as work:
        await work.session.execute(RENAMED)
        await work.commit()


async def by_text_that_says_so(shop: Shop) -> None:
    async with shop.db.unit_of_work() as work:
        await work.session.execute(text("UPDATE users SET name = 'Ada' WHERE id = 7"))
        work.changes(Users, ids=[7])
        await work.commit()


async def by_plain_session(shop: Shop) -> None:
    async with shop.db.sessionmaker() as session:
        (await session.get_one(User, 7)).name = "Ada"
        await session.commit()


async def by_the_makers_block(shop: Shop) -> None:
    async with shop.db.sessionmaker.begin() as session:
        (await session.get_one(User, 7)).name = "Ada"


async def by_statement(shop: Shop) -> None:
    async with shop.db.sessionmaker() as session, session.begin():
        await session.execute(RENAMED)


async def by_core_on_the_connection(shop: Shop) -> None:
    async with shop.db.sessionmaker() as session:
        await (await session.connection()).execute(
            update(users).where(users.c.id == 7).values(name="Ada")
        )
        await session.commit()


async def by_another_session_on_the_connection(shop: Shop) -> None:
    async with shop.db.sessionmaker() as session:
        joined = AsyncSession(await session.connection(), join_transaction_mode="create_savepoint")
        (await joined.get_one(User, 7)).name = "Ada"
        await joined.commit()
        await joined.close()
        await session.commit()


async def by_bulk_update(shop: Shop) -> None:
    async with shop.db.sessionmaker() as session:
        await session.execute(update(User), [{"id": 7, "name": "Ada"}])
        await session.commit()


async def by_a_legacy_bulk_method(shop: Shop) -> None:
    async with shop.db.sessionmaker() as session:
        changed = [{"id": 7, "name": "Ada"}]
        await session.run_sync(lambda sync: sync.bulk_update_mappings(User.__mapper__, changed))
        await session.commit()


WAYS = [
    by_unit_of_work,
    by_statement_in_a_unit_of_work,
    by_text_that_says_so,
    by_plain_session,
    by_the_makers_block,
    by_statement,
    by_core_on_the_connection,
    by_another_session_on_the_connection,
    by_bulk_update,
    by_a_legacy_bulk_method,
]


async def test_with_replicas_every_way_to_write_invalidates(shop: Shop, other: Shop) -> None:
    """Defect 1: with routing, sessions were made by another maker, to which no listener was
    attached: nothing was invalidated at all. Defect 7: so it was for all that did not go through a
    method of the repository."""
    assert len(shop.db.nodes) == 3
    for write in WAYS:
        await shop.rename(7, "n07")
        for each in (shop, other):
            await heard(each)
            await in_l1(each, 7)
        told = len(shop.seen.of(Published))
        await write(shop)
        assert len(shop.seen.of(Published)) == told + 1, write.__name__
        await heard(other)
        for each in (shop, other):
            assert await names(each, 7) == ["Ada"], write.__name__
    nodes = {event.node for each in (shop, other) for event in each.seen.of(Routed)}
    assert nodes - {"primary"}, "replicas did answer"


async def test_text_that_says_nothing_is_told(shop: Shop) -> None:
    """Defect 7: raw SQL went by unseen, and nobody was told."""
    async with shop.db.sessionmaker() as session:
        await session.execute(text("UPDATE users SET name = 'Ada' WHERE id = 7"))
        await session.commit()
    assert [event.statement for event in shop.seen.of(UndeclaredWrite)] == [
        "UPDATE users SET name = ? WHERE id = ?"
    ]


async def listed(shop: Shop) -> tuple[list[str], int, bool]:
    """Three lists: rows, how many, whether any."""
    found = await shop.users.find(User.age == 99, order_by=[User.id])
    return (
        [user.name for user in found],
        await shop.users.count(User.age == 99),
        await shop.users.exists(User.age == 99),
    )


async def test_lists_follow_the_writes_of_other_processes(
    shop: Shop, other: Shop, repocache_controls: Servers
) -> None:
    """Defect 2: a process kept the version of its lists to itself, and served the old ones after
    another's commit."""
    for each in (shop, other):
        assert await listed(each) == ([], 0, False)
    for replica in repocache_controls.replicas:
        await asyncio.to_thread(replica.pause_replay)
    async with shop.db.unit_of_work() as work:
        for user in (await work[Users].get_many([7, 8])).values():
            user.age = 99
        bookmark = await work.commit()
    assert await behind(other, bookmark) == (["n07", "n08"], 2, True)
    async with other.db.unit_of_work() as work:
        await work.delete(await work[Users].require(7))
        bookmark = await work.commit()
    assert await behind(shop, bookmark) == (["n08"], 1, True)


async def behind(shop: Shop, bookmark: Bookmark) -> tuple[list[str], int, bool]:
    async with shop.db.causal_session(bookmark):
        return await listed(shop)


async def add(shop: Shop) -> Bookmark:
    async with shop.db.unit_of_work() as work:
        work.add_all([User(id=100, name="one", age=99), User(id=101, name="two", age=99)])
        return await work.commit()


async def insert_statement(shop: Shop) -> Bookmark:
    async with shop.db.unit_of_work() as work:
        rows = [{"id": 100, "name": "one", "age": 99}, {"id": 101, "name": "two", "age": 99}]
        await work.session.execute(insert(User), rows)
        return await work.commit()


@pytest.mark.parametrize("write", [add, insert_statement])
async def test_new_rows_are_in_lists_and_no_longer_missing(
    shop: Shop, other: Shop, write: Callable[[Shop], Awaitable[Bookmark]]
) -> None:
    """Defect 3: `add` and `add_many` did not touch the lists: a new row did not appear in them."""
    for each in (shop, other):
        assert await listed(each) == ([], 0, False)
        assert await names(each, 100, 101) == []
    bookmark = await write(shop)
    await heard(other)
    for each in (shop, other):
        assert await behind(each, bookmark) == (["one", "two"], 2, True)
        assert await names(each, 100, 101) == ["one", "two"]


async def test_databases_with_names_of_their_own_have_rows_of_their_own(
    repocache_endpoints: Endpoints, repocache_servers: Servers, repocache_template: str
) -> None:
    """Defect 8: lists of one database were served for another's, since their keys did not say whose
    they are."""
    name = repocache_endpoints.primary.rpartition("/")[2] + "_b"
    await asyncio.to_thread(repocache_servers.primary.create_database, name, repocache_template)
    try:
        await asyncio.to_thread(repocache_servers.catch_up)
        ends = repocache_servers.endpoints(name)
        async with (
            open_shop(repocache_endpoints, replace(PATIENT, app="a")) as a,
            open_shop(ends, replace(PATIENT, app="b")) as b,
        ):
            await a.rename(7, "of a")
            for id in (7, 8):
                await in_l1(a, id)
            assert await names(b, 7, 8) == ["n07", "n08"]
            assert [user.name for user in await b.users.find(User.id == 7)] == ["n07"]
            await b.rename(7, "of b")
            await heard(a)
            assert a.users._peek(7) is not None, "what is written in b is no affair of a's"
            assert (await names(a, 7, 8), await names(b, 7)) == (["of a", "n08"], ["of b"])
    finally:
        await asyncio.to_thread(repocache_servers.primary.drop_database, name)


async def test_what_was_read_in_one_way_is_invalidated_by_writes_in_another(
    shop: Shop, other: Shop
) -> None:
    """Defect 8: reads and writes named the same row by different keys, and the old one was left."""
    for each in (shop, other):
        await in_l1(each, 7)
        await each.users.card.get(7)
        await each.users.on_replica().get(7)
        await each.users.on_primary().card.get(7)
    async with shop.db.sessionmaker() as session:
        await session.execute(delete(User).where(User.name == "n07"))
        await session.commit()
    await heard(other)
    for each in (shop, other):
        assert await each.users.get(7) is None
        assert await each.users.get_many([7]) == {}
        assert await each.users.card.get(7) is None
        assert await each.users.card.get_many([7]) == {}
        assert await each.users.on_primary().get(7) is None
