"""All that is known of one set-up: what is declared, and what its servers said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from repocache.doctor.edge_facts import EdgeFacts
from repocache.doctor.postgres_facts import NodeFacts
from repocache.doctor.redis_facts import RedisFacts
from repocache.doctor.table_facts import TableFacts
from repocache.events import Unguarded
from repocache.runtime.description import OwnerDescription, OwnerKind
from repocache.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Connections:
    """That one process may open: on the primary, and on each replica."""

    primary: int
    replica: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupFacts:
    """`redis`: None: none is configured. `tables`: None: they were not looked at. `processes`: how
    many of them are to run. `edges`: caches in front of the service. `is_postgres`: whether there
    are positions."""

    settings: Settings
    owners: Sequence[OwnerDescription]
    unguarded: Sequence[Unguarded]
    connections: Connections
    processes: int
    redis: RedisFacts | None
    primary: NodeFacts
    replicas: Sequence[NodeFacts]
    tables: TableFacts | None
    edges: Sequence[EdgeFacts] = ()
    is_postgres: bool = True

    @property
    def is_strict(self) -> bool:
        """Whether an owner relies on a Redis that evicts nothing."""
        return any(each.is_strict for each in self.owners)

    @property
    def is_behind(self) -> bool:
        """Whether Redis holds what is not in the database yet."""
        return any(each.kind is OwnerKind.WRITE_BEHIND for each in self.owners)

    @property
    def answering(self) -> RedisFacts | None:
        """The Redis, if there is one and it answers."""
        return None if self.redis is None or self.redis.unreachable else self.redis
