"""Every path of the library that has a bar, beside all that people use in its place, in one run.

    python3 dev.py benchmark contestants [--uvloop]

Hits in this process and in Redis, misses, commits, changes of a whole owner, and the longest turn
of the event loop in calls of many rows; PostgreSQL with fsync. A cached row is decoded to the same
`msgspec.Struct` by all but ours, which makes an entity. The textbook is cache-aside by hand: get,
else `AsyncSession.get` and set; UPDATE, COMMIT, then DEL. With think time each caller sleeps 20 to
60 ms between calls, and the CPU of sleeping is taken off. The bars are listed once more at the end.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from benchmarks import _hits, _readers, _stalls, _sweeps, _writers, hits_local, hits_redis, misses
from benchmarks._clients import REDIS_PY
from benchmarks._harness import (
    Bar,
    Effort,
    Load,
    Measure,
    Open,
    as_it_is,
    in_a_row,
    interleave,
    nothing,
    opened,
    run,
    under,
)
from benchmarks._memories import KEYS, MEMORIES
from benchmarks._prepared import longest_turn, one_by_one
from benchmarks._shop import Prices, fill, servers
from repocache.testing import Endpoints

IDLE = "idle"
THINK = hits_redis.THINK
FEW = 16
"""Callers."""


@dataclass(frozen=True, slots=True)
class Contest:
    """One table, and its bars. With a contestant `idle`, CPU is counted above it."""

    title: str
    entrants: Mapping[str, Open]
    measure: Measure
    bars: Sequence[Bar]

    async def hold(self, rounds: int) -> list[str]:
        """The bars as they were judged."""
        table = await interleave(self.title, self.entrants, self.measure, rounds)
        if IDLE in self.entrants:
            table = table.without(IDLE)
        table.show(self.bars)
        return [f"{self.title}: {table.judged(bar)}" for bar in self.bars]


async def near_hits(ends: Endpoints, effort: Effort) -> list[str]:
    async with hits_local.filled(ends) as db, opened(MEMORIES) as entrants:
        contest = Contest(
            "L1 hit, entity of three columns beside shared objects, one hot key",
            entrants | {hits_local.PRICE: as_it_is(db[Prices].get)},
            in_a_row([hits_local.HOT] * KEYS, effort.closed / 4),
            hits_local.PRICE_BARS,
        )
        return await contest.hold(effort.rounds)


async def shared_hits(ends: Endpoints, effort: Effort) -> AsyncIterator[Contest]:
    entrants = await _hits.others(ends, effort.crowd) | _hits.ours(ends)
    yield Contest(
        f"L2 hit, {effort.crowd} callers in a closed loop",
        entrants,
        under(Load(effort.crowd, _hits.KEYS), effort.closed),
        hits_redis.CLOSED,
    )
    yield Contest(
        "L2 hit, 64 callers with think time, CPU above the idle loop",
        {IDLE: nothing} | entrants,
        under(Load(64, _hits.KEYS, THINK), effort.thinking),
        hits_redis.THINKING[:1],
    )


async def cold_reads(ends: Endpoints, effort: Effort) -> AsyncIterator[Contest]:
    ours: dict[str, Open] = {_readers.OURS: partial(_readers.cold, ends)}
    plain, rows = _readers.plain(ends), _readers.ROWS
    asides = _readers.asides(ends, effort.crowd)
    textbook = f"{REDIS_PY}, {_readers.SESSION}"
    few = plain | {textbook: asides[textbook]} | ours
    yield Contest(
        f"miss, {effort.crowd} callers in a closed loop",
        plain | asides | ours,
        under(Load(effort.crowd, rows, once=True), effort.closed),
        misses.CLOSED,
    )
    yield Contest(
        "miss, one caller", few, under(Load(1, rows, once=True), effort.closed), misses.ONE
    )
    yield Contest(
        "miss, 64 callers with think time, CPU above the idle loop",
        {IDLE: nothing} | few,
        under(Load(64, rows, THINK, once=True), effort.thinking),
        misses.THINKING,
    )


async def writes(ends: Endpoints, effort: Effort) -> AsyncIterator[Contest]:
    forms, cached = _writers.forms(ends), effort.rows // 40
    for callers in sorted({FEW, max(FEW, effort.crowd // 4)}):
        for form, entrants in forms.items():
            yield Contest(
                f"commit, {callers} callers in a closed loop, {form}",
                entrants,
                under(Load(callers, _writers.ROWS), 1.5 * effort.closed),
                (Bar(_writers.WITH, form, "calls", _writers.WANTED[form], at_least=True),),
            )
    yield Contest(
        f"commit that invalidates {cached:,} cached rows, beside one",
        _sweeps.sweeps(ends, cached),
        one_by_one(max(2, round(10 * effort.thinking))),
        _sweeps.BARS,
    )


async def many_rows(ends: Endpoints, effort: Effort) -> AsyncIterator[Contest]:
    many = effort.rows // 10
    yield Contest(
        f"UPDATE of {effort.rows:,} rows, RETURNING",
        _stalls.bulks(ends),
        longest_turn,
        _stalls.BULK_BARS,
    )
    yield Contest(
        f"read of {many:,} rows by their ids",
        _stalls.reads(ends, many),
        longest_turn,
        _stalls.MANY_BARS,
    )


async def benchmark(effort: Effort) -> None:
    with servers(durable=True) as running:
        ends = await fill(running, _readers.ROWS, effort.rows)
        await _writers.make_outbox(ends)
        judged = await near_hits(ends, effort)
        for contests in (shared_hits, cold_reads, writes, many_rows):
            async for contest in contests(ends, effort):
                judged += await contest.hold(effort.rounds)
    print("\nall bars")
    for line in judged:
        print(f"  {line}")


if __name__ == "__main__":
    run(benchmark)
