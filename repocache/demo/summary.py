"""What one contestant's run comes to, and whether repocache kept its promises: from the recorded
history alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from repocache.demo.history import Entry, Findings
from repocache.demo.records import Commit, DemoRead, Failed
from repocache.demo.tally import percentile, place_of

EXAMPLES = 5


class Summary(msgspec.Struct, frozen=True):
    """Times in ms unless they say otherwise.

    `reads_by`, `stale_by`: by tier and node. `unpublished`: writes whose invalidation had not
    reached Redis when they returned. `errors`: by what raised. `own_reads`, `guarded_reads`: how
    many reads the two promises were tried on. `examples`: of reads that broke one.
    """

    contestant: str
    seconds: float
    reads: int
    reads_per_second: float
    reads_by: dict[str, int]
    hit_rate: float
    read_p50: float
    read_p99: float
    writes: int
    write_p50: float
    write_p99: float
    unpublished: int
    errors: dict[str, int]
    own_reads: int
    own_writes_missed: int
    stale_reads: int
    stale_by: dict[str, int]
    stale_p99: float
    stale_max: float
    guarded_reads: int
    outdated_reads: int
    examples: list[DemoRead]


def summarize(
    contestant: str, history: Sequence[Entry], findings: Findings, seconds: float
) -> Summary:
    """`findings`: of this history. `seconds`: how long the traffic lasted."""
    reads = [told for _, told in history if isinstance(told, DemoRead)]
    writes = [told for _, told in history if isinstance(told, Commit)]
    places = Counter(place_of(read) for read in reads)
    read_times = sorted(read.end - read.start for read in reads)
    write_times = sorted(write.end - write.start for write in writes)
    ages = sorted(age for _, age in findings.stale)
    return Summary(
        contestant=contestant,
        seconds=seconds,
        reads=len(reads),
        reads_per_second=len(reads) / seconds,
        reads_by=dict(sorted(places.items())),
        hit_rate=(places["L1"] + places["L2"]) / max(len(reads), 1),
        read_p50=percentile(read_times, 0.50) / 1e6,
        read_p99=percentile(read_times, 0.99) / 1e6,
        writes=len(writes),
        write_p50=percentile(write_times, 0.50) / 1e6,
        write_p99=percentile(write_times, 0.99) / 1e6,
        unpublished=sum(not write.published for write in writes),
        errors=dict(
            Counter(f"{told.what}: {told.why}" for _, told in history if isinstance(told, Failed))
        ),
        own_reads=findings.own_reads,
        own_writes_missed=len(findings.missed),
        stale_reads=len(ages),
        stale_by=dict(sorted(Counter(place_of(read) for read, _ in findings.stale).items())),
        stale_p99=percentile(ages, 0.99) / 1e6,
        stale_max=percentile(ages, 1.0) / 1e6,
        guarded_reads=findings.guarded,
        outdated_reads=len(findings.outdated),
        examples=[*findings.missed[:EXAMPLES], *findings.outdated[:EXAMPLES]],
    )


def broken_promises(summary: Summary) -> list[str]:
    """What the library promises and did not keep in this run, in words; also that a promise was
    never tried."""
    broken = []
    if summary.own_writes_missed:
        broken.append(
            f"{summary.own_writes_missed} of {summary.own_reads} reads missed a write of their own "
            "session"
        )
    if summary.outdated_reads:
        broken.append(
            f"{summary.outdated_reads} of {summary.guarded_reads} cached reads were older than an "
            "applied invalidation"
        )
    if not summary.own_reads or not summary.guarded_reads:
        broken.append("too little happened to try the promises: let it run for longer")
    return broken
