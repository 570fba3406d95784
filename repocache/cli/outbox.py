"""`repocache outbox`: what the outbox holds, as lines; rows tried again, rows deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from repocache.database import Database
from repocache.invalidation.held import HeldRow

ALL = "all"
MOST = 1_000
"""Rows that are listed."""


class Wanted(NamedTuple):
    """`replay`: ids of rows, or `all`. `discard`: ids."""

    replay: Sequence[str]
    discard: Sequence[str]


class NoRow(Exception):
    """What was named is no row of the outbox. The message says which."""


async def run_outbox(db: Database, wanted: Wanted, tell: Callable[[str], None]) -> bool:
    """Whether rows are put aside when it ends. Starts the database for it, in this process.

    Raises NoRow, ConfigurationError without an outbox, and what starting a database raises.
    """
    replay, discard = (
        _ids("replay", [each for each in wanted.replay if each != ALL]),
        _ids("discard", wanted.discard),
    )
    async with db:
        held = db.outbox
        if ALL in wanted.replay:
            tell(f"tried again: {_named(await held.replay_all())}")
        if replay:
            found = await held.replay(replay)
            tell(f"tried again: {_named(found)}")
            _require("replay", replay, found)
        if discard:
            found = await held.discard(discard)
            tell(f"discarded: {_named(found)}")
            _require("discard", discard, found)
        if not (wanted.replay or wanted.discard):
            for row in await held.rows(MOST):
                tell(line_of(row))
        count = await held.count()
    tell(f"{count.waiting} waiting, {count.aside} put aside")
    return count.aside > 0


def line_of(row: HeldRow) -> str:
    """For a terminal: anybody may have written the row, so nothing that is not printed as it is
    gets there."""
    state = "put aside" if row.is_aside else "waiting"
    why = f": {row.why}" if row.why else ""
    source = f" {row.source}" if row.source else ""
    return _plain(
        f"{row.id} {state} since {row.since}, tries {row.tries}{why};{source} {row.begins}"
    )


def _plain(text: str) -> str:
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


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


def _require(option: str, wanted: Iterable[int], found: Iterable[int]) -> None:
    missing = set(wanted) - set(found)
    if missing:
        raise NoRow(
            f"--{option}: no row {_named(missing)} in the outbox: it was delivered, or never there"
        )
