"""The primary stands in for so many reads at once, and no more."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repocache.errors import ConfigurationError, PrimaryBudgetExceeded
from repocache.nodes.budget import LINE, PlaceCount, PrimaryBudget


async def test_beyond_it_the_error_says_what_to_do() -> None:
    budget = PrimaryBudget(2, 0.0)
    await budget.acquire("a")
    await budget.acquire("a")
    with pytest.raises(
        PrimaryBudgetExceeded,
        match=r"2 reads.*within 0.0 s \(0 more wait\): all lost.*primary_reads",
    ):
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


async def test_a_place_that_comes_free_as_a_waiter_gives_up_is_the_next_ones() -> None:
    """Its turn is cancelled at once, and it gives up later."""
    budget = PrimaryBudget(1, 60.0)
    await budget.acquire("a")
    first, second = (asyncio.create_task(budget.acquire(name)) for name in "bc")
    await asyncio.sleep(0)
    first.cancel()
    budget.release()
    async with asyncio.timeout(20):
        await second
    await asyncio.gather(first, return_exceptions=True)
    assert first.cancelled()
    assert budget.count == PlaceCount(1, 1, 0)
    budget.release()
    assert budget.count == PlaceCount(0, 1, 0)


async def test_nor_is_one_lost_whose_client_has_its_share() -> None:
    budget = PrimaryBudget(2, 60.0)
    await budget.acquire("a", "ada")
    apart = asyncio.create_task(budget.acquire("b", "ada"))
    await asyncio.sleep(0)
    assert budget.count == PlaceCount(1, 2, 1)
    apart.cancel()
    budget.release("ada")
    await asyncio.gather(apart, return_exceptions=True)
    assert (budget.count, dict(budget._claims)) == (PlaceCount(0, 2, 0), {})


@pytest.mark.parametrize("reads, wait", [(0, 1.0), (1, -1.0)])
def test_senseless_limits_are_refused(reads: int, wait: float) -> None:
    with pytest.raises(ConfigurationError, match="primary_"):
        PrimaryBudget(reads, wait)


async def refused(budget: PrimaryBudget, client: object) -> str:
    with pytest.raises(PrimaryBudgetExceeded) as error:
        await budget.acquire("a", client)
    return str(error.value)


async def test_one_client_gets_half_of_the_places() -> None:
    budget = PrimaryBudget(4, 0.0)
    await budget.acquire("a", "one")
    await budget.acquire("a", "one")
    assert "one client may have, and none came free" in await refused(budget, "one")
    await budget.acquire("a", "another")
    await budget.acquire("a")
    assert "already stands in for 4 reads" in await refused(budget, None)
    budget.release("one")
    await budget.acquire("a", "one")


async def test_of_a_single_place_nobody_can_keep_a_half() -> None:
    budget = PrimaryBudget(1, 0.0)
    await budget.acquire("a", "one")
    budget.release("one")
    await budget.acquire("a", "another")


async def test_who_waits_for_his_share_is_in_nobodys_way() -> None:
    budget = PrimaryBudget(2, 60.0)
    await budget.acquire("a", "one")
    greedy = [asyncio.create_task(budget.acquire("a", "one")) for _ in range(100)]
    await asyncio.sleep(0)
    await budget.acquire("a", "another")
    late = asyncio.create_task(budget.acquire("a", "third"))
    await asyncio.sleep(0)
    budget.release("another")
    await late
    assert not any(task.done() for task in greedy)
    for _ in range(100):
        budget.release("one")
        await asyncio.sleep(0)
    await asyncio.gather(*greedy)


async def test_a_client_waits_with_so_many_reads_at_most() -> None:
    budget = PrimaryBudget(2, 60.0)
    await budget.acquire("a", "one")
    waiting = [asyncio.create_task(budget.acquire("a", "one")) for _ in range(LINE)]
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        assert "one client" in await refused(budget, "one")
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    budget.release("one")
    assert (budget._free, budget._claims, budget._apart, budget._line) == (2, {}, {}, {})


@given(
    st.lists(
        st.tuples(st.sampled_from(["take", "give", "cancel", "turn"]), st.integers(0, 3)),
        max_size=60,
    )
)
def test_places_are_neither_lost_nor_made(steps: list[tuple[str, int]]) -> None:
    clients = (None, "a", "b", "c")

    async def run() -> None:
        budget, tasks = PrimaryBudget(3, 60.0), list[tuple[asyncio.Task[None], object]]()
        for step, number in steps:
            if step == "take":
                tasks.append(
                    (asyncio.create_task(budget.acquire("a", clients[number])), clients[number])
                )
            elif step == "turn":
                await asyncio.sleep(0)
            elif tasks:
                await end(budget, tasks, number % len(tasks), cancel=step == "cancel")
            held = [client for task, client in tasks if task.done()]
            assert len(held) <= 3
            assert all(held.count(client) <= 1 for client in clients[1:])
        while tasks:
            for at in reversed(range(len(tasks))):
                await end(budget, tasks, at, cancel=False)
            await asyncio.sleep(0)
        assert (budget._free, budget._claims, budget._apart, budget._line) == (3, {}, {}, {})

    asyncio.run(run())


async def end(
    budget: PrimaryBudget, tasks: list[tuple[asyncio.Task[None], object]], at: int, *, cancel: bool
) -> None:
    """Give back a place that was given, or give up the wait."""
    task, client = tasks[at]
    if cancel:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    if task.done():
        del tasks[at]
        if not task.cancelled():
            budget.release(client)
