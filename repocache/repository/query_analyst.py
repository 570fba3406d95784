"""What a statement's cached answer depends on, as keys of tags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from sqlalchemy import Select
from sqlalchemy.sql.selectable import SelectBase

from repocache.errors import QueryRefused
from repocache.queries.analysis import Analysis
from repocache.queries.outlines import Outlines, ids_only
from repocache.queries.shape import Shape, TablePlace
from repocache.queries.shape_keys import tag_key
from repocache.queries.sources import Sources


class StatementAnalyst:
    """Of one database. `scoped`: tables of which each reader sees rows of his own, by their
    repositories."""

    def __init__(self, sources: Sources, scoped: Mapping[TablePlace, str]) -> None:
        self._outlines = Outlines(sources)
        self._scoped = scoped

    def tags(self, statement: SelectBase, tables: Sequence[object] = ()) -> Mapping[str, Shape]:
        """The keys of its tags, with their shapes. `tables`: that what is textual in it reads.
        Raises QueryRefused for what cannot be cached."""
        return {tag_key(tag): tag.shape for tag in self._analysed(statement, tables).tags}

    def words(self, statement: SelectBase, tables: Sequence[object] = ()) -> Sequence[str]:
        """The same for people, a line each. Of a select of entities their ids alone are kept.
        Raises QueryRefused."""
        described = getattr(statement, "column_descriptions", ())
        if any(each["entity"] is each["expr"] for each in described):
            ids = ids_only(cast("Select[Any]", statement))
            return str(
                self._checked(self._outlines.analysis(ids, entities=True, tables=tables))
            ).splitlines()
        return str(self._analysed(statement, tables)).splitlines()

    def _analysed(self, statement: SelectBase, tables: Sequence[object]) -> Analysis:
        return self._checked(self._outlines.analysis(statement, tables=tables))

    def _checked(self, analysis: Analysis) -> Analysis:
        for place in analysis.places:
            if place in self._scoped:
                raise QueryRefused(
                    f"{place.text} belongs to the scope of {self._scoped[place]}, so that each "
                    "reader has an answer of his own: read it with `on_replica()`, or by id"
                )
        return analysis
