"""`repocache behind`: what waits to be written, and the dead letters."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer
from rich.console import Console

from repocache.behind.dead_letters import DeadLetter
from repocache.cli.frame import AsJson, CommandRefused, Frame, Target, counted, printable
from repocache.cli.named import find_owner
from repocache.cli.target import find_database
from repocache.database import Database
from repocache.errors import BehindUnavailable

ALL = "all"
MOST = 1_000
"""Letters that are listed of an owner."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BehindAnswer:
    """One owner. `changes`, `seconds`: of the backlog; None: Redis does not answer. `letters`: in
    all; `listed`: the oldest. `done`: how many letters were written (`replay`) or dropped; None:
    nothing was asked. `asked`: what was, in a word."""

    changes: int | None
    seconds: float | None
    letters: int
    why: str = ""
    done: int | None = None
    asked: str = ""
    listed: Sequence[DeadLetter] = field(default=())


def behind(
    target: Target,
    owner: Annotated[
        str | None, typer.Argument(metavar="OWNER", help="A write-behind class; all, if left out.")
    ] = None,
    replay: Annotated[
        list[str] | None, typer.Option(help="Id of a dead letter to write now, or all.")
    ] = None,
    drop: Annotated[
        list[str] | None, typer.Option(help="Id of a dead letter to forget, or all.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Show what waits to be written behind, for how long, and what the database refused; or write
    dead letters now, or forget them. This process flushes what waits, as every process does.

    Ends with status 1 if there are dead letters, or if Redis does not answer.
    """
    with Frame(json=json) as frame:
        db = find_database(target)
        wanted = (ids_of("replay", replay), ids_of("drop", drop))
        if owner is None and wanted != (None, None):
            raise CommandRefused("--replay and --drop need an owner")
        found = asyncio.run(run_behind(db, owner, wanted))
        frame.answer(
            {"owners": {name: document_of(each) for name, each in found.items()}},
            lambda console: show(console, found),
            found=any(map(is_trouble, found.values())),
        )


def is_trouble(found: BehindAnswer) -> bool:
    """Whether somebody has to look: the database refused changes, or what waits is not known."""
    return bool(found.letters or found.why)


Ids = Sequence[int] | str | None
"""Of dead letters; `all`; None: nothing is asked."""


def ids_of(option: str, given: Sequence[str] | None) -> Ids:
    """Raises CommandRefused for what is no number."""
    if not given:
        return None
    if ALL in given:
        return ALL
    if not all(each.isascii() and each.isdecimal() and len(each) < 19 for each in given):
        raise CommandRefused(f"--{option}: give ids of dead letters as numbers, or all")
    return list(map(int, given))


async def run_behind(
    db: Database, owner: str | None, wanted: tuple[Ids, Ids]
) -> Mapping[str, BehindAnswer]:
    """By the owner's prefix. Starts the database for it, in this process. Raises CommandRefused for
    an owner that is none, and what starting a database and the dead letters raise."""
    classes = list(db.plan.behind) if owner is None else [find_owner(db, owner, kinds="behind")]
    async with db:
        return {each.owner.prefix: await _answer(db, each, wanted) for each in classes}


async def _answer(db: Database, declared: type[Any], wanted: tuple[Ids, Ids]) -> BehindAnswer:
    opened, (replay, drop) = db[declared], wanted
    dead, done = opened.dead, None
    words = [word for ids, word in ((replay, "written"), (drop, "dropped")) if ids is not None]
    if replay is not None:
        done = await dead.replay(None if replay == ALL else replay)
    if drop is not None:
        done = (done or 0) + await dead.drop(None if drop == ALL else drop)
    changes: int | None = None
    seconds: float | None = None
    why = ""
    try:
        backlog = await opened.backlog()
        changes, seconds = backlog.changes, backlog.seconds
    except BehindUnavailable as error:
        why = str(error)
    return BehindAnswer(
        changes=changes,
        seconds=seconds,
        letters=await dead.count(),
        why=why,
        done=done,
        asked=" or ".join(words),
        listed=await dead.list(MOST) if done is None else (),
    )


def document_of(found: BehindAnswer) -> dict[str, Any]:
    """For JSON: of a letter which columns it sets and adds to, and not the values."""
    return {
        "changes": found.changes,
        "seconds": found.seconds,
        "letters": found.letters,
        "unreachable": found.why,
        "done": found.done,
        "listed": [
            {
                "id": each.id,
                "key": each.key,
                "sets": sorted(each.sets),
                "adds": sorted(each.adds),
                "why": each.why,
                "since": each.since.isoformat(),
            }
            for each in found.listed
        ],
    }


def show(console: Console, found: Mapping[str, BehindAnswer]) -> None:
    """A line for each owner, and for each letter."""
    if not found:
        console.print("nothing is written behind here")
    for owner, each in found.items():
        waits = f"not known: {each.why}"
        if each.changes is not None:
            waiting = counted(each.changes, "pending change")
            waits = f"{waiting}, the first for {each.seconds or 0:.1f} s"
        done = "" if each.done is None else f"; {counted(each.done, 'letter')} {each.asked}"
        line = f"{owner}: {waits}; {counted(each.letters, 'dead letter')}{done}"
        console.print(printable(line), soft_wrap=True)
        for letter in each.listed:
            columns = ", ".join([*sorted(letter.sets), *(f"+{add}" for add in sorted(letter.adds))])
            line = f"  {letter.id} {letter.key} since {letter.since}: {columns}; {letter.why}"
            console.print(printable(line), soft_wrap=True)
