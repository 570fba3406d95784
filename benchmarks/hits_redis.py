"""Hits in Redis: whole reads of a repository that keeps nothing in the process, beside the clients
and caching libraries that people use.

    python3 dev.py benchmark hits_redis

Every contestant decodes what it gets: repocache to a fresh entity or a frozen view, the others
msgpack to the same row as a `msgspec.Struct`. No two callers ask for one key at a time, so nothing
is shared but connections. With think time each caller sleeps 20 to 60 ms between calls, and the CPU
of sleeping is taken off.
"""

from __future__ import annotations

from benchmarks._harness import Bar, Effort, Load, interleave, nothing, run, under
from benchmarks._hits import (
    ENTITY,
    GLIDE_GET,
    KEYS,
    REDIS_PY_GET,
    others,
    ours,
)
from benchmarks._shop import fill, servers

ALONE = (Bar(ENTITY, REDIS_PY_GET, "p50", 1.0), Bar(ENTITY, REDIS_PY_GET, "cpu", 0.7))
CLOSED = (
    Bar(ENTITY, REDIS_PY_GET, "calls", 8, at_least=True),
    Bar(ENTITY, GLIDE_GET, "calls", 2.5, at_least=True),
)
THINKING = (
    Bar(ENTITY, REDIS_PY_GET, "cpu", 0.35),
    Bar(ENTITY, REDIS_PY_GET, "p50", 1),
    Bar(ENTITY, REDIS_PY_GET, "p99", 1),
)
"""The bars of one caller, of 256 in a closed loop, of 64 with think time."""
THINK = (0.02, 0.06)
"""Seconds."""


async def benchmark(effort: Effort) -> None:
    with servers() as running:
        ends = await fill(running, KEYS)
        mine, theirs = ours(ends), await others(ends, effort.crowd)
        plain = {REDIS_PY_GET: theirs[REDIS_PY_GET]}
        table = await interleave(
            "L2 hit, one caller", plain | mine, under(Load(1, KEYS), effort.closed), effort.rounds
        )
        table.show(ALONE)
        table = await interleave(
            f"L2 hit, {effort.crowd} callers in a closed loop",
            theirs | mine,
            under(Load(effort.crowd, KEYS), effort.closed),
            effort.rounds,
        )
        table.show(CLOSED)
        table = await interleave(
            "L2 hit, 64 callers with think time, CPU above the idle loop",
            {"idle": nothing} | plain | mine,
            under(Load(64, KEYS, think=THINK), effort.thinking),
            effort.rounds,
        )
        table.without("idle").show(THINKING)


if __name__ == "__main__":
    run(benchmark)
