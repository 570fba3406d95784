"""`repocache switch`: how an owner's reads are answered, in all processes, for a while."""

from __future__ import annotations

import asyncio
import datetime
import getpass
import re
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Console

from repocache.cache.switch import CacheMode
from repocache.cli.frame import AsJson, CommandRefused, Frame, Target, printable
from repocache.cli.named import find_owner
from repocache.cli.target import find_database
from repocache.database import Database
from repocache.errors import CacheUnavailable
from repocache.runtime.switches import LONGEST, SharedSwitch

UNITS = {"s": 1, "m": 60, "h": 3600}
DECLARED = "declared"
MODES = (*(each.value for each in CacheMode), DECLARED)


def switch(  # noqa: PLR0913  # options of a command
    target: Target,
    owner: Annotated[
        str | None, typer.Argument(metavar="OWNER", help="A class, or its prefix.")
    ] = None,
    mode: Annotated[
        str | None,
        typer.Argument(
            metavar="MODE", help="on, shared, off, shadow; declared: as each process has it."
        ),
    ] = None,
    *,
    until: Annotated[
        str, typer.Option(metavar="DURATION", help="For how long: 30s, 10m, 2h; at most 24h.")
    ] = "10m",
    by: Annotated[str, typer.Option(help="Who switches; by default the user here.")] = "",
    listed: Annotated[
        bool, typer.Option("--list", help="Show the switches that count now.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Answer an owner's reads in another mode in every process, those that start meanwhile too,
    through Redis. Running ones follow within some seconds, and return by themselves when the time
    has passed. An owner whose cache comes on again begins with an empty L1.
    """
    with Frame(json=json) as frame:
        db = find_database(target)
        if listed == (owner is not None):
            raise CommandRefused("give an owner and a mode, or --list")
        if owner is not None:
            declared, wanted = find_owner(db, owner), find_mode(mode)
            seconds = seconds_of(until)
            found = asyncio.run(run_switch(db, declared, wanted, (seconds, by or user_here())))
        else:
            found = asyncio.run(run_list(db))
        frame.answer(
            {"switches": {each: document_of(one) for each, one in found.items()}},
            lambda console: show(console, found),
        )


def find_mode(name: str | None) -> CacheMode | None:
    """None: as each process has it. Raises CommandRefused."""
    if name not in MODES:
        raise CommandRefused(f"{name!r} is no mode: give one of {', '.join(MODES)}")
    return None if name == DECLARED else CacheMode(name)


def seconds_of(text: str) -> float:
    """Of `30s`, `10m`, `2h`. Raises CommandRefused."""
    found = re.fullmatch(r"([0-9]{1,6})([smh])", text)
    seconds = int(found[1]) * UNITS[found[2]] if found else 0
    if not 0 < seconds <= LONGEST:
        raise CommandRefused(f"--until {text}: give a duration as 30s, 10m or 2h, at most 24h")
    return seconds


def user_here() -> str:
    """The login name, where the system knows one."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "somebody"


async def run_switch(
    db: Database, owner: type[Any], mode: CacheMode | None, how: tuple[float, str]
) -> Mapping[str, SharedSwitch]:
    """Those that count then. `how`: for how many seconds, and by whom. Starts the database for it,
    in this process. Raises CacheUnavailable."""
    seconds, by = how
    async with db:
        await db.switch_everywhere(owner, mode, seconds=seconds, by=by)
        return await db.switches()


async def run_list(db: Database) -> Mapping[str, SharedSwitch]:
    """Those that count now. Starts the database for it, in this process."""
    if not db.has_redis:
        raise CacheUnavailable("no Redis is configured, by which processes could be told")
    async with db:
        return await db.switches()


def document_of(switch: SharedSwitch) -> dict[str, Any]:
    """For JSON: times as Unix seconds."""
    return {
        "mode": switch.mode.value,
        "by": switch.by,
        "since": switch.since,
        "until": switch.until,
    }


def show(console: Console, found: Mapping[str, SharedSwitch]) -> None:
    """A line for each."""
    for owner, each in sorted(found.items()):
        until = datetime.datetime.fromtimestamp(each.until, datetime.UTC)
        text = f"{owner}: {each.mode.value} by {each.by} until {until:%Y-%m-%d %H:%M:%S} UTC"
        console.print(printable(text), soft_wrap=True)
    if not found:
        console.print("no switch counts: each process has its own mode")
