"""`repocache keys`: the one owner of every key of an application, as it declares them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from repocache.cli.frame import AsJson, Frame, Target, counted
from repocache.cli.target import NoTarget, find_database
from repocache.database import Database
from repocache.errors import OwnerClash
from repocache.runtime.description import OwnerDescription, OwnerTimes

Live = Annotated[
    bool, typer.Option("--live", help="Start the database, and show the registered shapes too.")
]


def keys(target: Target, live: Live = False, json: AsJson = False) -> None:
    """Show the one owner of every key: prefix, pattern, times, tiers, who writes it, what it
    follows, lookups, key lists, counts, cached selects and tags. Needs no server.

    Ends with status 1 if two owners meet.
    """
    with Frame(json=json) as frame:
        try:
            db = find_database(target)
        except NoTarget as error:
            clash = error.__cause__
            if not isinstance(clash, OwnerClash):
                raise
            told = {"owners": [], "findings": [str(clash)], "shapes": {}}
            frame.answer(told, lambda console: console.print(f"error: {clash}"), found=True)
            return
        shapes = asyncio.run(registered(db)) if live else {}
        document = {"owners": db.owners, "findings": [], "shapes": shapes}
        frame.answer(document, lambda console: show(console, db.owners, shapes))


async def registered(db: Database) -> Mapping[str, Sequence[str]]:
    """The shapes of cached selects. Starts the database for it, in this process."""
    async with db:
        return await db.shapes()


def show(
    console: Console, owners: Sequence[OwnerDescription], shapes: Mapping[str, Sequence[str]]
) -> None:
    """A row for each owner, those beside a repository's rows under it."""
    table = Table()
    for name in ("keys", "owner", "pattern", "times", "answered by", "written by", "follows"):
        table.add_column(name, overflow="fold")
    for each in owners:
        indent = "  " if each.beside and each.kind.value != "computed value" else ""
        table.add_row(
            indent + each.key,
            f"{each.declared} ({each.kind.value})",
            each.pattern + ("" if each.by_default else ", if asked"),
            times_of(each.times),
            " > ".join(tier.value for tier in each.tiers),
            each.written_by,
            ", ".join(each.follows),
        )
    console.print(table)
    for each in owners:
        if each.about and not each.beside:
            console.print(f"{each.prefix}: {each.about}", soft_wrap=True)
    for prefix, several in shapes.items():
        for shape in several:
            console.print(f"{prefix}: {shape}", soft_wrap=True)
    console.print(f"{counted(len(owners), 'owner')}; no two meet")


def times_of(times: OwnerTimes | None) -> str:
    """Those that are not 0, in seconds."""
    if times is None:
        return ""
    named: dict[str, Any] = {
        "ttl": times.ttl,
        "local": times.local_ttl,
        "negative": times.negative_ttl,
        "jitter": times.jitter,
        "stale": times.stale_while_revalidate,
        "fail-safe": times.fail_safe,
        "soft": times.soft_timeout,
        "hard": times.hard_timeout,
    }
    told = [f"{name} {value:g}" for name, value in named.items() if value]
    return ", ".join([*told, *(["early"] if times.refresh_early else [])])
