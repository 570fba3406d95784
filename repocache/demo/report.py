"""The closing table, and the same as one JSON document."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from repocache.demo.show import PLACES
from repocache.demo.summary import Summary
from repocache.demo.timeline import Timeline

WEIGHTY = ("own writes missed", "older than an applied invalidation")
EXPLANATION = """\
stale: begun after a newer version had been acknowledged to its writer, whoever that was;
    its age is how long ago.
own writes missed: by a read of the same user, here or in another process;
    the bookmark travels with the user.
older than an applied invalidation: from a cache,
    though that process had applied a newer one's invalidation.
Both got the same seeded users, faults, servers and pool sizes, one after the other;
    the textbook has no L1."""

NO_FAULTS = (
    "The servers were given, so no replica was paused and Redis was not killed: only a service was."
)


class Report(msgspec.Struct, frozen=True):
    """One run of the demo. `given`: on servers that the demo did not start, so without faults of
    theirs; `broken`: promises that repocache did not keep; `timelines`: of the contestants."""

    seconds: float
    seed: int
    airports: int
    services: int
    callers: int
    faults: list[str]
    contestants: list[Summary]
    broken: list[str]
    given: bool = False
    timelines: list[Timeline] = []


def print_report(console: Console, report: Report) -> None:
    """For people."""
    console.print(table(report.contestants))
    console.print(EXPLANATION, style="dim", highlight=False)
    if report.given:
        console.print(NO_FAULTS, style="bold", highlight=False)
    if not report.broken:
        kept = (
            "repocache missed no own write and served nothing older than an applied invalidation."
        )
        console.print(kept, style="bold green")
    for broken in report.broken:
        console.print(f"repocache broke its promise: {broken}", style="bold red", highlight=False)


def table(summaries: Sequence[Summary]) -> Table:
    """A column for each contestant."""
    made = Table(title="The same traffic and the same faults", title_justify="left")
    made.add_column("")
    for summary in summaries:
        made.add_column(summary.contestant, justify="right")
    for name, *values in rows(summaries):
        weighty = name in WEIGHTY
        cells = [Text(value, style=grade(value) if weighty else "") for value in values]
        made.add_row(
            Text(name, style="bold" if weighty else ""), *cells, end_section=name in SECTION_ENDS
        )
    return made


SECTION_ENDS = ("primary", "write p99", "older than an applied invalidation")


def rows(summaries: Sequence[Summary]) -> list[list[str]]:
    """The table's texts: a name, and a value for each contestant."""
    places = [
        [f"  {place}", *(f"{each.reads_by.get(place, 0):,}" for each in summaries)]
        for place in PLACES
    ]
    return [
        ["reads", *(f"{each.reads:,}" for each in summaries)],
        *([name.strip(), *values] for name, *values in places),
        ["reads/s", *(f"{each.reads_per_second:,.0f}" for each in summaries)],
        ["answered by a cache", *(f"{each.hit_rate:.1%}" for each in summaries)],
        ["read p50", *(f"{each.read_p50:.2f} ms" for each in summaries)],
        ["read p99", *(f"{each.read_p99:.2f} ms" for each in summaries)],
        ["writes", *(f"{each.writes:,}" for each in summaries)],
        ["write p50", *(f"{each.write_p50:.2f} ms" for each in summaries)],
        ["write p99", *(f"{each.write_p99:.2f} ms" for each in summaries)],
        ["stale reads", *(f"{each.stale_reads:,}" for each in summaries)],
        ["  their age, p99", *(f"{each.stale_p99:,.1f} ms" for each in summaries)],
        ["  their age, most", *(f"{each.stale_max:,.1f} ms" for each in summaries)],
        ["reads of own writes", *(f"{each.own_reads:,}" for each in summaries)],
        ["own writes missed", *(f"{each.own_writes_missed:,}" for each in summaries)],
        ["older than an applied invalidation", *(f"{each.outdated_reads:,}" for each in summaries)],
        ["invalidations not sent in time", *(f"{each.unpublished:,}" for each in summaries)],
        ["errors", *(f"{sum(each.errors.values()):,}" for each in summaries)],
    ]


def grade(value: str) -> str:
    """The style of a count that should be 0."""
    return "bold green" if value == "0" else "bold red"
