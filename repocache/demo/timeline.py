"""How one contestant's figures went over time, from its recorded history. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import msgspec

from repocache.demo.history import CACHES, Entry, Findings
from repocache.demo.records import Commit, DemoRead
from repocache.demo.tally import percentile

STEPS = 60
"""Of a run, at the most; none is shorter than `SHORTEST`."""
SHORTEST = 0.25
"""Seconds."""


class TimelineStep(msgspec.Struct, frozen=True):
    """From `at` on, in seconds since the traffic began. `hit_rate`, `stale`: shares of the reads
    that ended in it: answered by a cache; begun after a newer version had been acknowledged. `p50`,
    `p99`: of reads, in ms."""

    at: float
    reads: int
    hit_rate: float
    stale: float
    p50: float
    p99: float


class Timeline(msgspec.Struct, frozen=True):
    """`step`: seconds of each. `faults`: when and what."""

    contestant: str
    step: float
    steps: list[TimelineStep]
    faults: list[str]


def timeline(
    contestant: str,
    history: Sequence[Entry],
    findings: Findings,
    seconds: float,
    faults: Sequence[str],
) -> Timeline:
    """`seconds`: how long the traffic lasted. A step without reads is left out."""
    step = max(SHORTEST, seconds / STEPS)
    told = [each for _, each in history if isinstance(each, DemoRead | Commit)]
    began = min((each.start for each in told), default=0)
    stale = {id(read) for read, _ in findings.stale}
    parts: defaultdict[int, list[DemoRead]] = defaultdict(list)
    for each in told:
        if isinstance(each, DemoRead):
            parts[int((each.end - began) / 1e9 / step)].append(each)
    return Timeline(
        contestant,
        step,
        [_step(number * step, reads, stale) for number, reads in sorted(parts.items())],
        list(faults),
    )


def _step(at: float, reads: Sequence[DemoRead], stale: set[int]) -> TimelineStep:
    times = sorted(read.end - read.start for read in reads)
    return TimelineStep(
        at=round(at, 3),
        reads=len(reads),
        hit_rate=sum(read.tier in CACHES for read in reads) / len(reads),
        stale=sum(id(read) in stale for read in reads) / len(reads),
        p50=percentile(times, 0.50) / 1e6,
        p99=percentile(times, 0.99) / 1e6,
    )
