"""Calls that are measured one after another, each with something to be prepared before it."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from benchmarks._harness import NEVER, Call, Figures, Measure
from benchmarks._turns import Turns

Prepare = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A call, and what comes before it, which no clock sees."""

    prepare: Prepare
    call: Call

    def __call__(self, number: int) -> Awaitable[object]:
        return self.call(number)


async def prepared(call: Call) -> None:
    if isinstance(call, Prepared):
        await call.prepare()
    await asyncio.sleep(0)


def one_by_one(calls: int) -> Measure:
    """Measures one caller: the median latency, and the rest as `under` does."""

    async def measure(call: Call) -> Figures:
        latencies: list[float] = []
        cpu = 0.0
        for number in range(calls):
            await prepared(call)
            used, begin = time.process_time(), time.perf_counter()
            await call(number)
            latencies.append(time.perf_counter() - begin)
            cpu += time.process_time() - used
        middle = statistics.median(latencies)
        return Figures(calls / sum(latencies), cpu / calls * 1e6, middle * 1e6)

    return measure


async def longest_turn(call: Call) -> Figures:
    """Measures one call: how long it kept the loop from everybody else.

    The meter itself keeps the loop turning, so the CPU of the call is not known.
    """
    await prepared(call)
    begin = time.perf_counter()
    with Turns() as found:
        await call(0)
        await asyncio.sleep(0)
    took = time.perf_counter() - begin
    return Figures(1 / took, NEVER, took * 1e6, turn=found.longest)
