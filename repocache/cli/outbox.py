"""`repocache outbox`: what the outbox holds; rows tried again, rows deleted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import typer
from rich.console import Console

from repocache.cli.frame import AsJson, CommandRefused, Frame, Target, printable
from repocache.cli.target import find_database
from repocache.database import Database
from repocache.invalidation.held import HeldRow

ALL = "all"
MOST = 1_000
"""Rows that are listed."""


def outbox(
    target: Target,
    replay: Annotated[
        list[str] | None, typer.Option(help="Id of a row to try again now, or all.")
    ] = None,
    discard: Annotated[
        list[str] | None, typer.Option(help="Id of a row to delete undelivered.")
    ] = None,
    json: AsJson = False,
) -> None:
    """List the invalidations that wait in the outbox and those that were put aside, or try again
    and delete some.

    Ends with status 1 if rows are put aside.
    """
    with Frame(json=json) as frame:
        found = asyncio.run(run_outbox(find_database(target), Wanted(replay or (), discard or ())))
        if found.missing:
            frame.say("\n".join(lines_of(found)[:-1]))
            raise NoRow(found.missing)
        frame.answer(found.document, lambda console: show(console, found), found=found.aside > 0)


class Wanted(NamedTuple):
    """`replay`: ids of rows, or `all`. `discard`: ids."""

    replay: Sequence[str]
    discard: Sequence[str]


class NoRow(CommandRefused):
    """What was named is no row of the outbox. The message says which."""


@dataclass(frozen=True, slots=True)
class OutboxAnswer:
    """`rows`: those that wait and those that were put aside, if nothing was to be done.
    `replayed`, `discarded`: ids, None: nothing was asked. `missing`: which of the ids that were
    named are none, in words."""

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


async def run_outbox(db: Database, wanted: Wanted) -> OutboxAnswer:
    """What was done, and what there is when it ends. Starts the database for it, in this process.

    Raises NoRow for what can be no id, ConfigurationError without an outbox, and what starting a
    database raises.
    """
    ids = _ids("replay", [each for each in wanted.replay if each != ALL])
    doomed = _ids("discard", wanted.discard)
    rows: Sequence[HeldRow] | None = None
    replayed: list[int] = []
    discarded: list[int] = []
    missing: list[str] = []
    async with db:
        held = db.outbox
        if ALL in wanted.replay:
            replayed += await held.replay_all()
        if ids:
            found = await held.replay(ids)
            replayed += [each for each in found if each not in replayed]
            missing += _missing("replay", ids, replayed)
        if doomed:
            discarded = await held.discard(doomed)
            missing += _missing("discard", doomed, discarded)
        if not (wanted.replay or wanted.discard):
            rows = await held.rows(MOST)
        count = await held.count()
    return OutboxAnswer(
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
        lines.append(f"let be tried again, see `repocache outbox`: {_named(found.replayed)}")
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


def _ids(option: str, given: Iterable[str]) -> list[int]:
    """Raises NoRow for what is no number of 64 bits."""
    ids: list[int] = []
    for each in given:
        if not (
            each.removeprefix("-").isdecimal() and len(each) <= 20 and -(2**63) <= int(each) < 2**63
        ):
            raise NoRow(
                f"--{option} {each[:40]}: give the id of a row, as `repocache outbox module:db` "
                "lists it"
            )
        ids.append(int(each))
    return ids


def _named(ids: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(ids))) or "nothing"


def _missing(option: str, wanted: Iterable[int], found: Iterable[int]) -> list[str]:
    gone = set(wanted) - set(found)
    if not gone:
        return []
    return [f"--{option}: no row {_named(gone)} in the outbox: it was delivered, or never there"]
