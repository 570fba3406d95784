"""One event loop after the other, and two at once: a module-level database, one loop a test, jobs,
threads."""

from __future__ import annotations

import asyncio
import gc
import warnings
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import select

from repocache import Changed, ChangedAll, Database, Settings, UsageError
from repocache.errors import OtherLoop
from repocache.events import TaskFailed
from repocache.testing import Endpoints
from tests.shop import QUICK, REPOSITORIES, Seen, User, Users, until

LONG = 30.0


def made(endpoints: Endpoints, seen: Seen | None = None) -> Database:
    """As a module has it: no loop runs yet."""
    return Database(
        endpoints.primary,
        replicas=endpoints.replicas,
        redis=endpoints.redis or None,
        repositories=REPOSITORIES,
        settings=Settings(topology=QUICK, observe=seen if seen is not None else Seen()),
    )


def in_new_loop(work: Coroutine[Any, Any, Any]) -> Any:
    async def in_time() -> Any:
        async with asyncio.timeout(LONG):
            return await work

    return asyncio.run(in_time())


async def everything(db: Database, name: str) -> None:
    """Reads of every tier, both ways of writing, a session, a snapshot, a feed."""
    async with db.invalidations(Users) as changes:
        assert isinstance(await anext(changes), ChangedAll)
        async with db.causal_session() as session:
            async with db.unit_of_work() as work:
                (await work[Users].require(7)).name = name
                bookmark = await work.commit()
            assert bookmark.covered
            assert bookmark.position
            assert (await db[Users].require(7)).name == name
            assert (await db[Users].find(User.id == 7))[0].name == name
            async with db.snapshot() as connection:
                assert (
                    await connection.execute(select(User.name).where(User.id == 7))
                ).scalar_one() == name
        async with db.causal_session(session.encode()):
            assert (await db[Users].require(7)).name == name
        change = await anext(changes)
        while isinstance(change, ChangedAll):
            change = await anext(changes)
        assert isinstance(change, Changed)
        assert change.ids == (7,)
    async with db.sessionmaker.begin() as plain:
        user = await plain.get(User, 8)
        assert user is not None
        user.name = name
    assert (await db[Users].on_primary().require(8)).name == name
    assert not (await db.verify(samples=20, within=0.1)).wrong
    busy = await asyncio.gather(*(db[Users].on_primary().get(id) for id in range(1, 41)))
    assert None not in busy


def test_a_database_is_entered_in_one_loop_after_the_other(repocache_endpoints: Endpoints) -> None:
    seen = Seen()
    db = made(repocache_endpoints, seen)

    async def job(name: str) -> None:
        async with db:
            await everything(db, name)

    for number in range(4):
        in_new_loop(job(f"job {number}"))
    assert not seen.of(TaskFailed)


def in_a_loop_that_is_closed_at_once(work: Coroutine[Any, Any, Any]) -> None:
    """A function of its own: a loop that is still named by its test holds the tasks that it left,
    and they complain when the test is long over."""
    loop = asyncio.new_event_loop()
    loop.run_until_complete(work)
    loop.close()


@contextmanager
def without_complaints() -> Iterator[None]:
    """Whoever closes a loop without leaving drops open sockets, and Python says so when they are
    collected."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
        gc.collect()


@pytest.mark.parametrize("how", ["asyncio.run", "a loop that is closed at once"])
def test_a_loop_that_was_closed_without_leaving_is_no_hindrance(
    how: str, repocache_endpoints: Endpoints, caplog: pytest.LogCaptureFixture
) -> None:
    db = made(repocache_endpoints)

    async def leaves_nothing() -> None:
        await db.__aenter__()
        await everything(db, "lost")

    async def job(name: str) -> None:
        with pytest.raises(UsageError):
            db.unit_of_work()
        async with db:
            await everything(db, name)

    with without_complaints():
        if how == "asyncio.run":
            in_new_loop(leaves_nothing())
        else:
            in_a_loop_that_is_closed_at_once(leaves_nothing())
        assert "asynchronous generator" not in caplog.text, "its parts do not end each other"
        in_new_loop(job("found"))
        in_new_loop(job("and again"))


# Coroutines that are collected cannot end in a loop that is closed, and Python says so.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_nodes_of_a_closed_loop_are_kept_by_nobody(repocache_endpoints: Endpoints) -> None:
    """Else their tasks complain when the process ends."""
    with without_complaints():
        nodes = nodes_of_a_closed_loop(repocache_endpoints)
    assert [node() for node in nodes] == [None, None]


def nodes_of_a_closed_loop(endpoints: Endpoints) -> list[weakref.ref[Any]]:
    """Of a database that was entered again since. A function of its own: what it leaves is
    collected here, and complains of nothing in the next test."""
    db = made(endpoints)
    nodes = [weakref.ref(each) for each in db._topology._replicas]

    async def enters() -> None:
        await db.__aenter__()

    async def enters_again() -> None:
        async with db:
            assert not {id(node()) for node in nodes} & set(map(id, db._topology._replicas))

    in_a_loop_that_is_closed_at_once(enters())
    in_new_loop(enters_again())
    return nodes


def test_leaving_what_a_closed_loop_entered_forgets_it(repocache_endpoints: Endpoints) -> None:
    db = made(repocache_endpoints)

    async def enters() -> None:
        await db.__aenter__()

    async def leaves() -> None:
        await db.__aexit__(None, None, None)
        with pytest.raises(UsageError, match="not started"):
            db[Users]
        async with db:
            await everything(db, "again")

    with without_complaints():
        in_new_loop(enters())
        in_new_loop(leaves())


async def _snapshot(db: Database) -> None:
    async with db.snapshot():
        raise AssertionError


async def _declare(db: Database) -> None:
    async with db.sessionmaker() as session:
        await db.changes(session, Users, [7])


async def _enter(db: Database) -> None:
    async with db:
        raise AssertionError


async def _leave(db: Database) -> None:
    await db.__aexit__(None, None, None)


async def _session(db: Database) -> None:
    async with db.causal_session():
        raise AssertionError


async def _work(db: Database) -> None:
    async with db.unit_of_work():
        raise AssertionError


async def _feed(db: Database) -> None:
    async with db.invalidations(Users):
        raise AssertionError


USES: dict[str, Callable[[Database], Awaitable[Any]]] = {
    "get": lambda db: db[Users].get(50),
    "get_many": lambda db: db[Users].get_many([50, 51]),
    "view": lambda db: db[Users].card.get(52),
    "find": lambda db: db[Users].find(),
    "on_primary": lambda db: db[Users].on_primary().get(53),
    "strict": lambda db: db[Users].on_replica().get(53),
    "unit_of_work": _work,
    "causal_session": _session,
    "snapshot": _snapshot,
    "invalidations": _feed,
    "verify": lambda db: db.verify(samples=1, within=0.1),
    "changes": _declare,
    "enter": _enter,
    "leave": _leave,
}


async def in_a_thread(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """In a loop of its own, while this one goes on."""
    return await asyncio.to_thread(lambda: asyncio.run(work()))


@pytest.mark.parametrize("name", USES)
async def test_another_threads_loop_is_told_and_disturbs_nobody(
    name: str, repocache_endpoints: Endpoints
) -> None:
    seen = Seen()
    async with made(repocache_endpoints, seen) as db:
        stop = asyncio.Event()

        async def reads() -> int:
            count = 0
            while not stop.is_set():
                assert await db[Users].on_primary().get(1) is not None
                assert len(await db[Users].get_many([2, 3])) == 2
                count += 1
            return count

        async def abroad() -> None:
            for _ in range(5):
                with pytest.raises(OtherLoop, match="another event loop"):
                    await USES[name](db)

        reading = [asyncio.create_task(reads()) for _ in range(4)]
        async with asyncio.timeout(LONG):
            await in_a_thread(abroad)
            stop.set()
            assert all(await asyncio.gather(*reading))
        await everything(db, "undisturbed")
    assert not seen.of(TaskFailed)


async def test_what_was_made_here_is_refused_there(repocache_endpoints: Endpoints) -> None:
    """Sessions, units of work, feeds and connections are had in one loop and used in another."""
    async with made(repocache_endpoints) as db:
        await everything(db, "here")
        sessions, work, feed = db.sessionmaker, db.unit_of_work(), db.invalidations(Users)
        users = db[Users]

        async def abroad() -> None:
            async with sessions() as session:
                with pytest.raises(OtherLoop):
                    await session.get(User, 7)
            async with work:
                with pytest.raises(OtherLoop):
                    await work[Users].get(7)
            with pytest.raises(OtherLoop):
                await feed.__aenter__()
            with pytest.raises(OtherLoop):
                await users.get(59)
            assert await users.get(7) is not None, "L1 answers in any thread"

        await users.get(7)
        await until(lambda: users._peek(7) is not None, "it is in L1")
        async with asyncio.timeout(LONG):
            await in_a_thread(abroad)
        await everything(db, "still here")


async def test_where_no_loop_runs_the_database_may_be_handed_on(
    repocache_endpoints: Endpoints,
) -> None:
    """As a dependency does that a framework calls in a thread."""
    async with made(repocache_endpoints) as db:
        users, work = await asyncio.to_thread(lambda: (db[Users], db.unit_of_work()))
        assert await users.get(7) is not None
        async with work:
            assert await work[Users].get(7) is not None


async def test_a_call_may_be_handed_over_to_the_loop(repocache_endpoints: Endpoints) -> None:
    async with made(repocache_endpoints) as db:
        home, names = asyncio.get_running_loop(), list[str]()

        def abroad() -> None:
            names.append(
                asyncio.run_coroutine_threadsafe(db[Users].require(7), home).result(LONG).name
            )

        await asyncio.to_thread(abroad)
        assert names == ["n07"]


async def test_a_sampler_that_died_is_told_of_and_goes_on(repocache_endpoints: Endpoints) -> None:
    """Whoever cancels every task, as some frameworks do at the end of a request, stops no commit
    and no read."""
    seen = Seen()
    async with made(repocache_endpoints, seen) as db:
        await everything(db, "before")
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        async with asyncio.timeout(LONG):
            async with db.unit_of_work() as work:
                (await work[Users].require(7)).name = "meanwhile"
                await work.commit()
            assert (await db[Users].on_primary().require(7)).name == "meanwhile"
        died = {event.task for event in seen.of(TaskFailed)}
        assert {"Primary._poll", "ReplicaNode._poll", "PublishRetry.run"} <= died
        await until(lambda: not any(node.out for node in db.nodes), "all nodes are in the rotation")
        await until(lambda: db._started.cache.shared.views.alive, "the link is up")
        await everything(db, "after")


async def test_two_loops_do_not_enter_one_database(repocache_endpoints: Endpoints) -> None:
    """Nor two tasks of one, also while the first is still on its way."""
    db = made(repocache_endpoints)
    first = asyncio.create_task(db.__aenter__())
    await asyncio.sleep(0)
    with pytest.raises(UsageError, match="already started: enter it once, and share it"):
        await db.__aenter__()
    with pytest.raises(OtherLoop):
        await in_a_thread(lambda: _enter(db))
    await first
    try:
        await everything(db, "one")
    finally:
        await db.__aexit__(None, None, None)


def test_leaving_under_load_leaves_nothing_to_the_next_loop(repocache_endpoints: Endpoints) -> None:
    """Whoever waits for a connection, for a place at the primary, or for a poll, when it is
    left."""
    db = made(repocache_endpoints)

    async def job() -> list[Any]:
        async with db:
            reads: list[Any] = [
                asyncio.ensure_future(db[Users].on_primary().find()) for _ in range(60)
            ]
            reads += [asyncio.ensure_future(db[Users].get(id)) for id in range(1, 60)]
            await asyncio.sleep(0.01)
        return await asyncio.gather(*reads, return_exceptions=True)

    for _ in range(3):
        assert len(in_new_loop(job())) == 119

    async def calm() -> None:
        async with db:
            await everything(db, "calm")

    in_new_loop(calm())
