"""`repocache doctor`: what an operator would look for in a set-up, looked for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from repocache.cli.frame import AsJson, Frame, Target, counted, printable
from repocache.cli.target import find_database
from repocache.doctor.checklist import Point, PointVerdict, checklist_of
from repocache.doctor.examination import findings_of, gather
from repocache.doctor.finding import Finding, Severity

STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.NOTE: "cyan"}
MARKS = {
    PointVerdict.PASS: "green",
    PointVerdict.FAIL: "bold red",
    PointVerdict.UNKNOWN: "yellow",
}


def doctor(
    target: Target,
    processes: Annotated[
        int, typer.Option(min=1, help="How many are to run, for the sum of their pools.")
    ] = 1,
    checklist: Annotated[
        bool, typer.Option("--checklist", help="Answer every point of a well-run cache.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Examine Redis, the primary, replicas, tables and settings as the application's own user, and
    say what to do about each finding. Writes nothing but keys of its own in Redis, for seconds.

    Ends with status 1 if a finding is an error; with --checklist if a point fails.
    """
    with Frame(json=json) as frame:
        db = find_database(target)
        setup = asyncio.run(gather(db.plan, db.unguarded, processes=processes))
        findings = findings_of(setup)
        if checklist:
            points = checklist_of(setup, findings)
            failed = any(each.verdict is PointVerdict.FAIL for each in points)
            frame.answer(
                {"points": points}, lambda console: show_points(console, points), found=failed
            )
            return
        errors = any(each.severity is Severity.ERROR for each in findings)
        frame.answer({"findings": findings}, lambda console: show(console, findings), found=errors)


def show_points(console: Console, points: Sequence[Point]) -> None:
    """A line for each, with what says so beneath."""
    for each in points:
        mark = Text(f"{each.verdict.value:8}", style=MARKS[each.verdict])
        console.print(mark.append(each.what, style="default"), soft_wrap=True)
        console.print(f"        {printable(each.evidence)}", soft_wrap=True)


def show(console: Console, findings: Sequence[Finding]) -> None:
    """Three lines for each, the worst first."""
    for each in findings:
        line = Text(f"{each.severity.value}: ", style=STYLES[each.severity])
        console.print(line.append(printable(each.what), style="default"), soft_wrap=True)
        console.print(f"  seen: {printable(each.evidence)}", soft_wrap=True)
        console.print(f"  do: {printable(each.remedy)} (docs/{each.page})", soft_wrap=True)
    counts = {each: sum(found.severity is each for found in findings) for each in Severity}
    told = ", ".join(counted(count, each.value) for each, count in counts.items() if count)
    console.print(told or "nothing was found")
