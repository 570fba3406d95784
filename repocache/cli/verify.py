"""`repocache verify`: a sample of what lies in Redis, compared with the primary, as text or
JSON."""

from __future__ import annotations

import msgspec
from rich.console import Console
from rich.table import Table

from repocache.database import Database
from repocache.verification.verdict import Verification


async def run_verify(db: Database, samples: int, within: float) -> Verification:
    """Start the database for it, in this process. Raises what `Database.verify` does."""
    async with db:
        return await db.verify(samples, within)


def as_json(verification: Verification) -> str:
    """One document: counts for each owner and tier, and what they say together."""
    return msgspec.json.encode(
        {
            "within": verification.within,
            "judged": verification.judged,
            "late": verification.late,
            "wrong": verification.wrong,
            "repaired": verification.repaired,
            "wrong_share": verification.wrong_share,
            "nines": verification.nines,
            "found": verification.found,
        }
    ).decode()


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
