"""The primary stands in for so many reads at once, and no more."""

import asyncio

import pytest

from repocache.db.budget import PrimaryBudget
from repocache.errors import ConfigurationError, PrimaryBudgetExceeded


async def test_beyond_it_the_error_says_what_to_do() -> None:
    budget = PrimaryBudget(2, 0.0)
    await budget.acquire("a")
    await budget.acquire("a")
    with pytest.raises(PrimaryBudgetExceeded, match=r"2 reads.*within 0.0 s \(0 more wait\): all lost.*primary_reads"):
        await budget.acquire("all lost")
    budget.release()
    await budget.acquire("a")


async def test_who_waits_gets_the_next_place() -> None:
    budget = PrimaryBudget(1, 60.0)
    await budget.acquire("a")
    waiting = asyncio.create_task(budget.acquire("b"))
    await asyncio.sleep(0)
    assert not waiting.done()
    budget.release()
    await waiting


async def test_who_gives_up_leaves_its_place_in_the_line() -> None:
    budget = PrimaryBudget(1, 60.0)
    await budget.acquire("a")
    first, second = (asyncio.create_task(budget.acquire(name)) for name in "bc")
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    budget.release()
    await second


@pytest.mark.parametrize("reads, wait", [(0, 1.0), (1, -1.0)])
def test_senseless_limits_are_refused(reads: int, wait: float) -> None:
    with pytest.raises(ConfigurationError, match="primary_"):
        PrimaryBudget(reads, wait)
