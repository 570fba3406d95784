"""What a transaction shows to whom, and when: nothing before COMMIT, everything when `commit()`
returns."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

import pytest
from sqlalchemy import text, update
from sqlalchemy.exc import IntegrityError

from repocache.events import HookFailed, Published
from repocache.testing import Endpoints, Servers
from tests.known_defects.shops import PATIENT, heard, in_l1, names
from tests.shop import Shop, User, Users, open_shop, until
from tests.tcp_proxy import TcpProxy


async def test_what_is_not_committed_is_in_no_cache(shop: Shop, other: Shop) -> None:
    """Defect 4: a read after a flush put the row into the shared cache, and a rollback left it
    there."""
    async with shop.db.unit_of_work() as work:
        (await work[Users].require(7)).name = "never"
        work.add(User(id=100, name="never", age=1))
        await work.session.flush()
        assert (await work[Users].require(7)).name == "never"
        assert list(await work[Users].get_many([7, 100])) == [7, 100]
        card = await work[Users].card.get(7)
        assert card is not None
        assert card.name == "never"
        assert await names(shop, 7, 100) == ["n07"]
        await work.rollback()
    async with shop.db.sessionmaker() as session:
        await session.execute(update(User).where(User.id == 8).values(name="never"))
        assert (await session.get_one(User, 8)).name == "never"
        assert await names(shop, 8) == ["n08"]
        await session.rollback()
    for each in (shop, other):
        assert await names(each, 7, 8, 100) == ["n07", "n08"]


async def test_a_transaction_reads_its_own_writes(shop: Shop) -> None:
    """Defect 4: a read right after the update in the same transaction brought the old cached
    row."""
    await in_l1(shop, 7, 8, 9)
    async with shop.db.unit_of_work() as work:
        (await work[Users].require(7)).name = "Ada"
        await work.session.execute(update(User).where(User.id == 8).values(name="Bob"))
        await work.session.execute(text("UPDATE users SET name = 'Cy' WHERE id = 9"))
        found = await work[Users].get_many([7, 8, 9])
        assert [user.name for user in found.values()] == ["Ada", "Bob", "Cy"]
        assert (await work[Users].require(8)).name == "Bob"
        cards = await work[Users].card.get_many([7, 8, 9])
        assert [card.name for card in cards.values()] == ["Ada", "Bob", "Cy"]
        await work.rollback()


async def test_a_released_savepoint_invalidates_nothing_before_the_commit(
    shop: Shop, other: Shop
) -> None:
    """Defect 5: the release of a savepoint invalidated, the commit did not, and a reader between
    them stored the old row for good."""
    for each in (shop, other):
        await in_l1(each, 7, 8)
    async with shop.db.unit_of_work() as work:
        async with work.savepoint():
            (await work[Users].require(7)).name = "Ada"
        assert not shop.seen.of(Published)
        assert await names(other, 7) == ["n07"]
        await work.commit()
    async with shop.db.sessionmaker() as session:
        async with session.begin_nested():
            (await session.get_one(User, 8)).name = "Bob"
        assert len(shop.seen.of(Published)) == 1
        assert await names(other, 8) == ["n08"]
        await session.commit()
    assert [event.keys for event in shop.seen.of(Published)] == [1, 1]
    await heard(other)
    for each in (shop, other):
        assert await names(each, 7, 8) == ["Ada", "Bob"]


async def test_a_savepoint_that_is_rolled_back_takes_only_its_own_changes(
    shop: Shop, other: Shop
) -> None:
    """Defect 5: the rollback of an inner savepoint dropped the outer transaction's pending
    invalidations."""
    await in_l1(other, 7, 8, 9, 10)
    async with shop.db.unit_of_work() as work:
        (await work[Users].require(7)).name = "Ada"
        await work.session.flush()
        with contextlib.suppress(ZeroDivisionError):
            async with work.savepoint():
                (await work[Users].require(8)).name = "never"
                await work.session.flush()
                _ = 1 / 0
        await work.commit()
    async with shop.db.sessionmaker() as session:
        await session.execute(update(User).where(User.id == 9).values(name="Cy"))
        inner = await session.begin_nested()
        await session.execute(update(User).where(User.id == 10).values(name="never"))
        await inner.rollback()
        await session.commit()
    assert [event.keys for event in shop.seen.of(Published)] == [1, 1]
    await heard(other)
    assert await names(other, 7, 8, 9, 10) == ["Ada", "n08", "Cy", "n10"]


async def test_commit_returns_after_the_invalidation(shop: Shop, other: Shop) -> None:
    """Defect 6: `commit()` returned before its invalidation, and the next read of the same request
    was old."""
    for each in (shop, other):
        await in_l1(each, 7, 8)
    await shop.rename(7, "Ada")
    assert shop.users._peek(7) is None
    async with shop.db.sessionmaker() as session:
        (await session.get_one(User, 8)).name = "Bob"
        await session.commit()
        assert shop.users._peek(8) is None
    assert [event.keys for event in shop.seen.of(Published)] == [1, 1]
    await heard(other)
    assert (other.users._peek(7), other.users._peek(8)) == (None, None)
    for each in (shop, other):
        assert await names(each, 7, 8) == ["Ada", "Bob"]


async def test_a_caller_that_gives_up_during_the_commit_loses_no_invalidation(
    repocache_endpoints: Endpoints, other: Shop
) -> None:
    """Defect 6: the invalidation was a task of nobody's, lost with whoever had begun it."""
    await in_l1(other, 7)
    async with (
        TcpProxy(repocache_endpoints.redis) as proxy,
        open_shop(replace(repocache_endpoints, redis=proxy.url), PATIENT) as shop,
    ):
        invalidation = proxy.trap(b"EVALSHA")
        caller = asyncio.ensure_future(shop.rename(7, "Ada"))
        held = await invalidation
        caller.cancel()
        held.deliver()
        with contextlib.suppress(asyncio.CancelledError):
            await caller
        await until(lambda: len(shop.seen.of(Published)) == 1, "it is published")
    await heard(other)
    assert await names(other, 7) == ["Ada"]


async def test_a_process_that_ends_after_its_commit_loses_no_invalidation(
    repocache_endpoints: Endpoints, other: Shop
) -> None:
    """Defect 6: a process that ended lost what its last commit was still to invalidate."""
    await in_l1(other, 7)
    async with TcpProxy(repocache_endpoints.redis) as proxy:
        async with open_shop(replace(repocache_endpoints, redis=proxy.url), PATIENT) as brief:
            invalidation = proxy.trap(b"EVALSHA")
            last = asyncio.ensure_future(brief.rename(7, "Ada"))
            held = await invalidation
            asyncio.get_running_loop().call_later(0.05, held.deliver)
        await last
        assert [event.keys for event in brief.seen.of(Published)] == [1]
    await heard(other)
    assert await names(other, 7) == ["Ada"]


async def test_what_fails_after_a_commit_is_told(shop: Shop) -> None:
    """Defect 6: errors of what ran after the commit were nobody's."""

    async def fail() -> None:
        raise ZeroDivisionError("after the commit")

    async with shop.db.unit_of_work() as work:
        (await work[Users].require(7)).name = "Ada"
        work.after_commit(fail)
        await work.commit()
    [told] = shop.seen.of(HookFailed)
    assert told.why.startswith("ZeroDivisionError at test_transactions.py:")
    assert await names(shop, 7) == ["Ada"]


async def test_a_commit_that_the_database_refuses_changes_no_cache(
    shop: Shop, other: Shop, repocache_servers: Servers, database: str
) -> None:
    """Defect C8: transactions of the cache alone, which a commit that the database refuses does not
    undo."""
    constraint = (
        "ALTER TABLE users ADD CONSTRAINT one_name UNIQUE (name) DEFERRABLE INITIALLY DEFERRED"
    )
    await asyncio.to_thread(repocache_servers.primary.sql, constraint, database)
    for each in (shop, other):
        await in_l1(each, 7, 8)
    async with shop.db.unit_of_work() as work:
        for user in (await work[Users].get_many([7, 8])).values():
            user.name = "the same"
        await work.session.flush()
        with pytest.raises(IntegrityError):
            await work.commit()
    assert not shop.seen.of(Published)
    await heard(other)
    for each in (shop, other):
        assert await names(each, 7, 8) == ["n07", "n08"]
