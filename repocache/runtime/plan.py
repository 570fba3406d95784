"""What a database was made with: checked, and not started yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from repocache.behind.declared import BehindBinding
from repocache.behind.write_behind import AnyBehind
from repocache.cache.signature import Signing
from repocache.computed.declared import AnyComputed, ComputedBinding
from repocache.computed.key import key_owners
from repocache.nodes.topology import Topology
from repocache.pages.page import page_keys
from repocache.pages.policy import PageCache
from repocache.publication.publisher import Lives
from repocache.redis_link import Address
from repocache.repository.query import entry_owner
from repocache.repository.registry import Registry
from repocache.repository.rows import Nodes
from repocache.routing.routing import Routing
from repocache.runtime.edges import DeclaredEdges
from repocache.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabasePlan:
    """What a database was made with, checked, and not started yet. `address`: of Redis, None: this
    process caches for itself alone. `edges`: caches in front of the service, None: there are
    none.
    `pages`: how whole responses are kept, None: they are not."""

    settings: Settings
    topology: Topology
    routing: Routing
    registry: Registry
    address: Address | None
    signing: Signing
    lives: Lives
    behind: Mapping[AnyBehind, BehindBinding]
    computed: Mapping[AnyComputed, ComputedBinding]
    nodes: Nodes
    edges: DeclaredEdges | None
    pages: PageCache | None

    def check_declared(self, given: type[Any]) -> None:
        """Raises ConfigurationError for a class that was not given."""
        if given not in self.behind and given not in self.computed:
            _ = self.registry[given]

    def prefixes(self, declared: type[Any]) -> list[str]:
        """Of all owners of what is cached of a class. Raises ConfigurationError for one that was
        not given."""
        if declared in self.computed:
            return [keys.prefix for keys in key_owners(declared.owner)]
        binding = self.registry[declared]
        beside = [each.plan.keys.prefix for each in binding.beside]
        entries = [entry_owner(declared.owner).prefix] if self.registry.tags.tables else []
        return [binding.keys.prefix, *beside, *entries]

    @property
    def purge_after(self) -> float:
        """Seconds from when a commit was told to the second purge of edges: every process has heard
        of it by then, or knows that it hears nothing, and what was looked at before has arrived. 0:
        there are no edges."""
        if self.edges is None:
            return 0.0
        return self.settings.link.limits.silence + self.edges.transit

    @property
    def never_carried(self) -> frozenset[str]:
        """Owners whose keys no response has for a tag: of what is found by the tokens of tags."""
        found = {keys.prefix for each in self.computed for keys in key_owners(each.owner)}
        if self.pages is not None:
            found.update(keys.prefix for keys in page_keys(self.pages.owner))
        return frozenset(found)

    @property
    def is_shared(self) -> bool:
        """Whether there are others who have to be told, and positions to tell them: without both
        there is neither an outbox nor write-through."""
        return bool(self.topology.history) and self.address is not None
