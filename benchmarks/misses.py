"""Misses: rows that no cache has, through the whole fenced path, beside reading the database
directly.

    python3 dev.py benchmark misses

A miss of repocache takes a lease, reads the row in one statement with the others of its moment, and
fills Redis and this process; before each round its whole owner is invalidated, so that every row is
cold. The others read by primary key, each call for itself. No two callers ask for one row. With
think time each caller sleeps between calls, and the CPU of sleeping is taken off.
"""

from __future__ import annotations

from functools import partial

from benchmarks._harness import Bar, Effort, Load, Open, interleave, nothing, run, under
from benchmarks._readers import (
    ALONE,
    ASYNCPG,
    OURS,
    PAST,
    ROWS,
    SESSION,
    alone,
    cold,
    on_primary,
    plain,
)
from benchmarks._shop import fill, servers

CLOSED = (
    Bar(OURS, SESSION, "calls", 12, at_least=True),
    Bar(OURS, ASYNCPG, "calls", 2.8, at_least=True),
)
ONE = (Bar(OURS, SESSION, "calls", 1.3, at_least=True),)
THINKING = (Bar(OURS, SESSION, "cpu", 0.45),)
"""The bars of 256 callers in a closed loop, of one, of 64 with think time."""


async def benchmark(effort: Effort) -> None:
    with servers() as running:
        ends = await fill(running, ROWS)
        contestants = plain(ends) | {
            PAST: partial(on_primary, ends),
            ALONE: partial(alone, ends),
            OURS: partial(cold, ends),
        }
        table = await interleave(
            f"database miss, {effort.crowd} callers in a closed loop",
            contestants,
            under(Load(effort.crowd, ROWS, once=True), effort.closed),
            effort.rounds,
        )
        table.show(CLOSED)
        few: dict[str, Open] = {name: contestants[name] for name in (SESSION, ASYNCPG, OURS)}
        table = await interleave(
            "database miss, one caller",
            few,
            under(Load(1, ROWS, once=True), effort.closed),
            effort.rounds,
        )
        table.show(ONE)
        for think in ((0.02, 0.06), (0.1, 0.3)):
            low, high = (round(each * 1000) for each in think)
            table = await interleave(
                (
                    f"database miss, 64 callers that think for {low} to {high} ms, CPU above the "
                    "idle loop"
                ),
                {"idle": nothing} | few,
                under(Load(64, ROWS, think, once=True), effort.thinking),
                effort.rounds,
            )
            table.without("idle").show(THINKING)


if __name__ == "__main__":
    run(benchmark)
