"""What was noted of a statement while it was compiled: its tables, the columns that were rendered,
and what WHERE and ON say.

Owns the refusal of what is textual.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.sql import visitors

from repocache.errors import QueryRefused
from repocache.queries.conditions import Condition
from repocache.queries.shape import TablePlace
from repocache.queries.sources import Sources


@dataclass(eq=False)
class Occurrence:
    """A table in one place of a statement. `columns`: names of those that were rendered.
    `everything`: its rows as wholes. `conditions`: all of which each row of it that counts
    satisfies."""

    number: int
    place: TablePlace
    columns: set[str] = field(default_factory=set)
    everything: bool = False
    conditions: list[Condition] = field(default_factory=list)


@dataclass(eq=False)
class Sheet:
    """What was noted of one statement. `only_ids`: of its answer only the primary keys of its one
    entity are kept. `declared`: the application has named the tables of what is textual.
    `whole`: places any write to which concerns it, with the reason. `unfit`: why columns that are
    compared with values are no conditions."""

    sources: Sources
    only_ids: bool = False
    declared: bool = False
    occurrences: list[Occurrence] = field(default_factory=list)
    whole: dict[TablePlace, str] = field(default_factory=dict)
    unfit: dict[tuple[TablePlace, str], str] = field(default_factory=dict)

    def refuse_text(self, sql: str) -> None:
        """Raises QueryRefused, unless its tables are declared."""
        if not self.declared:
            raise QueryRefused(
                f"the statement contains the text {sql[:200]!r}, and nobody sees which tables it "
                "reads: write it with SQLAlchemy's expressions, or name all that it reads in "
                "`cached(tables=[...])`"
            )

    def refuse_own_compilers(self, statement: Any) -> None:
        """Elements that a function of the application's own renders, whatever that does. Raises
        QueryRefused, unless tables are declared."""
        for element in visitors.iterate(statement):
            dispatcher = getattr(type(element), "_compiler_dispatcher", None)
            specs = getattr(dispatcher, "specs", {})
            own = specs.get("postgresql") or specs.get("default")
            if own is not None and own.__name__ != "_wrap_existing_dispatch":
                self.refuse_text(f"{type(element).__name__}, compiled by a function")

    def add_whole(self, place: TablePlace, why: str) -> None:
        for each in self.sources.whole(place):
            self.whole.setdefault(each, why)
