"""Strict owners: what a commit does before and after COMMIT, and what fails it."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any
from unittest.mock import patch

import pytest
from sqlalchemy import delete, text, update
from sqlalchemy.exc import DBAPIError

from repocache import CommitOutcomeUnknown
from repocache.errors import StrictWriteRefused
from repocache.events import Degraded, Served
from repocache.publication import write_through
from repocache.testing import Endpoints, Servers
from tests.shop import until
from tests.tcp_proxy import TcpProxy
from tests.writethrough.ledger import (
    ROWS,
    SCHEMA,
    Account,
    Accounts,
    Ledger,
    Price,
    Prices,
    open_ledger,
)


async def test_a_commit_leaves_the_value_and_no_write_lease(ledger: Ledger, other: Ledger) -> None:
    await ledger.settle(Prices, 1)
    await ledger.reprice(1, 2)
    assert ledger.stored == [(1, 1)]
    assert await ledger.write_leases(1) == {}
    assert (await other.prices.require(1)).amount == 2
    assert other.served() == ["l2"]


async def test_nothing_of_a_strict_owner_stays_in_the_process(
    ledger: Ledger, other: Ledger
) -> None:
    await ledger.settle(Prices, 1)
    for _ in range(2):
        await ledger.prices.require(1)
    assert len(ledger.db._started.cache.shared.local) == 0
    assert Prices.policy.local_ttl == 0


async def test_misses_are_read_on_the_primary(ledger: Ledger) -> None:
    await ledger.prices.get_many([1, 2, 3])
    nodes = {
        event.node
        for event in ledger.seen
        if isinstance(event, Served) and event.tier == "database"
    }
    assert nodes == {"primary"}


async def test_readers_are_held_back_from_every_row_of_a_bulk_change(
    ledger: Ledger, other: Ledger
) -> None:
    await ledger.settle(Prices, 1, 2)
    await other.prices.get_many([1, 2])
    async with ledger.db.unit_of_work() as work:
        await work.session.execute(text("UPDATE price SET amount = amount + 1000"))
        work.changes(Prices)
        await work.commit()
    found = await other.prices.get_many([1, 2])
    assert [price.amount for price in found.values()] == [1001, 1002]
    assert not await ledger.call("KEYS", "*:W:*")


async def test_bulk_changes_with_known_keys_beyond_the_bound_are_strict_too(
    ledger: Ledger, other: Ledger
) -> None:
    await other.prices.get_many(range(1, 301))
    async with ledger.db.unit_of_work() as work:
        await work.session.execute(update(Price).values(amount=0))
        await work.commit()
    assert ledger.stored == []
    assert {price.amount for price in (await other.prices.get_many(range(1, 301))).values()} == {0}
    assert not await ledger.call("KEYS", "*:W:*")


async def test_deleted_and_inserted_rows(ledger: Ledger, other: Ledger) -> None:
    await ledger.settle(Prices, 1)
    await ledger.reprice(1, 2)
    async with ledger.db.unit_of_work() as work:
        await work.session.execute(delete(Price).where(Price.id == 1))
        await work.commit()
    assert await other.prices.get(1) is None
    async with ledger.db.unit_of_work() as work:
        work.add(Price(id=1, amount=3))
        await work.commit()
    assert (await other.prices.require(1)).amount == 3
    assert not await ledger.call("KEYS", "*:W:*")


async def test_a_failed_commit_gives_its_write_lease_back(
    ledger: Ledger, repocache_servers: Servers
) -> None:
    database = ledger.db._topology.write_engine.url.database
    assert database is not None
    script = "ALTER TABLE price ADD CONSTRAINT {0} UNIQUE (amount) DEFERRABLE INITIALLY DEFERRED"
    await asyncio.to_thread(repocache_servers.primary.sql, script.format("once"), database)
    try:
        await ledger.settle(Prices, 1)
        with pytest.raises(DBAPIError, match="once"):
            await ledger.reprice(1, 2)
        await until(lambda: _no_leases(ledger), "the write lease was given back")
        assert (await ledger.prices.require(1)).amount == 1
        assert (await ledger.in_l2(Prices, 1)).amount == 1
    finally:
        await asyncio.to_thread(
            repocache_servers.primary.sql, "ALTER TABLE price DROP CONSTRAINT once", database
        )


async def _no_leases(ledger: Ledger) -> bool:
    return not await ledger.call("KEYS", "*:W:*")


async def test_a_write_fails_while_redis_is_away_and_others_go_on(
    repocache_endpoints: Endpoints,
) -> None:
    away = dataclasses.replace(repocache_endpoints, redis="redis://127.0.0.1:9")
    async with open_ledger(away) as ledger:
        with pytest.raises(StrictWriteRefused, match="price: readers could not be held back"):
            await ledger.reprice(1, 2)
        assert (await ledger.prices.require(1)).amount == 1
        await ledger.rename(1, "plain")
        assert (await ledger.accounts.on_primary().require(1)).name == "plain"
        async with ledger.db.unit_of_work() as work:
            (await work[Prices].require(2)).amount = 5
            (await work[Accounts].require(2)).name = "never"
            with pytest.raises(StrictWriteRefused):
                await work.commit()
        assert (await ledger.accounts.on_primary().require(2)).name == "n2"


async def test_a_frozen_redis_fails_a_write_within_its_deadline(
    repocache_controls: Servers,
) -> None:
    controls = repocache_controls
    await asyncio.to_thread(controls.primary.create_database, "frozen")
    await asyncio.to_thread(controls.primary.sql, SCHEMA + ROWS, "frozen")
    await asyncio.to_thread(controls.catch_up)
    async with open_ledger(controls.endpoints("frozen")) as ledger:
        await ledger.settle(Prices, 1)
        await asyncio.to_thread(controls.redis.freeze)
        try:
            with pytest.raises(StrictWriteRefused):
                await ledger.reprice(1, 2)
            assert (await ledger.prices.require(1)).amount == 1
        finally:
            await asyncio.to_thread(controls.redis.thaw)
        await until(lambda: ledger.db._started.cache.shared.views.alive, "Redis is back")
        await ledger.reprice(1, 3)
        assert (await ledger.prices.require(1)).amount == 3


async def test_a_commit_that_is_cancelled_before_commit_leaves_a_lease_for_readers_to_take_over(
    ledger: Ledger, other: Ledger
) -> None:
    await ledger.settle(Prices, 1)
    intend, taken = ledger.records.intend, asyncio.Event()

    async def intend_for_ever(*arguments: Any) -> Any:
        await intend(*arguments)
        taken.set()
        await asyncio.Event().wait()

    ledger.records.intend = intend_for_ever  # type: ignore[method-assign, assignment]
    with patch.object(write_through, "WRITE_LEASE", 0.05):
        writer = asyncio.create_task(ledger.reprice(1, 2))
        await taken.wait()
        writer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writer
    await until(lambda: _is_old(other), "the write lease was taken over")
    assert (await other.in_l2(Prices, 1)).amount == 1


async def _is_old(ledger: Ledger) -> bool:
    assert (await ledger.prices.require(1)).amount == 1
    return not await ledger.write_leases(1) and await ledger.in_l2(Prices, 1) is not None


async def test_a_commit_whose_outcome_is_unknown_keeps_its_write_lease_until_it_is_decided(
    repocache_endpoints: Endpoints, ledger: Ledger
) -> None:
    """The socket is lost while COMMIT waits; readers are given the primary's word, and then
    fill."""
    await ledger.settle(Prices, 1)
    async with TcpProxy(repocache_endpoints.primary) as proxy:
        through = dataclasses.replace(repocache_endpoints, primary=proxy.url)
        async with open_ledger(through) as writer:
            with patch.object(write_through, "WRITE_LEASE", 0.05):
                watch = writer.db._started.watch
                commit = watch._commit

                def lost(connection: object) -> None:
                    commit(connection)  # type: ignore[arg-type]
                    raise writer.db._topology.write_engine.dialect.loaded_dbapi.OperationalError(
                        "lost"
                    )

                watch._commit = lost  # type: ignore[assignment]
                with pytest.raises(CommitOutcomeUnknown):
                    await writer.reprice(1, 2)
            assert (await ledger.prices.require(1)).amount == 2
            await until(lambda: _taken_over(ledger), "the write lease was taken over")


async def _taken_over(ledger: Ledger) -> bool:
    assert (await ledger.prices.require(1)).amount == 2
    return not await ledger.write_leases(1)


async def test_a_redis_that_may_evict_makes_it_plain_and_says_so(
    repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    redis = repocache_servers.redis
    redis.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    try:
        async with open_ledger(repocache_endpoints) as ledger:
            told = [event.what for event in ledger.seen if isinstance(event, Degraded)]
            assert "maxmemory-policy is allkeys-lru" in told
            await ledger.settle(Prices, 1)
            publication = ledger.records.change
            leases: list[object] = []

            async def change(*arguments: Any) -> Any:
                leases.append(await ledger.write_leases(1))
                return await publication(*arguments)

            ledger.records.change = change  # type: ignore[method-assign, assignment]
            await ledger.reprice(1, 2)
            assert leases == [{}]
            assert (await ledger.in_l2(Prices, 1)).amount == 2
    finally:
        redis.command("CONFIG", "SET", "maxmemory-policy", "noeviction")


async def test_two_writers_and_two_readers_in_processes_of_their_own(
    ledger: Ledger, other: Ledger
) -> None:
    """No reader is given less than what was committed before it began; amounts only grow."""
    committed = 1
    done = asyncio.Event()

    async def write(process: Ledger) -> None:
        nonlocal committed
        for _ in range(40):
            async with process.db.unit_of_work() as work:
                price = await work.session.get_one(Price, 1, with_for_update=True)
                price.amount += 1
                amount = price.amount
                await work.commit()
            committed = max(committed, amount)
            await asyncio.sleep(0.001)

    async def read(process: Ledger) -> int:
        reads = 0
        while not done.is_set():
            least = committed
            seen = (await process.prices.require(1)).amount
            assert seen >= least
            reads += 1
        return reads

    await ledger.settle(Prices, 1)
    readers = [asyncio.create_task(read(process)) for process in (ledger, other) for _ in range(2)]
    await asyncio.gather(write(ledger), write(other))
    done.set()
    assert min(await asyncio.gather(*readers)) > 10
    assert (await ledger.prices.require(1)).amount == 81
    assert sum(landed for _, landed in ledger.stored + other.stored) > 0
    assert not await ledger.call("KEYS", "*:W:*")


async def test_a_rolled_back_savepoint_holds_nobody_back(ledger: Ledger) -> None:
    await ledger.settle(Prices, 1)
    async with ledger.db.unit_of_work() as work:
        savepoint = await work.session.begin_nested()
        await work.session.execute(update(Price).where(Price.id == 1).values(amount=9))
        await savepoint.rollback()
        await work.session.execute(update(Account).where(Account.id == 1).values(name="new"))
        await work.commit()
    assert not await ledger.call("KEYS", "*:W:*")
