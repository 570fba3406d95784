"""`repocache advise`: which tier should own what, with the numbers that say so."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer
from rich.console import Console

from repocache.cli.frame import AsJson, CommandRefused, Frame, Target, printable
from repocache.cli.named import find_owner
from repocache.cli.scraped import OwnerFigures, scrape
from repocache.cli.target import find_database
from repocache.cli.watch import Metrics
from repocache.database import Database
from repocache.doctor.placement import OwnerNumbers, Placement, place
from repocache.doctor.table_counts import NodeCounts, read_counts
from repocache.nodes.primary import NAME
from repocache.runtime.description import OwnerDescription, OwnerKind

ASKED = (OwnerKind.REPOSITORY, OwnerKind.COMPUTED)


def advise(
    target: Target,
    owner: Annotated[
        str | None, typer.Argument(metavar="OWNER", help="A class, or its prefix; all if left out.")
    ] = None,
    metrics: Metrics = None,
    json: AsJson = False,
) -> None:
    """An endpoint is slow: which tier should own the data that it reads? Walks the questions from
    the reader inwards (is it data at all, browser or CDN, written rather than read, L1, Redis, the
    database) by PostgreSQL's own counts, and with --metrics by those of running processes.
    """
    with Frame(json=json) as frame:
        db = find_database(target)
        chosen = chosen_owners(db, owner)
        figures = scrape(metrics) if metrics else {}
        counts = asyncio.run(read_all(db, chosen))
        if counts[NAME].unreachable and not figures:
            raise CommandRefused(f"the primary does not answer: {counts[NAME].unreachable}")
        local = db.settings.local_bytes
        found = [
            place(each, numbers_of(each, counts, figures.get(each.prefix), local))
            for each in chosen
        ]
        frame.answer({"owners": found}, lambda console: show(console, found))


def chosen_owners(db: Database, name: str | None) -> Sequence[OwnerDescription]:
    """Raises CommandRefused for a name that is none."""
    asked = [each for each in db.owners if each.kind in ASKED]
    if name is None:
        return asked
    wanted = find_owner(db, name, kinds="cached").__name__
    return [each for each in asked if each.declared == wanted]


async def read_all(db: Database, owners: Sequence[OwnerDescription]) -> Mapping[str, NodeCounts]:
    """Of every node, by its name. The database is not started for it."""
    topology = db.plan.topology
    if topology.write_engine.dialect.name != "postgresql":
        raise CommandRefused("advise goes by PostgreSQL's counts of its tables")
    tables = {table for each in owners for table in each.tables}
    names = list(topology.urls)
    found = await asyncio.gather(
        *(read_counts(tables, topology.engine_beside(name)) for name in names)
    )
    return dict(zip(names, found, strict=True))


def numbers_of(
    owner: OwnerDescription,
    counts: Mapping[str, NodeCounts],
    figures: OwnerFigures | None,
    local_bytes: int,
) -> OwnerNumbers:
    """`counts`: of every node, of which the primary alone counts writes. `figures`: None: there are
    none of it."""
    primary = counts[NAME]
    own = [primary.tables[each] for each in owner.tables if each in primary.tables]
    scans = sum(
        each.tables[table].scans
        for each in counts.values()
        for table in owner.tables
        if table in each.tables
    )
    since = f" since {primary.since[:19]}" if primary.since else ""
    known = figures is not None and figures.total > 0
    return OwnerNumbers(
        local_bytes=local_bytes,
        reads=figures.reads if known and figures is not None else None,
        distinct=figures.distinct if figures is not None else None,
        load=figures.seconds / figures.loads if figures is not None and figures.loads else None,
        serial=0.0 if figures is None else figures.serial,
        rows=sum(each.rows for each in own) if own else None,
        bytes=sum(each.bytes for each in own) if own else None,
        inserted=sum(each.inserted for each in own),
        updated=sum(each.updated for each in own),
        deleted=sum(each.deleted for each in own),
        scans=scans if own else None,
        since=since,
    )


def show(console: Console, found: Sequence[Placement]) -> None:
    """The advice for each owner, and under it the questions that led there."""
    for each in found:
        mark = "as declared" if each.agrees else f"declared: {each.declared}"
        console.print(f"{each.owner}: {printable(each.advice)} ({mark})", soft_wrap=True)
        for step in each.steps:
            line = f"  {step.reply.value:8}{step.question} {step.evidence}"
            console.print(printable(line), soft_wrap=True)
        for line in each.beside:
            console.print(f"  besides {printable(line)}", soft_wrap=True)
