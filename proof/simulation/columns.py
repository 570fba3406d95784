"""What a row has beside its version, and the selects that ask for it.

Owns the columns, which follow from id and version, so that each write moves a row or leaves it, and
what a select's answer is in a snapshot. Which are cached, and how, is `selecting`'s.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, Column, Integer, MetaData, Select, Table, func, select

from proof.simulation.server import Key

SHELVES, COLORS = 3, 2
OLD, NEW = ("version", "shelf"), ("version", "shelf", "color")
"""Columns that two releases know, beside the id."""
PAGE = 2
"""Rows of a page."""


@cache
def values_of(id: int, version: int) -> Mapping[str, int]:
    """A row's columns."""
    drawn = zlib.crc32(f"{id} {version}".encode())
    return {
        "id": id,
        "version": version,
        "shelf": drawn % SHELVES,
        "color": drawn // SHELVES % COLORS,
    }


@cache
def table_of(owner: str, columns: Sequence[str]) -> Table:
    """As a release with these columns maps it."""
    others = [Column(name, Integer, nullable=False) for name in columns]
    return Table(owner, MetaData(), Column("id", BigInteger, primary_key=True), *others)


@dataclass(frozen=True, slots=True)
class Asked:
    """A select: of rows whose `column` has one of the `values`, or of all. `kind`: "rows" (ids with
    versions), "ids", "count", or "page": the first rows by id."""

    owner: str
    kind: str
    column: str = ""
    values: tuple[int, ...] = ()

    def matches(self, id: int, version: int) -> bool:
        return not self.column or values_of(id, version)[self.column] in self.values

    def answer(self, rows: Mapping[Key, tuple[int, bool]]) -> tuple[list[str], list[Any]]:
        """Names and rows in a snapshot."""
        found = sorted(
            (key[1], version)
            for key, (version, exists) in rows.items()
            if exists and key[0] == self.owner and self.matches(key[1], version)
        )
        if self.kind == "count":
            return ["count_1"], [(len(found),)]
        if self.kind == "page":
            found = found[:PAGE]
        return ["id", "version"], found

    def statement(self, columns: Sequence[str]) -> Select[Any]:
        """As the application writes it; the simulated database goes by its option."""
        table = table_of(self.owner, columns)
        count, rows = select(func.count()).select_from(table), select(table.c.id, table.c.version)
        found: Any = count if self.kind == "count" else rows
        if self.column:
            column = table.c[self.column]
            [first, *others] = self.values
            found = found.where(column.in_(self.values) if others else column == first)
        if self.kind == "page":
            found = found.order_by(table.c.id).limit(PAGE)
        answered: Select[Any] = found.execution_options(asked=self)
        return answered


@cache
def selects_of(owner: str, columns: Sequence[str]) -> tuple[Asked, ...]:
    """Those that a release with these columns runs. That one which knows more than the other asks
    for other things, too."""
    shelves = range(SHELVES)
    if "color" not in columns:
        counts = [Asked(owner, "count", "shelf", (each,)) for each in shelves]
        lists = [Asked(owner, "rows", "shelf", (each,)) for each in shelves]
        return (*counts, *lists, Asked(owner, "ids", "shelf", (0,)))
    ids = [Asked(owner, "ids", "shelf", (each,)) for each in shelves]
    colors = [Asked(owner, "rows", "color", (each,)) for each in range(COLORS)]
    several = Asked(owner, "rows", "shelf", (0, 2))
    return (*ids, *colors, several, Asked(owner, "page"), Asked(owner, "count", "color", (0,)))


def changed(
    old: Mapping[str, int] | None, new: Mapping[str, int] | None, columns: Iterable[str]
) -> frozenset[str]:
    """The columns that a write sets: those whose values change; all, of a row that is new or
    gone."""
    if old is None or new is None:
        return frozenset(columns)
    return frozenset(name for name in columns if old[name] != new[name])
