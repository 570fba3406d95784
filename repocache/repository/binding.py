"""One repository class, checked and bound to a database: its plan, its keys, its views, and the
ways to read it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from repocache.cache.entry import Row
from repocache.cache.policies import Policy
from repocache.keys import Keys
from repocache.mapping.joined_view import JoinedShape
from repocache.mapping.plan import EntityPlan
from repocache.repository.access import Access, NodeAccess
from repocache.repository.beside import CountBinding, KeyListBinding
from repocache.repository.matches import LookupBinding
from repocache.repository.rows import Rows
from repocache.repository.scoped import ScopedAccess, ScopedOwner
from repocache.routing.routing import Route
from repocache.tracking import Owned

M = TypeVar("M")


@dataclass(frozen=True, slots=True)
class Binding(Generic[M]):
    """`keys`, `rows`: as they are cached. `ids`: of what callers name them by, and `plan` under
    these: they are others where the rows belong to a `scope`. `shapes`: the declared views' types
    and what makes them from a row; `joined`: of those that name relationships. `lookups`: by their
    names. `counts`: likewise. `key_lists`: of relationships."""

    keys: Keys
    rows: Rows[M]
    ids: Keys
    plan: EntityPlan[M]
    scope: ScopedOwner | None
    shapes: Mapping[type, Callable[[Row], Any]]
    joined: Mapping[type, JoinedShape[Any]]
    lookups: Mapping[str, LookupBinding]
    counts: Mapping[str, CountBinding]
    key_lists: tuple[KeyListBinding, ...] = ()

    @property
    def beside(self) -> tuple[LookupBinding | KeyListBinding | CountBinding, ...]:
        """What is cached beside the rows, each with keys of its own."""
        return (*self.lookups.values(), *self.key_lists, *self.counts.values())

    @property
    def by_schema(self) -> bool:
        """Whether its tables lie in the schemas of its scope's values."""
        return self.scope is not None and self.scope.scope.schema

    def owned(self, policy: Policy) -> list[Owned]:
        """The owners of keys that its rows have, with the tables that they lie in. `policy`: of the
        repository. Rows of several tables are there before the last part of them is inserted."""
        if not policy.tells_changes:
            return []
        tables = self.rows.plan.tables
        told = policy.tells_inserts or len(tables) > 1
        return [
            Owned(
                self.keys,
                tables,
                self.rows.plan.reads,
                tells_inserts=told,
                by_schema=self.by_schema,
            ),
            *(
                Owned(
                    each.plan.keys,
                    each.plan.ids.tables,
                    moved_by=each.plan.moved_by,
                    tells_inserts=told or each not in self.lookups.values(),
                    by_schema=self.by_schema,
                )
                for each in self.beside
            ),
        ]

    def cached(self, policy: Policy) -> list[tuple[Keys, Rows[Any], Policy]]:
        """These owners with their rows and policies. `policy`: of the repository."""
        return [
            (self.keys, self.rows, policy),
            *((each.plan.keys, each.ids, policy.invalidating) for each in self.beside),
        ]

    def seen(self, access: Access[M]) -> Access[M]:
        """What callers read by, over what knows rows by the ids that they are kept under."""
        return access if self.scope is None else ScopedAccess(access, self.scope)

    def routed(self, route: Route) -> Access[M]:
        """Reads past the cache, from the nodes of this route."""
        return self.seen(NodeAccess(replace(self.rows, route=route), self.lookups, self.counts))
