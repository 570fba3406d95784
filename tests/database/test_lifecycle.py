"""Before, while and after a database is open: what may be called, and what is left behind."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any
from unittest.mock import patch

import pytest
from sqlalchemy import event, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.util import await_only

from repocache import (
    ConfigurationError,
    Database,
    DatabaseUnavailable,
    Repository,
    Settings,
    UsageError,
)
from repocache.background.tasks import Grace
from repocache.errors import NotStarted, PoolExhausted
from repocache.events import Published, TaskFailed
from repocache.publication.publisher import CommitPublisher
from repocache.testing import Endpoints, Servers
from repocache.transactions.commit_watch import CommitWatch
from tests.shop import QUICK, Countries, Orders, Shop, User, Users, open_shop, until

UNOPENED = Database("sqlite+aiosqlite:////nowhere/at/all", repositories=[Users])


def alone(shop: Shop) -> Endpoints:
    """The same file of SQLite once more."""
    return Endpoints(shop.db._topology.write_engine.url.render_as_string(), (), "")


def uses(db: Database) -> dict[str, Any]:
    return {
        "db[Users]": lambda: db[Users],
        "unit_of_work": db.unit_of_work,
        "sessionmaker": lambda: db.sessionmaker,
        "causal_session": db.causal_session,
        "snapshot": db.snapshot,
        "invalidations": lambda: db.invalidations(Users),
    }


@pytest.mark.parametrize("name", uses(UNOPENED))
async def test_nothing_is_to_be_had_before_and_after(name: str, still: Shop) -> None:
    with pytest.raises(NotStarted, match="use it inside `async with db:`"):
        uses(UNOPENED)[name]()
    async with open_shop(alone(still)) as shop:
        uses(shop.db)[name]()
    with pytest.raises(NotStarted, match="use it inside `async with db:`"):
        uses(shop.db)[name]()


@pytest.mark.parametrize("where", ["servers", "file"])
async def test_repositories_that_outlive_the_database_raise_and_do_not_hang(
    where: str, repocache_endpoints: Endpoints, still: Shop
) -> None:
    async with open_shop(repocache_endpoints if where == "servers" else alone(still)) as shop:
        users = shop.users
        await users.get(7)
        work = shop.db.unit_of_work()
    for read in (
        lambda: users.get(7),
        lambda: users.get(8),
        lambda: users.get_many([7, 9]),
        lambda: users.card.get(7),
        users.find,
        lambda: users.on_primary().get(7),
    ):
        with pytest.raises(NotStarted):
            await asyncio.wait_for(read(), 5)
    async with work:
        with pytest.raises(NotStarted):
            await work[Users].get(7)


async def test_no_session_outlives_the_database(repocache_endpoints: Endpoints) -> None:
    """What it wrote would be published by nobody."""
    async with open_shop(repocache_endpoints) as shop:
        sessions = shop.db.sessionmaker
        async with sessions() as session:
            assert await session.get(User, 7) is not None
    async with sessions() as session:
        with pytest.raises(NotStarted):
            await session.get(User, 7)


@pytest.mark.parametrize("how", ["unit of work", "plain session"])
async def test_a_transaction_that_outlives_the_database_does_not_commit(
    how: str, repocache_endpoints: Endpoints
) -> None:
    async with open_shop(repocache_endpoints) as shop, open_shop(repocache_endpoints) as other:
        assert (await other.users.require(7)).name != "Late"
        before = (await other.users.on_primary().require(7)).name
        opened = shop.db.unit_of_work() if how == "unit of work" else shop.db.sessionmaker.begin()

        async def late() -> None:
            async with opened as work:
                user = (
                    await work.get(User, 7)
                    if isinstance(work, AsyncSession)
                    else await work[Users].get(7)
                )
                assert user is not None
                user.name = "Late"
                await shop.db.__aexit__(None, None, None)
                if how == "unit of work":
                    await work.commit()

        with pytest.raises(NotStarted):
            await late()
        assert (await other.users.on_primary().require(7)).name == before
        await shop.db.__aenter__()
        await shop.rename(7, "Again")
        await until(lambda: _is(other, "Again"), "the database commits again")


async def _is(shop: Shop, name: str) -> bool:
    return (await shop.users.require(7)).name == name


async def test_a_commit_that_has_not_been_sent_when_it_is_left_is_refused(
    repocache_endpoints: Endpoints,
) -> None:
    """One looks at its rows already, and the database is not gone before it has; another has not
    begun to."""
    changed, looking, leaving, go_on = (asyncio.Event() for _ in range(4))
    look, close = CommitPublisher.prepare, CommitWatch.close
    looks = 0

    def slow(self: CommitPublisher, *arguments: Any) -> None:
        nonlocal looks
        looks += 1
        looking.set()
        if looks == 1:
            await_only(go_on.wait())
        look(self, *arguments)

    async def leave(self: CommitWatch, grace: Grace) -> None:
        leaving.set()
        await close(self, grace)

    with patch.object(CommitWatch, "close", leave):
        async with open_shop(repocache_endpoints) as shop:

            async def later() -> None:
                async with shop.db.unit_of_work() as work:
                    (await work[Users].require(8)).name = "Later"
                    changed.set()
                    await leaving.wait()
                    await work.commit()

            with patch.object(CommitPublisher, "prepare", slow):
                other = asyncio.create_task(later())
                writing = asyncio.create_task(shop.rename(7, "Late"))
                await asyncio.gather(changed.wait(), looking.wait())
                left = asyncio.create_task(shop.db.__aexit__(None, None, None))
                await leaving.wait()
                with pytest.raises(NotStarted):
                    await other
                go_on.set()
                with pytest.raises(NotStarted):
                    await writing
                await left
            assert looks == 1
            await shop.db.__aenter__()
            assert (await shop.users.on_primary().require(7)).name != "Late"


@pytest.mark.parametrize("again", [False, True])
async def test_a_commit_that_waits_in_a_listener_when_it_is_left(still: Shop, again: bool) -> None:
    """Listeners are taken away, or added, while SQLAlchemy goes through them, which may not end the
    commit by a RuntimeError. It is refused; if the database is open again, it is published."""
    reached, leave = asyncio.Event(), asyncio.Event()

    async def pause() -> None:
        reached.set()
        await leave.wait()

    # Another listener than ours, which comes before them all when the database is entered anew.
    event.listen(still.db.engine.sync_engine, "commit", lambda _: await_only(pause()))

    async def commit() -> None:
        async with still.db.unit_of_work() as work:
            work.add(User(id=700, name="n", age=1))
            await work.commit()

    writing = asyncio.create_task(commit())
    await reached.wait()
    await still.db.__aexit__()
    if again:
        await still.db.__aenter__()
    leave.set()
    if again:
        await writing
        assert still.seen.of(Published)
    else:
        with pytest.raises(NotStarted):
            await writing
        assert not still.seen.of(Published)


async def test_a_commit_under_way_when_it_is_left_is_published(
    repocache_endpoints: Endpoints,
) -> None:
    async with open_shop(repocache_endpoints) as shop, open_shop(repocache_endpoints) as other:
        await other.users.get(7)
        sealed, go_on = asyncio.Event(), asyncio.Event()

        async def hold(*_: object) -> None:
            sealed.set()
            await go_on.wait()

        seal = CommitPublisher.seal

        async def slow(self: CommitPublisher, *arguments: Any) -> None:
            await seal(self, *arguments)
            await hold()

        with patch.object(CommitPublisher, "seal", slow):
            writing = asyncio.create_task(shop.rename(7, "Held"))
            await sealed.wait()
            closing = asyncio.create_task(shop.db.__aexit__(None, None, None))
            await asyncio.sleep(0)
            go_on.set()
            await asyncio.gather(writing, closing)
        await until(lambda: _is(other, "Held"), "the other process hears of it")
        await shop.db.__aenter__()


async def test_reads_under_way_when_it_is_left_end(repocache_endpoints: Endpoints) -> None:
    reads: list[asyncio.Future[Any]] = []
    async with open_shop(repocache_endpoints) as shop:
        for ids in ([1, 2], [3], [4, 5, 6]):
            reads.append(asyncio.ensure_future(shop.users.get_many(ids)))
            reads.append(asyncio.ensure_future(shop.db[Orders].find()))
            await asyncio.sleep(0)
    for result in await asyncio.wait_for(asyncio.gather(*reads, return_exceptions=True), 10):
        assert isinstance(result, dict | list | NotStarted | DatabaseUnavailable), result
    assert not shop.seen.of(TaskFailed)


async def test_it_leaves_no_task_behind(repocache_endpoints: Endpoints) -> None:
    before = asyncio.all_tasks()
    async with open_shop(repocache_endpoints) as shop:
        await shop.users.get_many([1, 2, 3])
        await shop.rename(7, "Ada")
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_it_is_entered_once_at_a_time_and_may_be_entered_again(still: Shop) -> None:
    with pytest.raises(UsageError, match="already started: enter it once, and share it") as caught:
        async with still.db:
            raise AssertionError
    assert not isinstance(caught.value, NotStarted)
    assert await still.users.get(7) is not None
    async with open_shop(alone(still)) as shop:
        await shop.rename(7, "first")
    async with shop.db:
        await shop.rename(7, "again")
        assert (await shop.users.require(7)).name == "again"


async def test_entering_in_vain_leaves_nothing_open(repocache_endpoints: Endpoints) -> None:
    before = asyncio.all_tasks()
    db = Database(
        "postgresql+asyncpg://app@127.0.0.1:1/nothing",
        redis=repocache_endpoints.redis,
        repositories=[Users],
    )
    for _ in range(2):
        with pytest.raises(DatabaseUnavailable):
            await db.__aenter__()
    assert asyncio.all_tasks() == before


async def test_other_repositories_than_those_named_are_refused(still: Shop) -> None:
    class Strangers(Repository[User, int]):
        pass

    class Other(Users):
        pass

    remedy = (
        r"is not one of this database's repositories: name it in "
        r"Database\(repositories=\[\.\.\.\]\)"
    )
    for repository in (Strangers, Other):
        with pytest.raises(ConfigurationError, match=f"{repository.__name__} {remedy}"):
            still.db[repository]
        with pytest.raises(ConfigurationError, match=remedy):
            still.db.invalidations(repository)
    for nonsense in (User, "Users", None, 7, still.users):
        with pytest.raises(ConfigurationError, match=remedy):
            still.db[nonsense]  # type: ignore[type-var,index]


async def test_two_databases_with_the_same_repositories(repocache_endpoints: Endpoints) -> None:
    async with open_shop(repocache_endpoints) as one, open_shop(repocache_endpoints) as two:
        assert one.db[Countries] is not two.db[Countries]
        assert one.db[Countries] is one.db[Countries]
        assert await one.db[Countries].get("de") is not None
        assert await two.db[Countries].get("de") is not None


@pytest.mark.parametrize("how", ["unit of work", "plain session", "snapshot"])
async def test_a_connection_that_was_ended_fails_nobody(
    how: str, repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    """As by an idle timeout, whether or not this process has heard of it."""
    name = repocache_endpoints.primary.rpartition("/")[2]
    ended = (
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = "
        f"'{name}' AND usename = 'app'"
    )
    async with open_shop(repocache_endpoints) as shop:
        for number in range(3):
            await shop.rename(7, f"before {number}")
            async with shop.db.snapshot():
                pass
            for server in (repocache_servers.primary, *repocache_servers.replicas):
                server.sql(ended, "postgres")
            if how == "unit of work":
                async with shop.db.unit_of_work() as work:
                    (await work[Users].require(7)).name = f"after {number}"
                    assert (await work.commit()).covered
            elif how == "plain session":
                async with shop.db.sessionmaker.begin() as session:
                    user = await session.get(User, 7)
                    assert user is not None
                    user.name = f"after {number}"
            else:
                async with shop.db.snapshot() as connection:
                    assert (
                        await connection.execute(select(User.name).where(User.id == 8))
                    ).scalar_one() == "n08"
            assert (await shop.users.on_primary().require(8)).name == "n08"


async def test_a_pool_that_is_used_up_is_one_of_our_errors(repocache_endpoints: Endpoints) -> None:
    few = dataclasses.replace(QUICK, pool_size=1, pool_wait=0.05)
    async with open_shop(repocache_endpoints, Settings(topology=few)) as shop:
        async with shop.db.unit_of_work() as work:
            await work[Users].require(7)
            with pytest.raises(
                PoolExhausted, match=r"TopologySettings\(pool_size=\.\.\.\)"
            ) as raised:
                await shop.rename(8, "waits in vain")
            assert isinstance(raised.value, DatabaseUnavailable)
            with pytest.raises(PoolExhausted):
                async with shop.db.sessionmaker() as session:
                    await session.get(User, 8)
        await shop.rename(8, "has its turn")


async def test_nodes_are_told(repocache_endpoints: Endpoints) -> None:
    async with open_shop(repocache_endpoints) as shop:
        primary, *replicas = shop.db.nodes
        assert (primary.name, primary.out) == ("primary", "")
        assert len(replicas) == 2
        assert all(replica.sample is not None for replica in replicas)
