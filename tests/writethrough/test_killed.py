"""A writer is killed between its write lease and COMMIT, or between COMMIT and the put."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from repocache.testing import Endpoints
from tests.shop import until
from tests.writethrough.ledger import Ledger, Prices


@asynccontextmanager
async def killed(endpoints: Endpoints, where: str) -> AsyncIterator[None]:
    """In the block the writer has come so far; after it, it is dead."""
    arguments = ("-m", "tests.writethrough.doomed", endpoints.primary, endpoints.redis, where)
    writer = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdout=asyncio.subprocess.PIPE
    )
    assert writer.stdout is not None
    try:
        async with asyncio.timeout(20):
            assert await writer.stdout.readline() == where.encode() + b"\n"
        yield
    finally:
        writer.kill()
        await writer.wait()


async def test_before_commit_the_old_row_stays_the_truth(
    ledger: Ledger, repocache_endpoints: Endpoints
) -> None:
    await ledger.settle(Prices, 1)
    async with killed(repocache_endpoints, "leased"):
        assert (await ledger.prices.require(1)).amount == 1
        assert await ledger.in_l2(Prices, 1) is None
    await until(lambda: _filled(ledger, 1), "the write lease was taken over")


async def test_after_commit_nobody_is_given_the_old_row(
    ledger: Ledger, repocache_endpoints: Endpoints
) -> None:
    await ledger.settle(Prices, 1)
    assert (await ledger.prices.require(1)).amount == 1
    async with killed(repocache_endpoints, "committed"):
        assert (await ledger.prices.require(1)).amount == 2
    await until(lambda: _filled(ledger, 2), "the write lease was taken over")


async def _filled(ledger: Ledger, amount: int) -> bool:
    assert (await ledger.prices.require(1)).amount == amount
    stored = await ledger.in_l2(Prices, 1)
    return stored is not None and stored.amount == amount and not await ledger.write_leases(1)
