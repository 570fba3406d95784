"""Entities by the value that they have in the columns of a lookup. One port, three fits: past the
caches, through them, and (`session_access`) in a unit of work.

Owns the rule that a cached answer counts only if the entity still has the value (protocol, Read
path).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

from repocache.cache.entry import CachedRow
from repocache.cache.l1_reader import Peek, no_l1
from repocache.keys import Keys
from repocache.mapping.lookup import LookupPlan
from repocache.mapping.statement import LoadStatement
from repocache.repository.rows import Rows

M = TypeVar("M")


class Matches(Protocol[M]):
    """What a lookup needs of the place that it reads from. Values come checked, and each once."""

    peek: Peek
    """The row of a value and an id that is at hand without waiting, if there is one."""

    async def by_value(self, values: Sequence[Any]) -> dict[Any, M]:
        """The entities that have these values, in the order asked."""
        ...


class CachedIds(Protocol):
    """The ids that a lookup's values lead to, as its own entries say."""

    peek: Peek

    async def entities(self, values: Sequence[Any]) -> dict[Any, Any]:
        """By value; those that no row has are missing."""
        ...


class EntityRows(Protocol):
    """An owner's rows, as their entries say."""

    async def cached_rows(self, ids: Sequence[Any]) -> Mapping[Any, CachedRow]: ...


@dataclass(frozen=True, slots=True, eq=False)
class LookupBinding:
    """A lookup, bound to a database. `name`: for messages. `values`: of what callers name rows by:
    where these belong to a scope, its value is no part of that. `ids`: its own rows; `statement`:
    loads the owner's whole rows by value. `in_work`: the plan by which a unit of work reads it."""

    name: str
    plan: LookupPlan
    values: Keys
    ids: Rows[Any]
    statement: LoadStatement
    in_work: LookupPlan

    def located(self, rows: Rows[Any]) -> LookupBinding:
        """The same, once the database has said where the owner's `rows` are: its own are there."""
        ids = replace(
            self.ids, primary_only=rows.primary_only, places=rows.places, state=rows.state
        )
        return replace(self, ids=ids)


@dataclass(frozen=True, slots=True)
class CachedLookup:
    """`ids`: the lookup's own entries. `wrong`: is told the values whose entries led astray."""

    ids: CachedIds
    wrong: Callable[[Iterable[Any]], None]


class NodeMatches(Generic[M]):
    """One statement on a node, by value."""

    def __init__(self, lookup: LookupBinding, rows: Rows[M]) -> None:
        self.lookup = lookup.plan
        self._statement = lookup.statement
        self._rows = rows
        self.peek: Peek = no_l1
        self.entity: Callable[[Any], M] = rows.plan.entity

    async def by_value(self, values: Sequence[Any]) -> dict[Any, M]:
        statement, value_of = self._statement, self.lookup.value_of
        rows = await self._rows.by_value(statement.select.params(statement.parameters(values)))
        found = {value_of(row): row for row in rows}
        return {value: self.entity(found[value]) for value in values if value in found}


class ThroughCaches(Generic[M]):
    """The id by the lookup's own entry, the entity by its own."""

    def __init__(
        self, lookup: LookupPlan, cached: CachedLookup, rows: EntityRows, past: NodeMatches[M]
    ) -> None:
        self._lookup = lookup
        self._ids = cached.ids
        self._wrong = cached.wrong
        self._rows = rows
        self._past = past
        self._entity: Callable[[Any], M] = past.entity
        self.peek = cached.ids.peek

    async def by_value(self, values: Sequence[Any]) -> dict[Any, M]:
        """An entity that has another value now, or is gone, says that the lookup's entry is old, or
        is older itself: the database is asked, in one statement by value.

        1. "ada" leads to 7; 2. row 7 becomes "eve", by a statement that did not tell "ada"; 3. a
        read of "ada" finds 7, whose own entry is gone: it is loaded, and says "eve".
        """
        ids = await self._ids.entities(values)
        rows = await self._rows.cached_rows(list(dict.fromkeys(ids.values())))
        found: dict[Any, M] = {}
        doubtful = []
        for value, id in ids.items():
            row = rows[id].row
            if self._lookup.holds(row, value):
                found[value] = self._entity(row)
            else:
                doubtful.append(value)
        if not doubtful:
            return found
        self._wrong(doubtful)
        found |= await self._past.by_value(doubtful)
        return {value: found[value] for value in values if value in found}
