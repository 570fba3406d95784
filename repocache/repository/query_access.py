"""Reads whose answers are cached by their statements: of entities the ids, of columns the rows.

The entities themselves come from their own entries, so that a changed title throws no list away. An
entity that is gone says that the entry is older than its row: the database is asked, past the
entry.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, TypeVar

from sqlalchemy import Executable, Select
from sqlalchemy import Row as SqlRow
from sqlalchemy.sql.selectable import SelectBase

from repocache.cache.switch import CacheMode
from repocache.errors import QueryRefused, UsageError
from repocache.mapping.key_columns import values_of
from repocache.repository.access import CachedAccess
from repocache.repository.answered import Answered
from repocache.repository.cached_queries import CachedQueries, CachingWish
from repocache.repository.query import Query
from repocache.repository.query_cache import QueryCache
from repocache.repository.statements import Statements
from repocache.repository.still_answers import still_answers
from repocache.routing.around import current_session

M = TypeVar("M")


@dataclass(frozen=True, slots=True)
class Queries:
    """How one repository's selects are cached. `wish`: of the caller, besides the plan. `caches`:
    of a repository, by how long its answers are kept."""

    plan: CachedQueries
    wish: CachingWish
    statements: Statements
    caches: Callable[[CachedQueries], QueryCache]

    def of(self, statement: SelectBase) -> Query:
        """Raises QueryRefused for what cannot be cached."""
        return self.statements.query(statement, replace(self.wish, ttl=self.plan.ttl))


class QueryAccess(CachedAccess[M]):
    """The fit of `Access` whose selects are cached too."""

    queries: Queries

    def with_queries(self, queries: Queries) -> Self:
        """The same, whose selects are cached so."""
        found = copy.copy(self)
        found.queries = queries
        return found

    def caching(self, wish: CachingWish) -> Self:
        queries, ttl = self.queries, wish.ttl
        plan = queries.plan
        if ttl is not None:
            given: object = ttl
            if not isinstance(given, int | float) or not given > 0:
                raise UsageError(f"cached(ttl={ttl!r}): give seconds, more than 0")
            if ttl > plan.ttl:
                raise UsageError(
                    f"cached(ttl={ttl}): give at most the {plan.ttl} seconds of the repository's "
                    f"`queries`, or declare `queries = CachedQueries(ttl={ttl})` there: how long a "
                    "commit that could not be published is remembered depends on it"
                )
            local = min(ttl, plan.local_ttl)
            plan = CachedQueries(ttl, local, plan.jitter, freshness=plan.freshness)
        return self.with_queries(replace(queries, plan=replace(plan, by_default=True), wish=wish))

    def analysed(self, statement: SelectBase) -> Sequence[str]:
        return self.queries.statements.analyst.words(statement, self.queries.wish.tables)

    async def select(self, statement: Select[Any]) -> list[M]:
        if not self._cached_now:
            return await super().select(statement)
        plan, layout = self._rows.plan, self._rows.plan.id_layout
        ids_of = statement.with_only_columns(*layout.expressions, maintain_column_froms=True)
        query = self._query(ids_of)
        if query is None:
            return await super().select(statement)
        cached = await self._answer(query)
        id_of_row = values_of(layout, layout.ids, plan.key)
        ids = [id_of_row(row) for row in cached.rows]
        found = await self.entities(list(dict.fromkeys(ids)))
        answers = still_answers(query, plan.mapper)
        if not found.keys() >= set(ids) or not all(map(answers, found.values())):
            return await super().select(statement)
        return [found[id] for id in ids]

    async def rows(self, statement: Executable) -> Sequence[SqlRow[Any]]:
        if not self._cached_now or not isinstance(statement, SelectBase):
            return await super().rows(statement)
        query = self._query(statement)
        if query is None:
            return await super().rows(statement)
        return (await self._answer(query)).served(statement)

    def _query(self, statement: SelectBase) -> Query | None:
        """None: it cannot be cached, and the caller has not asked for that. Raises QueryRefused if
        he has."""
        try:
            return self.queries.of(statement)
        except QueryRefused:
            if self.queries.plan.by_default:
                raise
            return None

    @property
    def _cached_now(self) -> bool:
        """A session with monotonic reads takes nothing from caches. While what is read is recorded,
        whatever can be is: only of that is known when it changes."""
        self._require_started()
        session = current_session()
        recorded = session is not None and session.recorder is not None
        return (
            (self.queries.plan.by_default or (recorded and not self._rows.primary_only))
            and self._cache.switch.mode is CacheMode.ON
            and not (self._monotonic and session is not None)
        )

    async def _answer(self, query: Query) -> Answered:
        bookmark = None if current_session() is None else self._asking()
        return await self.queries.caches(self.queries.plan).answer(query, bookmark)
