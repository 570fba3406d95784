"""Changes never vanish in silence: a unit of work that is left with some, and without a word on
them, says so."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import (
    Column,
    Integer,
    MetaData,
    Table,
    delete,
    func,
    insert,
    literal,
    select,
    text,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.pool import QueuePool

from repocache.errors import ChangesLost, UsageError
from repocache.transactions.unit_of_work import PrimaryTransaction
from tests.tracking.shop import Post, Shop, posts

Step = Callable[[PrimaryTransaction], Awaitable[object]]

nobodys = Table("nobodys", MetaData(), Column("id", Integer))
"""No owner has its rows."""
MAKE_NOBODYS = text("CREATE TEMPORARY TABLE nobodys (id INTEGER)")


async def add(work: PrimaryTransaction) -> None:
    work.add(Post(id=9))


async def change(work: PrimaryTransaction) -> None:
    (await work.session.get_one(Post, 1)).title = "new"


async def remove(work: PrimaryTransaction) -> None:
    await work.delete(await work.session.get_one(Post, 1))


async def flush(work: PrimaryTransaction) -> None:
    await change(work)
    await work.session.flush()


async def bulk(work: PrimaryTransaction) -> None:
    await work.session.execute(update(Post).values(title="new"))


async def core(work: PrimaryTransaction) -> None:
    await (await work.session.connection()).execute(insert(posts), [{"id": 8}, {"id": 9}])


async def words(work: PrimaryTransaction) -> None:
    await work.session.execute(text("UPDATE post SET title = 'new'"))


async def driver(work: PrimaryTransaction) -> None:
    await (await work.session.connection()).exec_driver_sql("DELETE FROM post")


async def of_nobody(work: PrimaryTransaction) -> None:
    await work.session.execute(MAKE_NOBODYS)
    await work.session.execute(insert(nobodys).values(id=1))


async def declare(work: PrimaryTransaction) -> None:
    work.declare("post", ["post:1"])


async def in_a_savepoint(work: PrimaryTransaction) -> None:
    async with work.savepoint():
        await bulk(work)


async def after_a_savepoint_that_failed(work: PrimaryTransaction) -> None:
    await bulk(work)
    await rolled_back_to_a_savepoint(work)


LOST: dict[str, tuple[Step, str]] = {
    "a new entity": (add, "new Post"),
    "a changed entity": (change, "changed Post"),
    "a deleted entity": (remove, "deleted Post"),
    "a flush": (flush, "what its statements wrote"),
    "a bulk statement": (bulk, "what its statements wrote"),
    "a Core statement": (core, "what its statements wrote"),
    "textual SQL": (words, "what its statements wrote"),
    "the driver's SQL": (driver, "what its statements wrote"),
    "rows that nobody owns": (of_nobody, "what its statements wrote"),
    "declared changes": (declare, "what `changes\\(\\)` declared"),
    "in a savepoint": (in_a_savepoint, "what its statements wrote"),
    "beside a savepoint": (after_a_savepoint_that_failed, "what its statements wrote"),
}


async def nothing(work: PrimaryTransaction) -> None:
    """As it says."""


async def read(work: PrimaryTransaction) -> None:
    assert (await work.session.get_one(Post, 1)).title == "old"
    await work.session.execute(select(func.lower(Post.title)).where(literal(value=True)))
    await work.session.execute(text("SELECT title FROM post"))


async def set_what_it_is(work: PrimaryTransaction) -> None:
    post = await work.session.get_one(Post, 1)
    post.title = "new"
    post.title = "old"


async def add_and_expunge(work: PrimaryTransaction) -> None:
    post = Post(id=9)
    work.add(post)
    work.session.expunge(post)


async def write_no_row(work: PrimaryTransaction) -> None:
    await work.session.execute(delete(Post).where(Post.id == 77))
    await work.session.execute(update(Post).where(Post.title == "none").values(title="new"))


async def rolled_back_to_a_savepoint(work: PrimaryTransaction) -> None:
    with contextlib.suppress(ZeroDivisionError):
        async with work.savepoint():
            await bulk(work)
            await words(work)
            await add(work)
            _ = 1 / 0


async def rolled_back_by_the_session(work: PrimaryTransaction) -> None:
    await flush(work)
    await work.session.rollback()


async def failed_flush(work: PrimaryTransaction) -> None:
    work.add(Post(id=1))
    with pytest.raises(IntegrityError):
        await work.session.flush()


async def failed_commit(work: PrimaryTransaction) -> None:
    work.add(Post(id=1))
    with pytest.raises(IntegrityError):
        await work.commit()


async def lost_connection(work: PrimaryTransaction) -> None:
    await read(work)
    await (await work.session.connection()).invalidate()


INNOCENT: list[Step] = [
    nothing,
    read,
    set_what_it_is,
    add_and_expunge,
    write_no_row,
    rolled_back_to_a_savepoint,
    rolled_back_by_the_session,
    failed_flush,
    failed_commit,
    lost_connection,
]


async def left_after(shop: Shop, *steps: Step) -> None:
    async with shop.unit_of_work() as work:
        for step in steps:
            await step(work)


@pytest.fixture
async def filled(shop: Shop) -> Shop:
    await shop.add(Post(id=1, title="old"))
    return shop


async def titles(shop: Shop) -> list[str]:
    async with shop.plain_session() as session:
        return list((await session.scalars(select(Post.title).order_by(Post.id))).all())


@pytest.mark.parametrize("kind", LOST)
async def test_leaving_with_changes_says_so(filled: Shop, kind: str) -> None:
    step, words = LOST[kind]
    with pytest.raises(
        ChangesLost, match=rf"{words}.*`await work\.commit\(\)`.*`await work\.rollback\(\)`"
    ):
        await left_after(filled, step)
    assert await titles(filled) == ["old"]
    assert filled.notes.published == []


@pytest.mark.parametrize("kind", LOST)
@pytest.mark.parametrize("end", [PrimaryTransaction.commit, PrimaryTransaction.rollback])
async def test_who_ends_it_is_not_told(filled: Shop, kind: str, end: Step) -> None:
    await left_after(filled, LOST[kind][0], end)


@pytest.mark.parametrize("step", INNOCENT)
async def test_who_changed_nothing_is_not_told(filled: Shop, step: Step) -> None:
    await left_after(filled, step)
    assert await titles(filled) == ["old"]


@pytest.mark.parametrize("kind", LOST)
async def test_an_error_that_ends_the_block_is_the_one_that_is_raised(
    filled: Shop, kind: str
) -> None:
    with pytest.raises(ZeroDivisionError):
        await left_after(filled, LOST[kind][0], fail)
    assert await titles(filled) == ["old"]


async def fail(_: PrimaryTransaction) -> None:
    raise ZeroDivisionError


@pytest.mark.parametrize("end", [PrimaryTransaction.commit, PrimaryTransaction.rollback])
async def test_changes_after_its_end_are_lost_too(filled: Shop, end: Step) -> None:
    async def change_then(work: PrimaryTransaction, post: Post) -> None:
        async with work:
            kept = await work.session.get_one(Post, 1)
            await end(work)
            assert kept is not post
            kept.title = "late"

    with pytest.raises(ChangesLost, match="changed Post"):
        await change_then(filled.unit_of_work(), Post())

    async def execute_then(work: PrimaryTransaction) -> None:
        async with work:
            session = work.session
            await end(work)
            await session.execute(update(Post).values(title="late"))

    with pytest.raises(ChangesLost, match="what its statements wrote"):
        await execute_then(filled.unit_of_work())
    assert await titles(filled) == ["old"]


async def test_its_connection_goes_back_clean(postgres: Shop) -> None:
    await postgres.add(Post(id=1, title="old"))
    with pytest.raises(UsageError):
        await left_after(postgres, flush)
    pool = postgres.engine.pool
    assert isinstance(pool, QueuePool)
    assert pool.checkedout() == 0
    await left_after(postgres, bulk, PrimaryTransaction.commit)
    assert await titles(postgres) == ["new"]
