"""Repositories that read through the cache of a running database, and what verifies them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from repocache.cache.signature import Signing
from repocache.cache.tiered import TieredCache
from repocache.cache.values import Values
from repocache.repository.access import CachedAccess, never
from repocache.repository.registry import Registry
from repocache.repository.repository import Repository
from repocache.repository.storing import source_of
from repocache.routing.routing import ON_PRIMARY, current_session
from repocache.runtime.cache import RunningCache
from repocache.settings import Settings
from repocache.verification.shadow import Shadow
from repocache.verification.verifier import Examined, Verifier

SHADOWED_WITHIN = 2.0
"""Seconds that an invalidation may be on its way before a value that shadow mode met counts as
wrong."""


@dataclass(frozen=True, slots=True)
class RepositoryReader:
    """`repository`: reads through `cache`. `shadow`: what it would have answered, in shadow
    mode."""

    repository: Repository[Any, Any]
    cache: TieredCache
    shadow: Shadow


def to_examine(registry: Registry, settings: Settings, signing: Signing) -> dict[str, Examined]:
    """What the verifier looks at, by owner."""
    found = {}
    for repository, binding in registry:
        source = source_of(repository, binding, settings.cache, signing)
        values = Values(source, settings.cache.max_value, settings.observe)
        rows = replace(binding.rows, route=ON_PRIMARY).by_id
        found[binding.keys.prefix] = Examined(source, values, rows)
    return found


def readers(
    registry: Registry,
    cache: RunningCache,
    settings: Settings,
    signing: Signing,
    verifier: Verifier,
) -> Mapping[type[Repository[Any, Any]], RepositoryReader]:
    """One for each repository."""
    made = {}
    for repository, binding in registry:
        source = source_of(repository, binding, settings.cache, signing)
        tiered = TieredCache(source, cache.shared, current_session)
        spawn, prefix = cache.tasks.spawn, binding.keys.prefix
        shadow = Shadow(prefix, verifier, spawn, SHADOWED_WITHIN, settings.observe)
        access = CachedAccess(
            binding.rows,
            tiered,
            shadow.compared,
            monotonic=settings.monotonic,
            is_long=binding.keys.is_long if binding.keys.may_be_long else never,
        )
        made[repository] = RepositoryReader(repository(binding, access), tiered, shadow)
    return made
