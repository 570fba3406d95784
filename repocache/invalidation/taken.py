"""What becomes of the rows that a relay has taken: what they say, who gives way, and for how long.
Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from repocache.invalidation.batch import Batch
from repocache.invalidation.notice import LONGEST, TableNotice, Watched, batch_of, is_watched

MOST_TRIES = 16
"""Then a row is put aside: about four hours after the first."""
FIRST_WAIT, LONGEST_WAIT = 1.0, 3600.0
"""Seconds until a row is tried again; each time twice as long."""
LONGEST_WHY = 200
"""Characters."""


class OutboxRow(NamedTuple):
    """One row. `notices`: JSON, None: too long to be read; `source`: the table whose trigger wrote
    it, None: a unit of work did; `tries`: how often it gave way before."""

    id: int
    notices: str | None
    source: str | None = None
    tries: int = 0


class Retry(NamedTuple):
    """A row that gives way to the others. `tries`: with this one; `wait`: seconds, None: it is put
    aside."""

    id: int
    tries: int
    why: str
    wait: float | None


@dataclass(frozen=True, slots=True)
class Understood:
    """`batches`: by row, what is to be delivered. `refused`: why others say nothing. `whole`: why
    these, of `batches` too, count as a change of all of their table."""

    batches: dict[int, Batch] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)
    whole: dict[int, str] = field(default_factory=dict)


def understood(rows: Iterable[OutboxRow], watched: Watched) -> Understood:
    """What the rows say. Of a watched table's row the table is known in any case, and that is
    enough."""
    found = Understood()
    tables = frozenset(watched.tables)
    for row in rows:
        try:
            if row.notices is None:
                raise ValueError(f"more than {LONGEST} bytes")
            found.batches[row.id] = batch_of(row.notices, watched.resolve)
        except ValueError as error:
            if row.source is not None and is_watched(row.source, tables):
                found.batches[row.id] = watched.resolve(TableNotice(row.source, None))
                found.whole[row.id] = f"{error}"
            else:
                found.refused[row.id] = f"{error}"
    return found


def retries(rows: Iterable[OutboxRow], faults: Mapping[int, str]) -> list[Retry]:
    """Of the rows that are at fault, and why."""
    return [_retry(row, faults[row.id]) for row in rows if row.id in faults]


def _retry(row: OutboxRow, why: str) -> Retry:
    before = min(max(row.tries, 0), MOST_TRIES)
    last = before + 1 >= MOST_TRIES
    wait = None if last else min(FIRST_WAIT * 2.0**before, LONGEST_WAIT)
    plain = why[:LONGEST_WHY].replace("\0", "").encode(errors="replace").decode()
    return Retry(row.id, before + 1, plain, wait)
