"""What one pattern's rounds come to, and the lines of the table."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks._patterns.contestants import PLAIN
from benchmarks._patterns.process import Reads, Writes
from benchmarks._patterns.staleness import Staleness, pooled, staleness


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of a round, or of several. Latencies in milliseconds; `hits`: share of the reads; `writes`: a
    second, in a closed loop."""

    write50: float
    write99: float
    read50: float
    read99: float
    hits: float
    writes: float
    stale: Staleness


def outcome(reads: Reads, writes: Writes) -> Outcome:
    written: dict[int, list[tuple[int, float]]] = {}
    for id, number, at in sorted(writes.written):
        written.setdefault(id, []).append((number, at))
    found = staleness(reads.shown, written)
    w50, w99 = percentiles(writes.seconds)
    r50, r99 = percentiles(reads.seconds)
    hits = max(0.0, 1 - reads.loads / len(reads.shown))
    return Outcome(w50, w99, r50, r99, hits, writes.rate, found)


def percentiles(seconds: Sequence[float]) -> tuple[float, float]:
    """p50 and p99 in milliseconds."""
    cuts = statistics.quantiles(seconds, n=100)
    return 1000 * cuts[49], 1000 * cuts[98]


def together(rounds: Sequence[Outcome]) -> Outcome:
    """Medians; of stale reads all."""
    middles = {
        name: statistics.median(getattr(each, name) for each in rounds)
        for name in ("write50", "write99", "read50", "read99", "hits", "writes")
    }
    return Outcome(**middles, stale=pooled(each.stale for each in rounds))


def beside(rounds: Sequence[Outcome], plain: Sequence[Outcome], name: str) -> float:
    """How many times the plain one's figure of the same round, as a median."""
    pairs = zip(rounds, plain, strict=True)
    ratios: list[float] = [getattr(own, name) / getattr(other, name) for own, other in pairs]
    return statistics.median(ratios)


COLUMNS = (
    *("pattern", "write p50", "p99", "writes/s", "read p50", "p99", "hits"),
    *("stale reads", "their age, p50", "p99"),
)
HEAD = (f"| {' | '.join(COLUMNS)} |", "| --- |" + " --: |" * (len(COLUMNS) - 1))


def lines(rounds: Mapping[str, Sequence[Outcome]]) -> list[str]:
    """Of the table in docs/policies.md; the plain one's own figures, and the others' as times of
    these."""
    plain = rounds[PLAIN]
    return [*HEAD, *(line(name, each, plain) for name, each in rounds.items())]


def line(name: str, rounds: Sequence[Outcome], plain: Sequence[Outcome]) -> str:
    middle = together(rounds)
    names = ("write50", "write99", "writes", "read50", "read99")
    if rounds is plain:
        cells = [f"{getattr(middle, each):.1f} ms" for each in names]
        cells[2] = f"{middle.writes:,.0f}"
        hits = "-"
    else:
        cells = [f"{beside(rounds, plain, each):.2f}x" for each in names]
        hits = f"{middle.hits:.0%}"
    ages = middle.stale
    share = f"{len(ages.ages) or 'none'} of {ages.reads:,}"
    age = [f"{1000 * ages.quantile(part):.1f} ms" if ages.ages else "-" for part in (0.5, 0.99)]
    return f"| {name} | {' | '.join(cells)} | {hits} | {share} | {' | '.join(age)} |"
