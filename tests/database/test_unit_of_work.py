"""A unit of work with repositories: what it reads, what its commit tells."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import event, select, text

from repocache import (
    Bookmark,
    CachedEntityRefused,
    ChangesLost,
    ConfigurationError,
    Database,
    InvalidId,
    KeyOwner,
    Misuse,
    Repository,
    Settings,
    UnitOfWork,
    UsageError,
)
from repocache.events import CachedEntityChanged, Filled, Published, Served, UndeclaredWrite
from tests.shop import (
    QUICK,
    Countries,
    Country,
    Document,
    Documents,
    Order,
    OrderId,
    Orders,
    Shop,
    User,
    Users,
    document_id,
    open_shop,
    until,
)


async def test_it_reads_its_own_transaction_and_no_cache(shop: Shop) -> None:
    await shop.users.get(7)
    async with shop.db.unit_of_work() as work:
        users = work[Users]
        user = await users.require(7)
        user.name = "Ada"
        work.add(User(id=100, name="new", age=100))
        # Not flushed by anybody but the reads.
        assert (await users.require(100)).name == "new"
        assert await users.count(User.age > 60) == 1
        assert await users.exists(User.name == "Ada")
        assert [each.id for each in await users.find(User.name == "Ada")] == [7]
        assert list(await users.get_many([100, 5000, 7])) == [100, 7]
        assert (await users.get_many([7]))[7] is user
        assert (await users.find(User.id == 7))[0] is user
        card = await users.card.get(7)
        assert card is not None
        assert card.name == "Ada"
        # Others see none of it, and nothing of it was cached.
        assert (await shop.users.require(7)).name == "n07"
        assert await shop.users.get(100) is None
        await work.rollback()
    assert (await shop.users.require(7)).name == "n07"
    assert await shop.users.get(100) is None


async def test_it_reads_only_the_primary_and_fills_nothing(shop: Shop) -> None:
    async with shop.db.unit_of_work() as work:
        before = len(shop.seen)
        await work[Users].get(7)
        await work[Users].get_many([1, 2])
        await work[Users].card.get(3)
        assert not [event for event in shop.seen[before:] if isinstance(event, Served | Filled)]


async def test_a_commit_is_seen_at_once_here_and_behind_its_bookmark_everywhere(
    shop: Shop, repocache_endpoints: Any
) -> None:
    async with open_shop(repocache_endpoints) as other:
        for id in (7, 8, 100):
            await shop.users.get(id)
            await other.users.get(id)
        async with shop.db.unit_of_work() as work:
            (await work[Users].require(7)).name = "Ada"
            await work.delete(await work[Users].require(8))
            work.add(User(id=100, name="new", age=1))
            bookmark = await work.commit()
        async with shop.db.causal_session(bookmark):
            assert (await shop.users.require(7)).name == "Ada"
            assert await shop.users.get(8) is None
            assert (await shop.users.require(100)).name == "new"
        async with other.db.causal_session(bookmark.encode()):
            assert (await other.users.require(7)).name == "Ada"
            assert await other.users.get(8) is None
            assert (await other.users.require(100)).name == "new"
            assert [user.name for user in await other.users.find(User.id == 7)] == ["Ada"]
        assert bookmark.covered
        assert len(bookmark.wrote or {}) in (2, 3)


async def test_an_insert_ends_the_knowledge_that_there_is_no_row(
    shop: Shop, repocache_endpoints: Any
) -> None:
    async with open_shop(repocache_endpoints) as other:
        assert await shop.users.get(100) is None
        assert await other.users.get(100) is None
        async with shop.db.unit_of_work() as work:
            work.add(User(id=100, name="new", age=1))
            bookmark = await work.commit()
        async with shop.db.causal_session(bookmark):
            assert await shop.users.get(100) is not None

        async def there() -> bool:
            return await other.users.get(100) is not None

        await until(there, "the other process has heard of it", seconds=5)


async def change_and_leave(shop: Shop) -> None:
    async with shop.db.unit_of_work() as work:
        (await work[Users].require(7)).name = "Ada"


async def declare_and_leave(shop: Shop) -> None:
    async with shop.db.unit_of_work() as work:
        await shop.db.changes(work.session, Users, [7])


async def test_leaving_without_commit_rolls_back_and_tells_nobody(shop: Shop) -> None:
    with pytest.raises(ChangesLost, match="changed User"):
        await change_and_leave(shop)
    with pytest.raises(ChangesLost, match="what its statements wrote"):
        await declare_and_leave(shop)
    with contextlib.suppress(ZeroDivisionError):
        async with shop.db.unit_of_work() as work:
            (await work[Users].require(7)).name = "Ada"
            await work.session.flush()
            _ = 1 / 0
    assert not shop.seen.of(Published)
    assert (await shop.users.on_primary().require(7)).name == "n07"


async def test_a_savepoint_takes_its_changes_with_it(shop: Shop) -> None:
    async with shop.db.unit_of_work() as work:
        (await work[Users].require(7)).name = "Ada"
        with contextlib.suppress(ZeroDivisionError):
            async with work.savepoint():
                (await work[Users].require(8)).name = "Bob"
                await work.session.flush()
                _ = 1 / 0
        async with work.savepoint():
            (await work[Users].require(9)).name = "Cy"
        assert not shop.seen.of(Published)
        bookmark = await work.commit()
    (published,) = shop.seen.of(Published)
    assert published.keys == 2
    async with shop.db.causal_session(bookmark):
        assert [(await shop.users.require(id)).name for id in (7, 8, 9)] == ["Ada", "n08", "Cy"]


async def test_several_owners_in_one_commit(shop: Shop) -> None:
    orders = shop.db[Orders]
    await orders.get(OrderId(1, 2))
    await shop.users.get(7)
    async with shop.db.unit_of_work() as work:
        (await work[Orders].require(OrderId(1, 2))).total = 0
        (await work[Users].require(7)).name = "Ada"
        work.add_all([Document(id=document_id(9), title="nine"), Country(code="x:y", name="XY")])
        bookmark = await work.commit()
    async with shop.db.causal_session(bookmark):
        assert (await orders.require(OrderId(1, 2))).total == 0
        assert (await shop.users.require(7)).name == "Ada"
    (published,) = shop.seen.of(Published)
    assert published.keys == 4


async def test_generated_values_are_there_after_the_commit(shop: Shop) -> None:
    async with shop.db.unit_of_work() as work:
        user = await work[Users].require(7)
        before = user.updated_at
        user.name = "Ada"
        added = User(id=100, name="new", age=1)
        work.add(added)
        await work.commit()
    assert user.updated_at > before
    assert added.updated_at >= user.updated_at
    assert user.name == "Ada"


async def test_textual_sql_says_what_it_touches(shop: Shop) -> None:
    await shop.users.get_many([7, 8])
    async with shop.db.unit_of_work() as work:
        await work.session.execute(text("UPDATE users SET name = 'x' WHERE id = 7"))
        work.changes(Users, ids=[7])
        bookmark = await work.commit()
    assert (await shop.users.require(8)).name == "n08"
    async with shop.db.causal_session(bookmark):
        assert (await shop.users.require(7)).name == "x"
    async with shop.db.unit_of_work() as work:
        await work.session.execute(text("UPDATE users SET name = 'y'"))
        work.changes(Users)
        bookmark = await work.commit()
    async with shop.db.causal_session(bookmark):
        assert {user.name for user in (await shop.users.get_many([7, 8, 9])).values()} == {"y"}
    assert not shop.seen.of(UndeclaredWrite)


class Accounts(Repository[User, int]):
    """The same rows under another owner."""

    owner = KeyOwner("account")


class Totals(Repository[Order, OrderId]):
    """Its rows change, behind everybody's back, with those of users."""

    owner = KeyOwner("total", follows=("users",))


async def declared_in_a_unit_of_work(
    shop: Shop, repository: type[Repository[User, int]], ids: list[int] | None
) -> None:
    async with shop.db.unit_of_work() as work:
        await work.session.execute(RENAME)
        work.changes(repository, ids)
        await work.commit()


async def declared_in_a_session(
    shop: Shop, repository: type[Repository[User, int]], ids: list[int] | None
) -> None:
    async with shop.db.sessionmaker() as session:
        await session.execute(RENAME)
        await shop.db.changes(session, repository, ids)
        await session.commit()


RENAME = text(
    "WITH one AS (UPDATE users SET name = 'x' WHERE id = 7) UPDATE orders SET total = 0 WHERE "
    "number = 2"
)


@pytest.mark.parametrize("declared", [declared_in_a_unit_of_work, declared_in_a_session])
@pytest.mark.parametrize("named", [Users, Accounts])
@pytest.mark.parametrize("ids", [[7], None])
async def test_all_owners_of_what_is_declared_follow(
    repocache_endpoints: Any,
    declared: Any,
    named: type[Repository[User, int]],
    ids: list[int] | None,
) -> None:
    async with (
        open_shop(repocache_endpoints, repositories=[Users, Accounts, Totals]) as shop,
        open_shop(repocache_endpoints, repositories=[Users, Accounts, Totals]) as other,
        shop.db.causal_session(),
    ):

        async def shown(db: Database) -> tuple[str, str, int]:
            total = await db[Totals].require(OrderId(1, 2))
            return (
                (await db[Users].require(7)).name,
                (await db[Accounts].require(7)).name,
                total.total,
            )

        assert await shown(shop.db) == await shown(other.db) == ("n07", "n07", 102)
        await declared(shop, named, ids)
        assert await shown(shop.db) == ("x", "x", 0)

        async def there() -> bool:
            return await shown(other.db) == ("x", "x", 0)

        await until(there, "every owner has followed", seconds=5)


async def test_what_is_declared_is_checked(shop: Shop) -> None:
    class Strangers(Repository[User, int]):
        pass

    async with shop.db.unit_of_work() as work:
        with pytest.raises(InvalidId, match="is not of the key's type int"):
            work.changes(Users, ids=["7"])  # type: ignore[misc]
        with pytest.raises(ConfigurationError, match=r"Strangers is not one .*\(repositories="):
            work.changes(Strangers)
        with pytest.raises(ConfigurationError, match="Strangers is not one of"):
            work[Strangers]
        with pytest.raises(InvalidId, match="give a list of ids"):
            work.changes(Countries, ids="de")
        with pytest.raises(InvalidId, match="give a list of ids"):
            work.changes(Users, ids=7)  # type: ignore[arg-type]


async def test_undeclared_textual_sql_is_told(shop: Shop) -> None:
    async with shop.db.unit_of_work() as work:
        await work.session.execute(text("UPDATE users SET name = 'x' WHERE id = 7"))
        await work.commit()
    (event,) = shop.seen.of(UndeclaredWrite)
    assert "UPDATE users" in event.statement


async def test_a_cached_entity_is_refused_and_the_remedy_named(shop: Shop) -> None:
    cached = await shop.users.require(7)
    found = (await shop.users.find(User.id == 8))[0]
    past = await shop.users.on_primary().require(9)
    async with shop.db.unit_of_work() as work:
        for entity, id in ((cached, 7), (found, 8), (past, 9)):
            with pytest.raises(CachedEntityRefused, match=rf"work\[Users\]\.require\({id}\)"):
                work.add(entity)
            with pytest.raises(CachedEntityRefused):
                await work.delete(entity)
            with pytest.raises(CachedEntityRefused):
                await work.session.merge(entity)
    async with shop.db.sessionmaker() as session:
        with pytest.raises(CachedEntityRefused):
            session.add(cached)


async def test_a_change_of_a_cached_entity_is_refused_where_it_is_made(shop: Shop) -> None:
    async def read(users: Users) -> list[User]:
        return [
            await users.require(7),  # a miss
            await users.require(7),  # a hit
            (await users.get_many([7]))[7],
            (await users.find(User.id == 7))[0],
        ]

    for cached in [*await read(shop.users), await shop.users.on_primary().require(7)]:
        with pytest.raises(
            CachedEntityRefused, match=r"'name'.*`await work\[Users\]\.require\(7\)`"
        ):
            cached.name = "lost"
        assert cached.name == "n07"
    async with shop.db.unit_of_work() as work:
        for own in await read(work[Users]):
            own.name = "Ada"
        await work.commit()
    own.name = "free"  # it came from no cache
    assert (await shop.users.on_primary().require(7)).name == "Ada"


async def test_a_change_of_a_cached_entity_is_told_where_that_is_wished(
    shop: Shop, repocache_endpoints: Any
) -> None:
    settings = Settings(topology=QUICK, misuse=Misuse.TELL)
    async with open_shop(repocache_endpoints, settings) as other:
        told, refused = await other.users.require(7), await shop.users.require(7)
        told.name = "mine alone"
        with pytest.raises(CachedEntityRefused):
            refused.name = "lost"
        assert other.seen.of(CachedEntityChanged) == [CachedEntityChanged("user", "7", "name")]
        assert not shop.seen.of(CachedEntityChanged)
        assert (told.name, (await other.users.require(7)).name) == ("mine alone", "n07")
        async with other.db.unit_of_work() as work:
            with pytest.raises(CachedEntityRefused):
                work.add(told)


async def test_two_units_of_work_side_by_side_are_two_transactions(shop: Shop) -> None:
    async with shop.db.unit_of_work() as one, shop.db.unit_of_work() as two:
        (await one[Users].require(7)).name = "Ada"
        (await two[Users].require(8)).name = "Bob"
        await asyncio.gather(one.commit(), two.commit())
    assert [(await shop.users.on_primary().require(id)).name for id in (7, 8)] == ["Ada", "Bob"]


async def test_a_repository_of_a_unit_of_work_ends_with_it(shop: Shop) -> None:
    async with shop.db.unit_of_work() as work:
        users = work[Users]
        user = await users.require(7)
        await work.commit()
        with pytest.raises(UsageError, match="was committed"):
            work[Users]
        with pytest.raises(UsageError, match="was committed"):
            await users.get(7)
    with pytest.raises(UsageError, match="was committed"):
        await users.find()
    assert user.name == "n07"


async def test_a_commit_that_changes_nothing_says_nothing(shop: Shop) -> None:
    async with shop.db.unit_of_work() as work:
        await work[Users].require(7)
        bookmark = await work.commit()
    assert bookmark.position == 0
    assert not shop.seen.of(Published)


async def test_a_unit_of_work_moves_the_session_in_scope(shop: Shop) -> None:
    async with shop.db.causal_session() as session:
        async with shop.db.unit_of_work() as work:
            (await work[Users].require(7)).name = "Ada"
            bookmark = await work.commit()
        assert session.bookmark.position == bookmark.position
        assert (await shop.users.require(7)).name == "Ada"
        assert [user.name for user in await shop.users.find(User.id == 7)] == ["Ada"]
    assert bookmark.position is not None


async def test_orders_that_lie_in_no_l1_follow_too(shop: Shop) -> None:
    orders = shop.db[Orders]
    await orders.get(OrderId(1, 2))
    for total in range(5):
        async with shop.db.causal_session():
            async with shop.db.unit_of_work() as work:
                (await work[Orders].require(OrderId(1, 2))).total = total
                await work.commit()
            assert (await orders.require(OrderId(1, 2))).total == total
            assert [
                order.total for order in await orders.find(Order.tenant == 1, Order.number == 2)
            ] == [total]


class Sent(list[str]):
    """The statements that were sent to the primary's transactions in the block."""

    @contextlib.contextmanager
    def of(self, shop: Shop) -> Iterator[Sent]:
        def heard(*arguments: Any) -> None:
            self.append(arguments[2])

        engine = shop.db._topology.write_engine.sync_engine
        event.listen(engine, "before_cursor_execute", heard)
        try:
            yield self
        finally:
            event.remove(engine, "before_cursor_execute", heard)


async def test_many_ids_are_one_statement(shop: Shop) -> None:
    async with shop.db.unit_of_work() as work:
        users = work[Users]
        with Sent().of(shop) as sent:
            many = await users.get_many(range(60, 0, -1))
            assert list(many) == list(range(60, 0, -1))
            assert len(sent) == 1
            assert await users.get_many([7, 8]) == {7: many[7], 8: many[8]}
            assert len(sent) == 1
            assert list(await users.get_many([*range(1_000, 41_000), 9])) == [9]
            assert len(sent) == 2
            assert list(await users.card.get_many([*range(1_000, 41_000), 9])) == [9]
            assert len(sent) == 3
            orders = await work[Orders].get_many([OrderId(2, 1), OrderId(9, 9), OrderId(1, 2)])
            assert {id: order.total for id, order in orders.items()} == {(2, 1): 201, (1, 2): 102}
            assert len(sent) == 4
            documents = await work[Documents].get_many([document_id(3), document_id(9)])
            assert {id: each.title for id, each in documents.items()} == {document_id(3): "t3"}
            assert len(sent) == 5


async def test_many_ids_are_the_sessions_own_entities(shop: Shop) -> None:
    async with shop.db.unit_of_work() as work:
        users = work[Users]
        seven = await users.require(7)
        seven.name = "Ada"
        await work.delete(await users.require(8))
        work.add(User(id=100, name="new", age=100))
        many = await users.get_many([100, 9, 8, 7])
        assert [(id, user.name) for id, user in many.items()] == [
            (100, "new"),
            (9, "n09"),
            (7, "Ada"),
        ]
        assert many[7] is seven
        work.session.expire(seven)
        await work.session.execute(text("UPDATE users SET name = 'Bob' WHERE id = 7"))
        work.changes(Users, [7])
        assert (await users.get_many([7]))[7] is seven
        assert seven.name == "Bob"
        work.session.expire(many[9])
        await work.session.execute(text("DELETE FROM users WHERE id = 9"))
        work.changes(Users, [9])
        assert await users.get(9) is None
        assert await users.get_many([9]) == {}
        await work.rollback()


async def test_ids_that_no_row_can_have_are_not_there_either(shop: Shop) -> None:
    async with shop.db.unit_of_work() as work:
        assert await work[Users].get(1 << 40) is None
        assert list(await work[Users].get_many([1 << 70, 7])) == [7]
        assert await work[Countries].get("d\0e") is None
        assert (await work[Users].require(7)).name == "n07"


async def test_two_statements_at_once_are_refused(shop: Shop) -> None:
    async with shop.db.unit_of_work() as work:
        users = work[Users]
        for id in (8, 9):  # before there is a connection, and after
            calls = [
                users.get(id),
                users.find(User.id == 2),
                users.get_many([3]),
                users.count(),
                work.rollback(),
            ]
            first, *others = await asyncio.gather(*calls, return_exceptions=True)
            assert isinstance(first, User)
            assert all(
                isinstance(each, UsageError) and "one after the other" in str(each)
                for each in others
            )
        (await users.require(1)).name = "Ada"
        commits = await asyncio.gather(work.commit(), users.get(5), return_exceptions=True)
        assert isinstance(commits[0], Bookmark)
        assert isinstance(commits[1], UsageError)
    assert (await shop.users.require(1)).name == "Ada"


async def test_a_commit_beside_a_statement_runs_no_hook_and_may_come_again(shop: Shop) -> None:
    ran: list[str] = []

    async def hook() -> None:
        ran.append("hook")
        # Of a task of its own, as with a timeout.
        assert await asyncio.wait_for(work[Users].get(9), 60) is not None

    async with shop.db.unit_of_work() as work:
        work.before_commit(hook)
        (await work[Users].require(7)).name = "Ada"
        told = await asyncio.gather(work[Users].get(8), work.commit(), return_exceptions=True)
        assert isinstance(told[0], User)
        assert isinstance(told[1], UsageError)
        assert ran == []
        await work.commit()
        with pytest.raises(UsageError, match="was committed"):
            await work.commit()
    assert ran == ["hook"]
    assert (await shop.users.require(7)).name == "Ada"


async def test_a_commit_after_a_rollback_runs_no_hook(shop: Shop) -> None:
    ran: list[str] = []

    async def hook() -> None:
        ran.append("hook")

    async with shop.db.unit_of_work() as work:
        work.before_commit(hook)
        await work.rollback()
        with pytest.raises(UsageError, match="was rolled back"):
            await work.commit()
    assert ran == []


async def test_leaving_in_the_middle_of_a_statement_gives_the_connection_back(shop: Shop) -> None:
    pool: Any = shop.db._topology.write_engine.pool
    for _ in range(2):
        with pytest.raises(UsageError, match="one after the other"):
            async with shop.db.unit_of_work() as work:
                await asyncio.gather(work[Users].get(1), work[Users].get(2))
        assert pool.checkedout() == 0
    await shop.rename(7, "Ada")


async def test_two_statements_of_its_session_do_not_lose_a_connection_that_is_being_made(
    shop: Shop,
) -> None:
    engine = shop.db._topology.write_engine
    one, two = select(User).where(User.id == 1), select(User).where(User.id == 2)
    await engine.dispose()
    pool: Any = engine.pool
    with pytest.raises(UsageError, match="one after the other"):
        async with shop.db.unit_of_work() as work:
            await asyncio.gather(work.session.execute(one), work.session.execute(two))
    assert pool.checkedout() == 0
    await shop.rename(7, "Ada")


async def test_leaving_waits_for_a_statement_that_is_under_way(shop: Shop) -> None:
    """Of a task that nobody waited for: to close the session beside it would break the connection
    under it."""
    pool: Any = shop.db._topology.write_engine.pool
    begun = asyncio.Event()

    async def read(work: UnitOfWork) -> object:
        with work.alone() as session:
            begun.set()
            return await session.scalar(text("SELECT 7 FROM pg_sleep(0.2)"))

    async with shop.db.unit_of_work() as work:
        await work[Users].require(7)
        reading = asyncio.create_task(read(work))
        await begun.wait()
    assert await reading == 7
    assert pool.checkedout() == 0
