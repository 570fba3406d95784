"""`repocache outbox` and `repocache purges`: what the outbox holds, and what edges have still to
purge; rows tried again, rows deleted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import typer
from rich.console import Console

from repocache.cli.frame import AsJson, CommandRefused, Frame, Target, printable
from repocache.cli.target import find_database
from repocache.database import Database
from repocache.invalidation.held import Held, HeldRow

ALL = "all"
MOST = 1_000
"""Rows that are listed."""
Replay = Annotated[list[str] | None, typer.Option(help="Id of a row to try again now, or all.")]
Discard = Annotated[list[str] | None, typer.Option(help="Id of a row to delete undelivered.")]


class Wanted(NamedTuple):
    """`replay`: ids of rows, or `all`. `discard`: ids."""

    replay: Sequence[str]
    discard: Sequence[str]


@dataclass(frozen=True, slots=True)
class HeldTable:
    """`command`: that shows it. `name`: of the table, in words. `held`: what it holds."""

    command: str
    name: str
    held: Callable[[Database], Held]


OUTBOX = HeldTable("outbox", "the outbox", lambda db: db.outbox)
PURGES = HeldTable("purges", "purges", lambda db: db.purges)


def outbox(
    target: Target, replay: Replay = None, discard: Discard = None, json: AsJson = False
) -> None:
    """List the invalidations that wait in the outbox and those that were put aside, or try again
    and delete some.

    Ends with status 1 if rows are put aside.
    """
    answer(OUTBOX, target, Wanted(replay or (), discard or ()), json=json)


def purges(
    target: Target, replay: Replay = None, discard: Discard = None, json: AsJson = False
) -> None:
    """List what edges have still to purge, each row for some seconds, and what was put aside, or
    try again and delete some.

    Ends with status 1 if rows are put aside.
    """
    answer(PURGES, target, Wanted(replay or (), discard or ()), json=json)


def answer(table: HeldTable, target: str, wanted: Wanted, *, json: bool) -> None:
    """What both commands do."""
    with Frame(json=json) as frame:
        found = asyncio.run(run_outbox(find_database(target), wanted, table))
        if found.missing:
            frame.say("\n".join(lines_of(found)[:-1]))
            raise NoRow(found.missing)
        frame.answer(found.document, lambda console: show(console, found), found=found.aside > 0)


class NoRow(CommandRefused):
    """What was named is no row of the table. The message says which."""


@dataclass(frozen=True, slots=True)
class OutboxAnswer:
    """`command`: that shows it. `rows`: those that wait and those that were put aside, if nothing
    was to be done. `replayed`, `discarded`: ids, None: nothing was asked. `missing`: which of
    the ids that were named are none, in words."""

    command: str
    waiting: int
    aside: int
    rows: Sequence[HeldRow] | None = None
    replayed: Sequence[int] | None = None
    discarded: Sequence[int] | None = None
    missing: str = ""

    @property
    def document(self) -> dict[str, Any]:
        """For JSON."""
        rows = None if self.rows is None else [each._asdict() for each in self.rows]
        return {
            "waiting": self.waiting,
            "aside": self.aside,
            "rows": rows,
            "replayed": self.replayed,
            "discarded": self.discarded,
        }


async def run_outbox(db: Database, wanted: Wanted, table: HeldTable = OUTBOX) -> OutboxAnswer:
    """What was done, and what there is when it ends. Starts the database for it, in this process.

    Raises NoRow for what can be no id, ConfigurationError without the table, and what starting a
    database raises.
    """
    ids = _ids("replay", [each for each in wanted.replay if each != ALL], table)
    doomed = _ids("discard", wanted.discard, table)
    rows: Sequence[HeldRow] | None = None
    replayed: list[int] = []
    discarded: list[int] = []
    missing: list[str] = []
    async with db:
        held = table.held(db)
        if ALL in wanted.replay:
            replayed += await held.replay_all()
        if ids:
            found = await held.replay(ids)
            replayed += [each for each in found if each not in replayed]
            missing += _missing("replay", ids, replayed, table)
        if doomed:
            discarded = await held.discard(doomed)
            missing += _missing("discard", doomed, discarded, table)
        if not (wanted.replay or wanted.discard):
            rows = await held.rows(MOST)
        count = await held.count()
    return OutboxAnswer(
        table.command,
        count.waiting,
        count.aside,
        rows,
        sorted(replayed) if wanted.replay else None,
        sorted(discarded) if wanted.discard else None,
        "; ".join(missing),
    )


def show(console: Console, found: OutboxAnswer) -> None:
    """A line for each row, and how many there are."""
    for line in lines_of(found):
        console.print(line, soft_wrap=True)


def lines_of(found: OutboxAnswer) -> list[str]:
    """As `show` prints them."""
    lines = []
    if found.replayed is not None:
        lines.append(
            f"let be tried again, see `repocache {found.command}`: {_named(found.replayed)}"
        )
    if found.discarded is not None:
        lines.append(f"discarded: {_named(found.discarded)}")
    lines += map(line_of, found.rows or ())
    return [*lines, f"{found.waiting} waiting, {found.aside} put aside"]


def line_of(row: HeldRow) -> str:
    """For a terminal."""
    state = "put aside" if row.is_aside else "waiting"
    why = f": {row.why}" if row.why else ""
    source = f" {row.source}" if row.source else ""
    return printable(
        f"{row.id} {state} since {row.since}, tries {row.tries}{why};{source} {row.begins}"
    )


def _ids(option: str, given: Iterable[str], table: HeldTable) -> list[int]:
    """Raises NoRow for what is no number of 64 bits."""
    ids: list[int] = []
    for each in given:
        if not (
            each.removeprefix("-").isdecimal() and len(each) <= 20 and -(2**63) <= int(each) < 2**63
        ):
            raise NoRow(
                f"--{option} {each[:40]}: give the id of a row, as `repocache {table.command} "
                "module:db` lists it"
            )
        ids.append(int(each))
    return ids


def _named(ids: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(ids))) or "nothing"


def _missing(
    option: str, wanted: Iterable[int], found: Iterable[int], table: HeldTable
) -> list[str]:
    gone = set(wanted) - set(found)
    if not gone:
        return []
    return [f"--{option}: no row {_named(gone)} in {table.name}: it was delivered, or never there"]
