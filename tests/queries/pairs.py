"""Statements and writes in pairs: whoever's answer a write changes is told by it.

`python -m tests.queries.pairs [--pairs 10000] [--seed 0]` tries that many on SQLite in memory, and
says how many writes moved a tag though the answer stayed.
"""

from __future__ import annotations

import argparse
import dataclasses
from random import Random
from typing import Any

from sqlalchemy import Connection, create_engine, delete, insert, update
from sqlalchemy.orm import Session

from repocache.queries.analysis import Analysis
from repocache.queries.outlines import Outlines, ids_only
from repocache.queries.sources import place_of
from tests.queries.blog import MODELS, SOURCES, Base
from tests.queries.statements import VALUES, Drawing, Drawn
from tests.queries.touched import touched

WRITES = 8
"""To each statement."""


@dataclasses.dataclass
class Tally:
    """What came of the pairs. `idle`: a tag moved, and the answer stayed. `quiet`: neither did.
    `whole`: the same with every write to one of the tables counted, as by tables' tokens alone."""

    pairs: int = 0
    changed: int = 0
    idle: int = 0
    quiet: int = 0
    whole: int = 0

    def __str__(self) -> str:
        stayed = self.idle + self.quiet
        return (
            f"{self.pairs} pairs, {self.changed} answers changed, none missed; of {stayed} writes "
            f"that changed none {self.idle} ({self.idle / max(1, stayed):.0%}) moved a tag, by "
            f"tables alone {self.whole} ({self.whole / max(1, stayed):.0%}) would"
        )


class Missed(AssertionError):
    """An answer changed, and none of its tags moved."""


class Table:
    """The rows of one table, as the database has them, with a way to write one at random."""

    def __init__(self, model: Any, random: Random) -> None:
        self.model = model
        self.rows: dict[int, dict[str, Any]] = {}
        self._random = random

    def _row(self) -> dict[str, Any]:
        row = {
            column.name: self._random.choice((*VALUES[column.name], None))
            for column in self.model.__table__.columns
        }
        return row | {"id": self._random.choice([id for id in range(1, 9) if id not in self.rows])}

    def write(self, connection: Connection) -> tuple[Any, Any, frozenset[str]]:
        """Its row before and after, and the columns that were set."""
        kind = self._random.random()
        if not self.rows or (kind < 0.3 and len(self.rows) < 7):
            return self.insert(connection)
        before = self._random.choice(list(self.rows.values()))
        table = self.model.__table__
        if kind < 0.5:
            connection.execute(delete(table).where(table.c.id == before["id"]))
            del self.rows[before["id"]]
            return before, None, frozenset()
        names = self._random.sample(sorted(before), self._random.choice((1, 1, 2)))
        if "id" in names and self._random.random() < 0.8:
            names = [max(before)]
        new = self._row()
        after = before | {name: new[name] for name in names}
        sent = update(table).where(table.c.id == before["id"])
        connection.execute(sent.values({name: after[name] for name in names}))
        del self.rows[before["id"]]
        self.rows[after["id"]] = after
        return before, after, frozenset(names)

    def insert(self, connection: Connection) -> tuple[None, dict[str, Any], frozenset[str]]:
        row = self._row()
        connection.execute(insert(self.model.__table__).values(row))
        self.rows[row["id"]] = row
        return None, row, frozenset()


def answer(connection: Connection, drawn: Drawn) -> list[Any]:
    """As a cache would keep it; where its order says nothing, sorted."""
    with Session(connection) as session:
        found = session.execute(drawn.statement)
        if drawn.entities:
            ids = [None if row[0] is None else row[0].id for row in found.unique()]
            return ids if drawn.ordered else sorted(ids, key=repr)
        rows = [tuple(row) for row in found]
        return rows if drawn.ordered else sorted(rows, key=repr)


class Pairs:
    """One statement after the other, each with some writes, in a database with empty tables."""

    def __init__(self, connection: Connection, random: Random, *, full: bool = True) -> None:
        self.tally = Tally()
        self._connection = connection
        self._random = random
        self._drawing = Drawing(random, full=full)
        self._outlines = Outlines(SOURCES)

    def statement(self) -> None:
        """Raises Missed."""
        drawn = self._drawing.statement()
        if drawn.entities:
            drawn = dataclasses.replace(drawn, statement=ids_only(drawn.statement))
        analysis = self._outlines.analysis(drawn.statement, entities=drawn.entities)
        tables = [Table(model, self._random) for model in MODELS]
        for table in tables:
            self._connection.execute(delete(table.model))
            for _ in range(self._random.randint(1, 6)):
                table.insert(self._connection)
        before = answer(self._connection, drawn)
        for _ in range(WRITES):
            table = self._random.choice(tables)
            written = table.write(self._connection)
            after = answer(self._connection, drawn)
            self._count(drawn, analysis, table, written, after != before)
            before = after

    def _count(
        self, drawn: Drawn, analysis: Analysis, table: Table, written: Any, changed: bool
    ) -> None:
        place = place_of(table.model.__table__)
        shapes = [shape for shape in analysis.shapes if shape.place == place]
        moved = touched(shapes, *self._as_a_writer_knows(written, shapes))
        told = not moved.isdisjoint(tag.text for tag in analysis.tags)
        if changed and not told:
            raise Missed(f"{drawn.statement}\n{analysis}\n{table.model.__name__}: {written}")
        self.tally.pairs += 1
        self.tally.changed += changed
        self.tally.idle += told and not changed
        self.tally.quiet += not told and not changed
        self.tally.whole += bool(shapes) and not changed

    def _as_a_writer_knows(self, written: Any, shapes: Any) -> Any:
        """Whole rows, or condition columns alone and what was set."""
        before, after, names = written
        if self._random.random() < 0.5:
            return before, after, None
        wanted = {name for shape in shapes for name in shape.conditions}
        old, new = (
            row and {name: row[name] for name in wanted & row.keys()} for row in (before, after)
        )
        return old, new, names


def on_sqlite(random: Random, statements: int) -> Tally:
    """Raises Missed."""
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        Base.metadata.create_all(connection)
        pairs = Pairs(connection, random)
        for _ in range(statements):
            pairs.statement()
    engine.dispose()
    return pairs.tally


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print(on_sqlite(Random(given.seed), -(-given.pairs // WRITES)))  # noqa: T201


if __name__ == "__main__":
    main()
