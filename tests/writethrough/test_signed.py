"""What a commit stores is signed like what a read fills, under strict write-through too."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from repocache.events import ValueRefused
from repocache.signing.signer import LENGTH
from repocache.testing import Endpoints
from tests.writethrough.ledger import STILL, Accounts, Ledger, Prices, open_ledger

SIGNING = replace(STILL, secrets=("a secret of the ledger's",), sign_values=True)


@pytest.fixture
async def ledgers(repocache_endpoints: Endpoints) -> AsyncIterator[tuple[Ledger, Ledger]]:
    async with AsyncExitStack() as stack:
        one, two = [
            await stack.enter_async_context(open_ledger(repocache_endpoints, SIGNING))
            for _ in range(2)
        ]
        yield one, two


async def test_a_stored_row_is_read_by_another_process(ledgers: tuple[Ledger, Ledger]) -> None:
    ledger, other = ledgers
    await ledger.settle(Accounts, 1)
    await ledger.rename(1, "new")
    assert ledger.stored == [(1, 1)]
    assert (await other.accounts.require(1)).name == "new"
    assert other.served() == ["l2"]


async def test_so_is_a_strict_one(ledgers: tuple[Ledger, Ledger]) -> None:
    ledger, other = ledgers
    await ledger.settle(Prices, 1)
    async with ledger.db.unit_of_work() as work:
        (await work[Prices].require(1)).amount = 77
        await work.commit()
    assert ledger.stored == [(1, 1)]
    other.served()
    assert (await other.prices.require(1)).amount == 77
    assert other.served() == ["l2"]


async def test_one_whose_signature_is_cut_off_is_not_believed(
    ledgers: tuple[Ledger, Ledger],
) -> None:
    ledger, other = ledgers
    await ledger.settle(Accounts, 1)
    await ledger.rename(1, "new")
    [name] = await ledger.call("KEYS", "*:account:1")
    value = await ledger.call("GET", name)
    await ledger.call("SET", name, value[:-LENGTH], "PX", "60000")
    assert (await other.accounts.require(1)).name == "new"
    assert [type(event) for event in other.seen].count(ValueRefused) == 1
    assert "l2" not in other.served()


async def test_what_is_stored_so_is_verified(ledgers: tuple[Ledger, Ledger]) -> None:
    ledger, other = ledgers
    await ledger.settle(Accounts, 1)
    await ledger.rename(1, "new")
    found = (await other.db.verify()).found
    assert [(each.owner, each.tier, each.right, each.wrong) for each in found if each.judged] == [
        ("account", "l2", 1, 0)
    ]
