"""The loop by itself: time, order, and what dies with a process."""

from __future__ import annotations

import asyncio
import time

import pytest

from proof.simulation.loop import Owner, Stuck, environment, new_loop


def test_time_goes_on_only_where_everybody_waits() -> None:
    loop = new_loop(1)

    async def course() -> tuple[float, float]:
        async with asyncio.timeout(3600):
            await asyncio.sleep(100)
        return loop.time(), time.monotonic()

    with environment(loop, 1):
        assert loop.run_until_complete(course()) == (101.0, 101.0)
    loop.close()


def test_who_waits_for_ever_is_reported() -> None:
    loop = new_loop(1)
    with pytest.raises(Stuck):
        loop.run_until_complete(asyncio.wait([loop.create_future()]))
    loop.close()


def test_the_order_is_the_seeds() -> None:
    def order(seed: int) -> list[int]:
        loop, found = new_loop(seed), list[int]()

        async def course() -> None:
            for number in range(8):
                loop.call_soon(found.append, number)
            await asyncio.sleep(1)

        loop.run_until_complete(course())
        return found

    orders = {tuple(order(seed)) for seed in range(20)}
    assert len(orders) > 15
    assert order(3) == order(3)


def test_of_a_dead_process_nothing_runs_any_more() -> None:
    loop, process, ran = new_loop(1), Owner("p"), list[str]()

    async def work() -> None:
        try:
            await asyncio.sleep(2)
            ran.append("on")
        finally:
            ran.append("finally")

    async def course() -> None:
        work_of_process = loop.create_task(work(), context=process.context)
        await asyncio.sleep(1)
        process.dead = True
        work_of_process.cancel()
        await asyncio.sleep(5)

    loop.run_until_complete(course())
    assert ran == []
    loop.close()


def test_what_nobody_catches_is_a_failure() -> None:
    loop = new_loop(1)

    async def course() -> None:
        loop.call_soon(int, "x")
        await asyncio.sleep(1)

    loop.run_until_complete(course())
    assert len(loop.failures) == 1
    loop.close()
