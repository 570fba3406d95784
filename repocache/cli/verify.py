"""`repocache verify`: a sample of what lies in Redis, compared with the primary."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from repocache.cli.frame import AsJson, Frame, Target
from repocache.cli.target import find_database
from repocache.database import Database
from repocache.verification.verdict import Verification


def verify(
    target: Target,
    samples: Annotated[int, typer.Option(min=1, help="Values to look at, at most.")] = 5_000,
    within: Annotated[
        float, typer.Option(min=0, help="Seconds that an invalidation may be on its way.")
    ] = 2.0,
    json: AsJson = False,
) -> None:
    """Compare values that are cached in Redis with the primary, and invalidate those that are
    wrong.

    Ends with status 1 if one was older than the primary's row for longer than `--within`.
    """
    with Frame(json=json) as frame:
        found = asyncio.run(run_verify(find_database(target), samples, within))
        frame.answer(
            document_of(found),
            lambda console: print_verification(console, found),
            found=found.wrong > 0,
        )


async def run_verify(db: Database, samples: int, within: float) -> Verification:
    """Start the database for it, in this process. Raises what `Database.verify` does."""
    async with db:
        return await db.verify(samples, within)


def document_of(verification: Verification) -> dict[str, Any]:
    """Counts for each owner and tier, and what they say together."""
    return {
        "within": verification.within,
        "judged": verification.judged,
        "late": verification.late,
        "wrong": verification.wrong,
        "repaired": verification.repaired,
        "wrong_share": verification.wrong_share,
        "nines": verification.nines,
        "found": verification.found,
    }


def print_verification(console: Console, verification: Verification) -> None:
    """A table and a sentence."""
    table = Table("owner", "tier", "right", "moved", "late", "wrong")
    for each in verification.found:
        table.add_row(
            each.owner, each.tier, *map(str, (each.right, each.moved, each.late, each.wrong))
        )
    if verification.found:
        console.print(table)
    console.print(str(verification))
