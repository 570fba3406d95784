"""The unit of work: commits by a word, keeps cached entities out, and leaves entities readable."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import inspect, select, text
from sqlalchemy.exc import IllegalStateChangeError, IntegrityError, InvalidRequestError
from sqlalchemy.orm import Session, make_transient_to_detached, selectinload

from repocache.errors import CachedEntityRefused, ChangesLost, CommitOutcomeUnknown, UsageError
from repocache.events import HookFailed
from repocache.transactions import tracked_session, unit_of_work
from repocache.transactions.cached_marker import ToldState
from repocache.transactions.tracked_session import TrackedSession
from repocache.transactions.unit_of_work import NOTHING_WRITTEN, PrimaryTransaction
from tests.tracking.shop import Base, Engineer, Folder, Order, Paper, Post, Shop, User


def cached(entity: Base, prefix: str = "user") -> Any:
    """As it comes from a cache: detached, clean, marked."""
    manager = inspect(type(entity)).class_manager
    state = ToldState(entity, manager)  # a change of it is no matter of these tests
    manager.setup_instance(entity, state)
    make_transient_to_detached(entity)
    state.owner = prefix
    return entity


async def test_a_commit_gives_the_bookmark_of_its_publication(shop: Shop) -> None:
    async with shop.unit_of_work() as work:
        work.add(Post(id=1))
        bookmark = await work.commit()
    assert bookmark.history == "history"
    assert shop.keys == {"post:1"}


async def test_a_commit_that_changed_nothing_gives_a_bookmark_that_says_nothing(shop: Shop) -> None:
    async with shop.unit_of_work() as work:
        await work.session.execute(select(Post))
        assert await work.commit() is NOTHING_WRITTEN
    async with shop.unit_of_work() as work:
        assert await work.commit() is NOTHING_WRITTEN


async def fail(work: PrimaryTransaction) -> None:
    async with work:
        work.add_all([Post(id=2)])
        await work.session.flush()
        raise ZeroDivisionError


async def leave(work: PrimaryTransaction) -> None:
    async with work:
        work.add(Post(id=1))
        await work.session.flush()


async def test_without_a_commit_it_rolls_back(shop: Shop) -> None:
    with pytest.raises(ChangesLost):
        await leave(shop.unit_of_work())
    with pytest.raises(ZeroDivisionError):
        await fail(shop.unit_of_work())
    async with shop.unit_of_work() as work:
        work.add(Post(id=3))
        await work.session.flush()
        await work.rollback()
    assert shop.notes.published == []
    async with shop.plain_session() as session:
        assert (await session.scalars(select(Post))).all() == []


@pytest.mark.parametrize("end", ["commit", "rollback", "leave"])
async def test_after_its_end_it_is_of_no_use(shop: Shop, end: str) -> None:
    async with shop.unit_of_work() as work:
        if end != "leave":
            await getattr(work, end)()
            with pytest.raises(UsageError, match="open a new one"):
                work.add(Post())
    for use in (
        lambda: work.session,
        lambda: work.add(Post()),
        work.savepoint,
        lambda: work.before_commit(work.rollback),
    ):
        with pytest.raises(UsageError, match="open a new one"):
            use()
    with pytest.raises(UsageError):
        await work.commit()
    with pytest.raises(UsageError, match="entered before"):
        await work.__aenter__()
    with pytest.raises(UsageError, match="async with"):
        _ = shop.unit_of_work().session


async def fail_in_savepoint(work: PrimaryTransaction) -> None:
    async with work.savepoint():
        await work.delete(await work.session.get_one(Post, 2))
        work.declare("post", ["post:8"])
        async with work.savepoint():
            work.add(Post(id=3))
        raise ZeroDivisionError


async def test_deleting_and_savepoints(shop: Shop) -> None:
    await shop.add(Post(id=1), Post(id=2))
    async with shop.unit_of_work() as work:
        await work.delete(await work.session.get_one(Post, 1))
        with pytest.raises(ZeroDivisionError):
            await fail_in_savepoint(work)
        async with work.savepoint():
            work.declare("post", ["post:9"])
        await work.commit()
    # What was declared counts wherever it was said: rather too much than too little.
    assert shop.keys == {"post:1", "post:8", "post:9"}


async def test_two_side_by_side_are_independent(postgres: Shop) -> None:
    async with postgres.unit_of_work() as one, postgres.unit_of_work() as other:
        one.add(Post(id=1))
        other.add(Post(id=2))
        await one.session.flush()
        await other.commit()
        assert postgres.keys == {"post:2"}
        await one.rollback()
    assert postgres.keys == {"post:2"}


async def test_many_at_once_are_independent(postgres: Shop) -> None:
    async def write(id: int) -> int | None:
        async with postgres.unit_of_work() as work:
            work.add(Post(id=id))
            await work.session.flush()
            if id % 2:
                return (await work.commit()).position
            await work.rollback()
        return None

    positions = await asyncio.gather(*map(write, range(1, 7)))
    assert {published.keys for published in postgres.notes.published} == {
        frozenset({f"post:{n}"}) for n in (1, 3, 5)
    }
    assert positions[1::2] == [None] * 3


async def test_one_for_two_tasks_is_sqlalchemys_error(postgres: Shop) -> None:
    async with postgres.unit_of_work() as work:
        work.add_all([Post(id=1), User(email="a")])
        ends = await asyncio.gather(
            work.session.flush(), work.session.flush(), return_exceptions=True
        )
        await work.rollback()
    errors = [end for end in ends if end is not None]
    assert errors
    assert all(isinstance(error, InvalidRequestError | IllegalStateChangeError) for error in errors)


async def test_values_that_the_database_made_can_be_read_after_the_commit(shop: Shop) -> None:
    await shop.add(
        *(User(id=number, email=str(number)) for number in range(11, 14)),
        Engineer(id=1, language="x"),
    )
    async with shop.unit_of_work() as work:
        users = (await work.session.scalars(select(User).order_by(User.id))).all()
        engineer = await work.session.get_one(Engineer, 1)
        new = User(email="new")
        for user in users:
            user.name = "Ada"
        users[0].logins = User.logins + 5
        engineer.name = "Grace"
        work.add(new)
        await work.commit()
        assert new.id is not None
        assert [user.name for user in users] == ["Ada"] * 3
        assert users[0].logins == 5
        for user in users:
            assert user.updated_at is not None
            assert abs(datetime.now(UTC).replace(tzinfo=None) - user.updated_at).days <= 1
    assert users[0].updated_at is not None


async def test_generated_values_of_many_are_fetched_together(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unit_of_work, "_AT_ONCE", 2)
    await shop.add(*(User(id=number, email=str(number)) for number in range(1, 6)))
    await shop.add(*(Order(tenant=1, number=number) for number in range(1, 6)))
    async with shop.unit_of_work() as work:
        users = (await work.session.scalars(select(User))).all()
        orders = (await work.session.scalars(select(Order))).all()
        for user in users:
            user.name = "Ada"
        await work.session.flush()
        for order in orders:
            work.session.expire(order)
        await work.commit()
        assert all(user.updated_at for user in users)
        assert [order.number for order in orders] == [1, 2, 3, 4, 5]


async def test_changes_that_are_loaded_are_not_overwritten_by_fetching(shop: Shop) -> None:
    await shop.add(User(id=1, email="a"), Post(id=1))
    async with shop.unit_of_work() as work:
        user = await work.session.get_one(User, 1, options=[selectinload(User.posts)])
        user.name = "Ada"
        await work.session.flush()
        await work.session.execute(text("UPDATE account SET name = 'Bob'"))
        await work.commit()
        assert user.name == "Ada"
        assert user.posts == []


async def test_hooks_run_in_order_around_the_commit(shop: Shop) -> None:
    told: list[str] = []

    async with shop.unit_of_work() as work:

        async def first() -> None:
            assert shop.notes.published == []
            told.append("first")
            work.add(Post(id=2))
            work.before_commit(third)

        async def second() -> None:
            told.append("second")

        async def third() -> None:
            told.append("third")

        async def after() -> None:
            assert shop.keys == {"post:1", "post:2"}
            told.append("after")

        async def broken() -> None:
            raise ZeroDivisionError

        work.add(Post(id=1))
        for before in (first, second):
            work.before_commit(before)
        for hook in (broken, after):
            work.after_commit(hook)
        await work.commit()
    assert told == ["first", "second", "third", "after"]
    (failed,) = shop.events
    assert isinstance(failed, HookFailed)
    assert "broken" in failed.hook
    assert "ZeroDivisionError" in failed.why


async def test_a_hook_before_the_commit_may_prevent_it(shop: Shop) -> None:
    ran: list[str] = []

    async def refuse() -> None:
        raise ZeroDivisionError

    async def after() -> None:
        ran.append("after")

    async with shop.unit_of_work() as work:
        work.add(Post(id=1))
        work.before_commit(refuse)
        work.after_commit(after)
        with pytest.raises(ZeroDivisionError):
            await work.commit()
        with pytest.raises(UsageError, match="error"):
            await work.commit()
    assert shop.notes.published == []
    assert ran == []


async def test_a_commit_that_fails_rolls_back(shop: Shop) -> None:
    await shop.add(Post(id=1))
    async with shop.unit_of_work() as work:
        work.add_all([Order(tenant=1, number=1), Post(id=1)])
        with pytest.raises(IntegrityError):
            await work.commit()
    assert shop.notes.published == []


async def test_an_unknown_outcome_is_raised(postgres: Shop) -> None:
    async with postgres.unit_of_work() as work:
        work.add(Post(id=1, title="58030"))
        with pytest.raises(CommitOutcomeUnknown):
            await work.commit()
    assert len(postgres.notes.published) == 1


async def test_cancelled_while_it_publishes(postgres: Shop) -> None:
    postgres.notes.open.clear()

    async def write() -> None:
        async with postgres.unit_of_work() as work:
            work.add(Post(id=1))
            await work.commit()

    task = asyncio.create_task(write())
    await postgres.notes.begun.wait()
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    postgres.notes.open.set()
    await postgres.settled()
    assert postgres.keys == {"post:1"}


async def test_a_cached_entity_is_refused_with_the_way_to_do_it(shop: Shop) -> None:
    async with shop.unit_of_work() as work:
        with pytest.raises(CachedEntityRefused, match=r"'user'.*work\[Users\]\.require\(7\)"):
            work.add(cached(User(id=7)))
        with pytest.raises(CachedEntityRefused, match=r"require\(\(1, 2\)\)"):
            work.add(cached(Order(tenant=1, number=2), "order"))


async def refused_by_delete(work: PrimaryTransaction, user: User) -> None:
    await work.delete(user)


async def refused_by_add_all(work: PrimaryTransaction, user: User) -> None:
    work.add_all([user])


async def refused_by_merge(work: PrimaryTransaction, user: User) -> None:
    await work.session.merge(user)


async def refused_by_merge_without_load(work: PrimaryTransaction, user: User) -> None:
    await work.session.merge(user, load=False)


async def refused_by_a_merged_graph(work: PrimaryTransaction, user: User) -> None:
    draft = Post(id=1, title="half")
    draft.user = user
    await work.session.merge(draft)


async def refused_by_cascade_when_added(work: PrimaryTransaction, user: User) -> None:
    work.add(Post(id=1, user=user))


async def refused_by_cascade_when_set(work: PrimaryTransaction, user: User) -> None:
    post = Post(id=1)
    work.add(post)
    try:
        post.user = user
    finally:
        work.session.expunge(post)


async def refused_by_a_bulk_save(work: PrimaryTransaction, user: User) -> None:
    await work.session.run_sync(lambda session: session.bulk_save_objects([user]))


@pytest.mark.parametrize(
    "use",
    [
        refused_by_delete,
        refused_by_add_all,
        refused_by_merge,
        refused_by_merge_without_load,
        refused_by_a_merged_graph,
        refused_by_cascade_when_added,
        refused_by_cascade_when_set,
        refused_by_a_bulk_save,
    ],
)
async def test_a_cached_entity_is_no_base_of_a_write(sqlite: Shop, use: Any) -> None:
    await sqlite.add(User(id=7, email="new"))
    async with sqlite.unit_of_work() as work:
        with pytest.raises(CachedEntityRefused):
            await use(work, cached(User(id=7, email="old")))
        assert await work.session.scalar(select(User.email)) == "new"
        work.session.expunge_all()
        await work.commit()
    assert sqlite.notes.published == []


async def test_a_refused_graph_is_not_half_merged(sqlite: Shop) -> None:
    await sqlite.add(Post(id=1, title="old"))
    async with sqlite.unit_of_work() as work:
        post = Post(id=1, title="half")
        post.user = cached(User(id=7, email="old"))
        with pytest.raises(CachedEntityRefused):
            await work.session.merge(post)
        await work.commit()
    assert sqlite.notes.published == []


async def test_merge_all_refuses_the_lot(sqlite: Shop) -> None:
    async with sqlite.unit_of_work() as work:
        if not hasattr(work.session, "merge_all"):
            pytest.skip("SQLAlchemy 2.0 has none")
        with pytest.raises(CachedEntityRefused):
            await work.session.merge_all([Post(id=1), cached(User(id=7))])
        assert len(await work.session.merge_all([Folder(id=1), Folder(id=2)])) == 2
        await work.commit()
    assert sqlite.keys == {"folder:1", "folder:2"}


def test_what_the_session_has_is_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[object] = []
    monkeypatch.setattr(tracked_session, "cached_by", looked.append)
    for add in (
        TrackedSession.add_all,
        lambda session, posts: [session.add(post) for post in posts],
    ):
        looked.clear()
        user = User(email="a", posts=[Post() for _ in range(200)])
        with TrackedSession() as session:
            add(session, user.posts)
            assert len(session.new) == 201
        # Each before the graph is added, when it is attached, and when it is added itself.
        assert len(looked) <= 4 * 201


def test_merged_graphs_are_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(TrackedSession, "merge_all"):
        pytest.skip("SQLAlchemy 2.0 has none")
    looked: list[object] = []
    monkeypatch.setattr(tracked_session, "cached_by", looked.append)
    monkeypatch.setattr(Session, "merge_all", lambda *_, **__: [])
    user = User(email="a", posts=[Post() for _ in range(200)])
    with TrackedSession() as session:
        session.merge_all(user.posts)
    assert len(looked) <= 2 * 201


def test_a_session_has_the_public_names_of_sqlalchemys_alone() -> None:
    public = {name for name in dir(TrackedSession) if not name.startswith("_")}
    assert public == {name for name in dir(Session) if not name.startswith("_")}


async def test_other_entities_are_merged_as_ever(sqlite: Shop) -> None:
    await sqlite.add(Folder(id=1, name="old"), Paper(id=1, folder_id=1))
    async with sqlite.unit_of_work() as work:
        merged = await work.session.merge(Folder(id=1, name="new"))
        assert merged in work.session
        await work.commit()
    assert sqlite.keys == {"folder:1"}


async def test_strange_things_are_sqlalchemys_errors(sqlite: Shop) -> None:
    async with sqlite.unit_of_work() as work:
        for use in (work.session.merge, work.delete):
            with pytest.raises(InvalidRequestError):
                await use("text")
        with pytest.raises(InvalidRequestError):
            work.add("text")


async def test_only_the_unit_of_work_commits_itself(sqlite: Shop) -> None:
    async with sqlite.unit_of_work() as work:
        work.add(Post(id=1))
        work.declare("order", None)
        with pytest.raises(UsageError, match=r"work\.commit"):
            await work.session.commit()
        with pytest.raises(UsageError, match=r"work\.savepoint"):
            async with work.session.begin():
                pass
        async with work.session.begin_nested():
            work.add(Post(id=2))
        await work.commit()
    assert sqlite.keys == {"post:1", "post:2", "order:*"}
