"""One repository class, checked and bound to a database: its plan, its keys, its views, and the
ways to read it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from repocache.cache.entry import Row
from repocache.keys import Keys
from repocache.mapping.plan import EntityPlan
from repocache.mapping.relation import fingerprint_of
from repocache.repository.access import Access, NodeAccess
from repocache.repository.rows import Rows
from repocache.routing.routing import Route

M = TypeVar("M")


@dataclass(frozen=True, slots=True)
class Binding(Generic[M]):
    """`shapes`: the declared views' types and what makes them from a row."""

    keys: Keys
    rows: Rows[M]
    shapes: Mapping[type, Callable[[Row], Any]]

    @property
    def plan(self) -> EntityPlan[M]:
        return self.rows.plan

    @property
    def fingerprint(self) -> str:
        """Of the rows' shape and of the tables that they lie in: part of each key's name in
        Redis."""
        return fingerprint_of(self.plan.fingerprint, self.rows.places)

    def routed(self, route: Route) -> Access[M]:
        """Reads past the cache, from the nodes of this route."""
        return NodeAccess(replace(self.rows, route=route))
