"""What is read while a response is made is recorded: its tags, its version, and whether that is
all that it depends on."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import func, select, text, update

from repocache import Database
from repocache.routing.recording import Recording, Trace
from tests.responses.catalog import (
    Lengths,
    Lines,
    Notes,
    Prices,
    Product,
    Products,
    Review,
    Reviews,
    Stocks,
)
from tests.shop import Shop, until

Read = Callable[[Database], Awaitable[Any]]


async def recorded(shop: Shop, read: Read) -> tuple[Recording, Trace, str]:
    """What it made, its trace, and why it may not be kept."""
    async with shop.db.causal_session(None):
        with shop.db.recording() as recording:
            await read(shop.db)
        trace = recording.trace()
        return recording, trace, shop.db._started.recordings.hindrance(recording, trace)


async def kept(shop: Shop, read: Read) -> Trace:
    """Once nothing hinders, as right after the floors' first settling, and no shape of a select is
    new, which gives others of its table new tokens."""
    found: list[Trace] = []

    async def again() -> bool:
        _, trace, why = await recorded(shop, read)
        found.append(trace)
        return not why and await version(shop, trace) == trace.version

    await until(again, "nothing hinders")
    return found[-1]


async def version(shop: Shop, trace: Trace) -> bytes | None:
    return (await shop.db._started.recordings.check(trace)).version


async def rename(shop: Shop, id: int, name: str) -> None:
    async with shop.db.unit_of_work() as work:
        product = await work[Products].require(id)
        product.name = name
        await work.commit()


async def elsewhere(shop: Shop, id: int, name: str) -> None:
    """In a context of its own, as that of another process is."""
    context = contextvars.Context()
    await asyncio.get_running_loop().create_task(rename(shop, id, name), context=context)


READS: list[tuple[str, Read, set[str]]] = [
    ("get", lambda db: db[Products].get(1), {"product:1"}),
    ("absent", lambda db: db[Products].get(99), {"product:99"}),
    ("get_many", lambda db: db[Products].get_many([1, 2]), {"product:1", "product:2"}),
    ("view", lambda db: db[Products].card.get(3), {"product:3"}),
    ("lookup", lambda db: db[Products].by_sku.get("s2"), {"product-by_sku:s2", "product:2"}),
    ("count", lambda db: db[Products].review_count.get(2), {"product-review_count:2"}),
    (
        "load",
        lambda db: db[Products].get(1, load=[Product.reviews]),
        {"product:1", "product-reviews:1", "review:11", "review:12"},
    ),
]


@pytest.mark.parametrize("name, read, tags", READS, ids=[name for name, _, _ in READS])
async def test_the_keys_of_what_is_read_are_tags(
    catalog: Shop, name: str, read: Read, tags: set[str]
) -> None:
    assert set((await kept(catalog, read)).tags) == tags
    assert set((await kept(catalog, read)).tags) == tags, "from L1 too"


LISTS: list[tuple[str, Read]] = [
    ("find", lambda db: db[Products].find(Product.category == 1)),
    ("page", lambda db: db[Products].page(Product.category == 1, limit=2, total=True)),
    ("count", lambda db: db[Products].count(Product.category == 1)),
    ("rows", lambda db: db[Products].rows(select(Product.name).where(Product.category == 1))),
    ("cached", lambda db: db[Reviews].find(Review.product_id == 1)),
    ("computed", lambda db: db[Lengths].get(1)),
]


@pytest.mark.parametrize("name, read", LISTS, ids=[name for name, _ in LISTS])
async def test_a_list_has_tags_that_its_writers_tell(catalog: Shop, name: str, read: Read) -> None:
    trace = await kept(catalog, read)
    assert trace.tokens
    before = await version(catalog, trace)
    assert before == trace.version
    async with catalog.db.unit_of_work() as work:
        work.add(Product(id=50, sku="s50", name="new", category=1))
        work.add(Review(id=500, product_id=1, text="new"))
        await work.commit()
    assert await version(catalog, trace) != before


@pytest.mark.parametrize("name, read, _", READS, ids=[name for name, _, _ in READS])
async def test_the_version_moves_with_what_was_read(
    catalog: Shop, other: Shop, name: str, read: Read, _: set[str]
) -> None:
    trace = await kept(catalog, read)
    assert await version(other, trace) == trace.version, "the same in another process"
    async with other.db.causal_session(None) as session, other.db.unit_of_work() as work:
        await work.session.execute(
            update(Product).values(name="other", sku=func.concat("t", Product.id))
        )
        await work.session.execute(text("DELETE FROM reviews"))
        work.changes(Reviews)
        work.add(Product(id=99, sku="s99", name="x", category=1))
        await work.commit()
    async with catalog.db.causal_session(session.bookmark):
        assert await version(catalog, trace) != trace.version


async def test_what_is_the_same_again_has_the_same_version(catalog: Shop) -> None:
    trace = await kept(catalog, lambda db: db[Products].get(1))
    await rename(catalog, 1, "x")
    assert await version(catalog, trace) != trace.version
    await rename(catalog, 1, "n1")
    assert await version(catalog, trace) == trace.version


UNKNOWN: list[tuple[str, Read, str]] = [
    ("primary", lambda db: db[Products].on_primary().get(1), "past the caches"),
    ("replica", lambda db: db[Products].on_replica().find(), "past the caches"),
    ("consistent", lambda db: db[Stocks].get(1), "nobody is shown what was before"),
    ("strict", lambda db: db[Prices].get(1), "nobody is shown what was before"),
    ("uncached", lambda db: db[Lines].get(1), "commits tell nobody"),
    ("no insert is told", lambda db: db[Notes].get(7), "an insert tells nobody"),
    (
        "random",
        lambda db: db[Products].rows(select(func.random())),
        "past the caches",
    ),
]


@pytest.mark.parametrize("name, read, why", UNKNOWN, ids=[name for name, _, _ in UNKNOWN])
async def test_what_nobody_tells_of_may_not_be_kept(
    catalog: Shop, name: str, read: Read, why: str
) -> None:
    recording, _, hindrance = await recorded(catalog, read)
    assert hindrance
    assert why in (recording.why_unknown or hindrance)


async def test_sessions_and_units_of_work_may_not_be_kept(catalog: Shop) -> None:
    async def reading(db: Database) -> None:
        async with db.reading() as session:
            await session.scalars(select(Product))

    async def work(db: Database) -> None:
        async with db.unit_of_work() as unit:
            await unit[Products].get(1)

    async def plain(db: Database) -> None:
        async with db.sessionmaker() as session:
            await session.execute(text("SELECT 1"))

    for read in (reading, work, plain):
        recording, _, why = await recorded(catalog, read)
        assert recording.why_unknown == why != ""


async def test_what_changed_meanwhile_may_not_be_kept(catalog: Shop, other: Shop) -> None:
    await kept(catalog, lambda db: db[Products].get(1))
    await elsewhere(other, 4, "the first message says how far the owner's record is")
    await asyncio.sleep(0.2)
    with catalog.db.recording() as recording:
        await catalog.db[Products].get(1)
        await catalog.db[Products].get(2)
        await elsewhere(other, 3, "another")
        await asyncio.sleep(0.2)
        hindrance = catalog.db._started.recordings.hindrance
        assert not hindrance(recording, recording.trace()), "nobody has read it"
        await elsewhere(other, 1, "x")
        await until(lambda: hindrance(recording, recording.trace()) != "", "the message has come")
    assert "changed meanwhile" in hindrance(recording, recording.trace())


async def test_two_answers_of_one_key_are_no_version(catalog: Shop) -> None:
    with catalog.db.recording() as recording:
        await catalog.db[Products].get(1)
        await rename(catalog, 1, "x")
        await catalog.db[Products].get(1)
    assert "has changed meanwhile" in recording.why_behind


async def test_two_answers_of_one_select_are_no_version(catalog: Shop) -> None:
    """Of a count: no row tells that it has changed."""
    with catalog.db.recording() as recording:
        before = await catalog.db[Products].count(Product.category == 1)
        async with catalog.db.unit_of_work() as work:
            work.add(Product(id=90, sku="s90", name="n", category=1))
            await work.commit()
        assert await catalog.db[Products].count(Product.category == 1) == before + 1
    assert "has changed meanwhile" in recording.why_behind


async def test_sessions_and_tasks_within_are_recorded_and_later_ones_not(catalog: Shop) -> None:
    db = catalog.db

    async def later() -> None:
        await go.wait()
        await db[Products].get(3)

    go = asyncio.Event()
    with db.recording() as recording:
        async with db.causal_session(None):
            await db[Products].get(1)
        await asyncio.create_task(_get(db, 2))
        task = asyncio.create_task(later())
    go.set()
    await task
    await db[Products].get(4)
    assert set(recording.trace().tags) == {"product:1", "product:2"}


async def _get(db: Database, id: int) -> None:
    await db[Products].get(id)


async def test_recordings_side_by_side_keep_apart(catalog: Shop) -> None:
    db = catalog.db

    async def one(id: int) -> frozenset[str]:
        with db.recording() as recording:
            await asyncio.sleep(0)
            await db[Products].get(id)
            await asyncio.sleep(0.01)
            await db[Products].get(id + 1)
        return recording.trace().tags

    async with db.causal_session(None):
        found = await asyncio.gather(one(1), one(3), one(5))
    assert [set(each) for each in found] == [
        {f"product:{id}", f"product:{id + 1}"} for id in (1, 3, 5)
    ]


async def test_more_than_is_remembered_is_not_known(
    catalog: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("repocache.routing.recording.MOST_READ", 3)
    recording, trace, _ = await recorded(catalog, lambda db: db[Products].get_many([1, 2, 3, 4]))
    assert "more than 3 rows" in recording.why_unknown
    assert not trace.tags


async def test_what_another_database_gives_is_not_known(catalog: Shop, other: Shop) -> None:
    reads: list[Read] = [lambda db: db[Products].get(1), lambda db: db[Products].find()]
    for read in reads:
        for _ in range(2):
            with catalog.db.recording() as recording:
                await read(other.db)
            assert "another database" in recording.why_unknown
            assert not recording.trace().tags
