"""Reads of rows that belong to a scope: what the caller names by an id is kept under the value that
counts for it with the id.

Owns the way from a caller's ids, and values of lookups, to those and back. All else is the access
beneath.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

from sqlalchemy import Executable, Select
from sqlalchemy import Row as SqlRow
from sqlalchemy.orm import InstrumentedAttribute, Mapper
from sqlalchemy.sql.selectable import SelectBase

from repocache.cache.entry import CachedRow
from repocache.cache.l1_reader import Peek, no_l1
from repocache.errors import ConfigurationError, ScopeMissing, UsageError
from repocache.mapping.plan import EntityPlan
from repocache.mapping.schema_rows import plan_by_schema
from repocache.mapping.scoped import ScopedColumn, scoped_id, scoped_plan
from repocache.repository.access import NONE, Access
from repocache.repository.cached_queries import CachingWish
from repocache.repository.count_rows import CountAccess
from repocache.repository.matches import Matches
from repocache.repository.relations import Branch
from repocache.repository.relationships import NOTHING_CACHED
from repocache.routing.around import current_scopes
from repocache.scope import Scope, ScopeValue

M = TypeVar("M")


OF_A_SCOPE = "its rows belong to a scope: a commit may have written those of other values too"
"""Why a commit stores none of them."""


@dataclass(frozen=True, slots=True)
class ScopedOwner:
    """`column`: that has the scope's value; None: the schema that a row lies in is it.
    `repository`: its class's name, for messages."""

    scope: Scope
    column: ScopedColumn | None
    repository: str

    @property
    def kind(self) -> type:
        """The type of its values."""
        return str if self.column is None else self.column.kind

    def kept(self, plan: EntityPlan[M]) -> EntityPlan[M]:
        """The rows of this plan under the scope's value."""
        if self.column is None:
            return plan_by_schema(plan, self.scope)
        return scoped_plan(plan, self.column)

    def before(
        self, name: str, mapper: Mapper[Any], attributes: Sequence[InstrumentedAttribute[Any]]
    ) -> Sequence[InstrumentedAttribute[Any]]:
        """Those of a lookup, behind the scope's own, if there is one. Raises ConfigurationError if
        they name it."""
        if self.column is None:
            return attributes
        key = mapper.get_property_by_column(self.column.column).key
        if key in {each.key for each in attributes}:
            raise ConfigurationError(
                f"{name}: {key!r} says whose a row is, and is part of every key: leave it out"
            )
        return (getattr(mapper.class_, key), *attributes)

    def value(self) -> ScopeValue:
        """That counts for the caller. Raises ScopeMissing."""
        value = current_scopes().get(self.scope)
        if value is None:
            name = self.scope.name
            raise ScopeMissing(
                f"rows of {self.repository} belong to the scope {name!r}: use it in `async with "
                f"db.scoped({name}=...):`"
            )
        return value

    def id(self, id: Any) -> tuple[Any, ...]:
        """Under which a row is kept for the caller. Raises ScopeMissing."""
        return scoped_id(self.value(), id)


class ScopedAccess(Generic[M]):
    """The fit of `Access` for rows of a scope, over one that knows them by scoped ids."""

    def __init__(self, access: Access[M], owner: ScopedOwner) -> None:
        self._access = access
        self._owner = owner
        self._peek = access.peek
        self.peek: Peek = no_l1 if access.peek is no_l1 else self._at_hand
        self.all_rows = access.all_rows
        self.lookups: Mapping[str, Matches[M]] = {
            name: ScopedMatches(each, owner) for name, each in access.lookups.items()
        }
        self.counts: Mapping[str, CountAccess] = NONE
        self.lists = NOTHING_CACHED.lists

    @property
    def all_entities(self) -> Select[Any]:
        return self._access.all_entities

    def _at_hand(self, id: Any) -> CachedRow | None:
        return self._peek(self._owner.id(id))

    async def cached_rows(self, ids: Sequence[Any]) -> Mapping[Any, CachedRow]:
        return await _by_own(self._owner, ids, self._access.cached_rows)

    async def entity(self, id: Any) -> M | None:
        return await self._access.entity(self._owner.id(id))

    async def entities(self, ids: Sequence[Any]) -> dict[Any, M]:
        return await _by_own(self._owner, ids, self._access.entities)

    async def select(self, statement: Select[Any]) -> list[M]:
        self._owner.value()
        return await self._access.select(statement)

    async def load(self, statement: Select[Any]) -> list[M]:
        self._owner.value()
        return await self._access.load(statement)

    async def rows(self, statement: Executable) -> Sequence[SqlRow[Any]]:
        self._owner.value()
        return await self._access.rows(statement)

    async def bring(self, entities: Iterable[M], wanted: Sequence[Branch]) -> None:
        await self._access.bring(entities, wanted)

    def caching(self, wish: CachingWish) -> Self:
        raise UsageError(self._uncached)

    def analysed(self, statement: SelectBase) -> Sequence[str]:
        raise UsageError(self._uncached)

    @property
    def _uncached(self) -> str:
        return (
            f"selects of {self._owner.repository} are not cached: each value of the scope "
            f"{self._owner.scope.name!r} has answers of its own. Read by id, or without `cached()`"
        )


class ScopedMatches(Generic[M]):
    """The fit of `Matches` for lookups of such rows."""

    def __init__(self, matches: Matches[M], owner: ScopedOwner) -> None:
        self._matches = matches
        self._owner = owner
        self.peek: Peek = no_l1

    async def by_value(self, values: Sequence[Any]) -> dict[Any, M]:
        return await _by_own(self._owner, values, self._matches.by_value)


T = TypeVar("T")


async def _by_own(
    owner: ScopedOwner,
    ids: Sequence[Any],
    read: Callable[[Sequence[Any]], Any],
) -> dict[Any, T]:
    """What is read by scoped ids, by the caller's own and in their order."""
    value = owner.value()
    scoped = {scoped_id(value, id): id for id in ids}
    found = await read(list(scoped))
    return {id: found[each] for each, id in scoped.items() if each in found}
