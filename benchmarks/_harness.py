"""What the benchmarks share: contestants in interleaved rounds, medians with quartiles, tables, and
bars.

A contestant is opened anew for each round and warmed up before the clock starts; nothing else is
open meanwhile. Ratios are taken within a round, and their median is judged. One that fails, or is
not installed, is a row that says so.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import math
import os
import random
import statistics
import time
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from dataclasses import dataclass, field, replace
from importlib import import_module
from itertools import chain
from typing import Any, TypeVar

Call = Callable[[int], Awaitable[object]]
"""One call of a contestant, for the key or row of this number."""
Open = Callable[[], AbstractAsyncContextManager[Call]]
"""Connects and fills what the contestant needs."""
Measure = Callable[[Call], Coroutine[Any, Any, "Figures"]]
NEVER = float("nan")
Result = TypeVar("Result")
AT_ONCE = 1000
"""Calls between two looks at the clock."""
PATIENCE = 60.0
"""Seconds that a contestant may take to be opened and measured once."""
FEWEST = 3
"""Rounds that say anything about speed; with fewer the heap is not swept before each measurement,
which takes most of their time."""
COLUMNS = {"cpu": "CPU us", "p50": "p50 us", "p99": "p99 us", "turn": "turn ms"}


@dataclass(frozen=True, slots=True)
class Effort:
    """`rounds`, seconds of one measurement in a closed loop and with think time, callers where
    there are many, rows of a bulk statement."""

    rounds: int = 7
    closed: float = 0.4
    thinking: float = 1.5
    crowd: int = 256
    rows: int = 100_000


QUICK = Effort(rounds=1, closed=0.02, thinking=0.1, crowd=32, rows=5_000)


@dataclass(frozen=True, slots=True)
class Figures:
    """One contestant in one round: calls a second, microseconds of CPU a call, latencies in
    microseconds, the longest turn of the loop in milliseconds."""

    calls: float
    cpu: float
    p50: float = NEVER
    p99: float = NEVER
    turn: float = NEVER


@dataclass(frozen=True, slots=True)
class Load:
    """`callers` at once. `think`: the least and the most seconds that each sleeps between two
    calls; None: closed loop.

    Caller n takes the numbers n, n + callers, ... below `numbers`, so that no two callers ever
    share a call: at random, or each one once if `once`.
    """

    callers: int
    numbers: int
    think: tuple[float, float] | None = None
    once: bool = False

    def numbers_of(self, caller: int, draw: random.Random) -> Iterator[int]:
        own = range(caller, self.numbers, self.callers)
        return iter(own) if self.once else iter(lambda: draw.choice(own), None)


@dataclass(frozen=True, slots=True)
class Bar:
    """What is wanted of `ours` beside `theirs`: at least, or at most, `limit` times its `figure`;
    without `theirs`, the limit is the figure itself."""

    ours: str
    theirs: str | None
    figure: str
    limit: float
    at_least: bool = False

    def __str__(self) -> str:
        side = "least" if self.at_least else "most"
        if self.theirs is None:
            return f"{COLUMNS.get(self.figure, self.figure)} at {side} {self.limit:g}"
        return f"{self.figure} at {side} {self.limit:g}x {self.theirs}"

    def reached(self, ratio: float) -> bool:
        return ratio >= self.limit if self.at_least else ratio <= self.limit


@dataclass(slots=True)
class Table:
    """What the rounds found. `failed`: why a contestant has no figures."""

    title: str
    rounds: dict[str, list[Figures]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def without(self, idle: str) -> Table:
        """With the median CPU of this contestant taken off the others': what the callers' own
        sleeping costs."""
        slept = statistics.median(each.cpu for each in self.rounds[idle])
        rest = {
            name: [replace(each, cpu=each.cpu - slept) for each in found]
            for name, found in self.rounds.items()
            if name != idle
        }
        return Table(self.title, rest, self.failed)

    def show(self, bars: Sequence[Bar] = ()) -> None:
        width = max(map(len, chain(self.rounds, self.failed)))
        columns = [one for one in COLUMNS if self._has(one)]
        print(f"\n{self.title}")
        heads = "".join(f" {COLUMNS[one]:>8}" for one in columns)
        print(f"  {'':{width}} {'calls/s':>10} {'quartiles':>19}{heads}")
        for name, found in self.rounds.items():
            low, calls, high = quartiles([each.calls for each in found])
            cells = "".join(
                f" {number(statistics.median(getattr(each, one) for each in found))}"
                for one in columns
            )
            spread = f"{low:,.0f} - {high:,.0f}"
            print(f"  {name:{width}} {calls:10,.0f} {spread:>19}{cells}")
        for name, why in self.failed.items():
            print(f"  {name:{width}} not measured: {why}")
        for bar in bars:
            print(f"  {self.judged(bar)}", flush=True)

    def _has(self, column: str) -> bool:
        return any(
            not math.isnan(getattr(each, column))
            for found in self.rounds.values()
            for each in found
        )

    def judged(self, bar: Bar) -> str:
        ratios = self._ratios(bar)
        if not ratios:
            return f"{bar.ours}: {bar}: not measured"
        low, middle, high = quartiles(ratios)
        verdict = "reached" if bar.reached(middle) else "NOT REACHED"
        return f"{bar.ours}: {middle:.2f} [{low:.2f} .. {high:.2f}]; wanted: {bar}: {verdict}"

    def _ratios(self, bar: Bar) -> list[float]:
        """What is judged, a round each: the quotient of the two, or the figure itself."""
        ours = [getattr(each, bar.figure) for each in self.rounds.get(bar.ours, [])]
        if bar.theirs is None:
            return ours
        theirs = [getattr(each, bar.figure) for each in self.rounds.get(bar.theirs, [])]
        return [mine / other for mine, other in zip(ours, theirs, strict=False)]


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4)
    return low, middle, high


def number(value: float) -> str:
    if math.isnan(value):
        return f"{'':8}"
    return f"{value:8,.0f}" if value >= 100 else f"{value:8,.2f}"


async def interleave(
    title: str, contestants: Mapping[str, Open], measure: Measure, rounds: int
) -> Table:
    """Every contestant once a round, in turns forwards and backwards, all measured alike."""
    trials = {name: (each, measure) for name, each in contestants.items()}
    return await take_turns(title, trials, rounds)


async def take_turns(title: str, trials: Mapping[str, tuple[Open, Measure]], rounds: int) -> Table:
    """As `interleave`, each contestant measured in a way of its own."""
    table = Table(title, {name: [] for name in trials})
    for turn in range(rounds):
        names = list(table.rounds)
        for name in names if turn % 2 else reversed(names):
            try:
                contestant, measure = trials[name]
                async with asyncio.timeout(PATIENCE), contestant() as call:
                    with swept() if rounds >= FEWEST else nullcontext():
                        table.rounds[name].append(await measure(call))
            except Exception as error:
                table.failed[name] = f"{type(error).__name__}: {error}".splitlines()[0]
                del table.rounds[name]
    return table


@contextmanager
def swept() -> Iterator[None]:
    """Nobody pays for sweeping what all the contestants together have imported: no application has
    that."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def under(load: Load, seconds: float) -> Measure:
    """Measures callers that run side by side for so many seconds, or until their numbers end."""

    async def measure(call: Call) -> Figures:
        draw = random.Random(load.callers)
        latencies: list[float] = []
        clock = time.perf_counter

        async def ask(numbers: Iterator[int]) -> None:
            if load.think:
                await asyncio.sleep(draw.uniform(0, load.think[1]))
            for at in numbers:
                begin = clock()
                if begin >= deadline and len(latencies) > 1:  # a figure needs two, however slow
                    return
                await call(at)
                latencies.append(clock() - begin)
                if load.think:
                    await asyncio.sleep(draw.uniform(*load.think))

        cpu, begin = time.process_time(), clock()
        deadline = begin + seconds
        await asyncio.gather(
            *(ask(load.numbers_of(caller, draw)) for caller in range(load.callers))
        )
        took, cpu = clock() - begin, time.process_time() - cpu
        cuts = statistics.quantiles(latencies, n=100)
        return Figures(
            len(latencies) / took, cpu / len(latencies) * 1e6, cuts[49] * 1e6, cuts[98] * 1e6
        )

    return measure


def in_a_row(numbers: Sequence[int], seconds: float) -> Measure:
    """Measures one caller that never waits: a call after the other, nothing between them, for so
    many seconds."""

    async def measure(call: Call) -> Figures:
        for at in numbers[:AT_ONCE]:
            await call(at)
        cpu, begin = time.process_time(), time.perf_counter()
        calls, deadline = 0, begin + seconds
        while time.perf_counter() < deadline:
            first = calls % len(numbers)
            some = numbers[first : first + AT_ONCE]
            for at in some:
                await call(at)
            calls += len(some)
        took, cpu = time.perf_counter() - begin, time.process_time() - cpu
        return Figures(calls / took, cpu / calls * 1e6)

    return measure


@asynccontextmanager
async def opened(contestants: Mapping[str, Open]) -> AsyncIterator[dict[str, Open]]:
    """The same contestants, all open for as long as the block: for those that do nothing between
    their calls."""
    async with AsyncExitStack() as stack:
        found: dict[str, Open] = {}
        for name, each in contestants.items():
            try:
                found[name] = as_it_is(await stack.enter_async_context(each()))
            except Exception as error:
                found[name] = unable(error)
        yield found


def as_it_is(call: Call) -> Open:
    """A contestant that needs no opening."""

    @asynccontextmanager
    async def ready() -> AsyncIterator[Call]:
        yield call

    return ready


def unable(error: Exception) -> Open:
    """A contestant that could not be opened, and says so when its turn comes."""

    def refuse() -> AbstractAsyncContextManager[Call]:
        raise error

    return refuse


@asynccontextmanager
async def nothing() -> AsyncIterator[Call]:
    """Sleeps like the others, and does no work."""

    async def call(_: int) -> None:
        pass

    yield call


def run(benchmark: Callable[[Effort], Awaitable[None]]) -> None:
    """The command line of a benchmark."""
    options = arguments().parse_args()
    effort = effort_of(options)
    print(f"{effort}, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
    perform(benchmark(effort), options)


def arguments() -> argparse.ArgumentParser:
    """`--quick` to see only whether it works, `--uvloop` for that event loop."""
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--quick", action="store_true", help="one short round: says nothing about speed"
    )
    parser.add_argument(
        "--uvloop", action="store_true", help="on uvloop instead of asyncio's own loop"
    )
    parser.add_argument("--rounds", type=int, default=Effort().rounds)
    return parser


def effort_of(options: argparse.Namespace) -> Effort:
    return QUICK if options.quick else Effort(rounds=max(FEWEST, options.rounds))


def perform(work: Awaitable[Result], options: argparse.Namespace) -> Result:
    """Its result, on the event loop that was asked for."""
    loop = import_module("uvloop").new_event_loop if options.uvloop else None

    async def main() -> Result:
        return await work

    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(main())
