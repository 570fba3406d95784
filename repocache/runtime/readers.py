"""Repositories that read through the cache of a running database, and what verifies them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from sqlalchemy.orm import RelationshipProperty

from repocache.cache.policies import Policy
from repocache.cache.signature import Signing
from repocache.cache.switch import CacheMode
from repocache.cache.tiered import TieredCache
from repocache.cache.values import Values
from repocache.invalidation.batch import Batch
from repocache.invalidation.bus import PublishRetry
from repocache.keys import Keys
from repocache.repository.access import CachedAccess, never
from repocache.repository.count_rows import CountBinding
from repocache.repository.key_lists import CachedKeyList, KeyListBinding
from repocache.repository.matches import CachedLookup, LookupBinding
from repocache.repository.registry import Registry
from repocache.repository.relationships import ById, CachedTargets, Members
from repocache.repository.repository import Repository
from repocache.repository.rows import Rows
from repocache.repository.storing import source_of
from repocache.routing.routing import ON_PRIMARY, current_session
from repocache.runtime.cache import RunningCache
from repocache.settings import Settings
from repocache.verification.shadow import Shadow
from repocache.verification.verifier import Examined, Verifier

Forget = Callable[[Iterable[Any]], None]
"""Invalidates what is cached of these ids."""
SHADOWED_WITHIN = 2.0
"""Seconds that an invalidation may be on its way before a value that shadow mode met counts as
wrong."""


@dataclass(frozen=True, slots=True)
class RepositoryReader:
    """`repository`: reads through `caches`, the first of which is its own and the others are its
    lookups'. `shadow`: what the first would have answered, in shadow mode."""

    repository: Repository[Any, Any]
    caches: Sequence[TieredCache]
    shadow: Shadow

    def turn(self, mode: CacheMode) -> None:
        """Answer in this mode from the next read on."""
        for each in self.caches:
            each.turn(mode)


def to_examine(registry: Registry, settings: Settings, signing: Signing) -> dict[str, Examined]:
    """What the verifier looks at, by owner."""
    found = {}
    for repository, binding in registry:
        for keys, rows, policy in binding.cached(repository.policy):
            source = source_of(keys, rows, policy, settings.cache, signing)
            values = Values(source, settings.cache.max_value, settings.observe)
            found[keys.prefix] = Examined(source, values, replace(rows, route=ON_PRIMARY).by_id)
    return found


def readers(
    registry: Registry,
    cache: RunningCache,
    settings: Settings,
    signing: Signing,
    verifier: Verifier,
) -> Mapping[type[Repository[Any, Any]], RepositoryReader]:
    """One for each repository."""

    def read(keys: Keys, rows: Rows[Any], policy: Policy) -> tuple[TieredCache, Shadow]:
        source = source_of(keys, rows, policy, settings.cache, signing)
        spawn, observe = cache.tasks.spawn, settings.observe
        shadow = Shadow(keys.prefix, verifier, spawn, SHADOWED_WITHIN, observe)
        return TieredCache(source, cache.shared, current_session), shadow

    def read_beside(
        each: LookupBinding | KeyListBinding | CountBinding, policy: Policy
    ) -> tuple[TieredCache, CachedAccess[Any], Forget]:
        keys = each.plan.keys
        tiered, shadow = read(keys, each.ids, policy.invalidating)
        ids: CachedAccess[Any] = CachedAccess(
            each.ids, tiered, shadow.compared, monotonic=False, is_long=is_long(keys)
        )
        return tiered, ids, partial(forget, cache.retry, keys)

    made = {}
    by_class: dict[type, ById] = {}
    lists: dict[RelationshipProperty[Any], Members] = {}
    for repository, binding in registry:
        caches = []
        lookups = {}
        # A session with monotonic reads takes nothing from caches, and what is never stale is read
        # on the primary: by value, in one statement.
        direct = settings.monotonic or binding.rows.strict
        for name, lookup in ({} if direct else binding.lookups).items():
            tiered, ids, wrong = read_beside(lookup, repository.policy)
            caches.append(tiered)
            lookups[name] = CachedLookup(ids, wrong)
        counts = {}
        for name, count in ({} if direct else binding.counts).items():
            tiered, ids, _ = read_beside(count, repository.policy)
            caches.append(tiered)
            counts[name] = ids
        for each in binding.key_lists:
            if not settings.monotonic and not each.ids.strict:
                tiered, ids, wrong = read_beside(each, repository.policy)
                caches.append(tiered)
                lists[each.plan.relationship] = CachedKeyList(each.plan, ids, wrong)
        tiered, shadow = read(binding.keys, binding.rows, repository.policy)
        access = CachedAccess(
            binding.rows,
            tiered,
            shadow.compared,
            monotonic=settings.monotonic,
            is_long=is_long(binding.keys),
            lookups=binding.lookups,
            cached_lookups=lookups,
            counts=binding.counts,
            cached_counts=counts,
            cached=CachedTargets(by_class, lists),
        )
        by_class[binding.plan.model] = access
        made[repository] = RepositoryReader(repository(binding, access), [tiered, *caches], shadow)
    return made


def is_long(keys: Keys) -> Callable[[Any], bool]:
    """Whether the key of an id is longer than caches keep."""
    return keys.is_long if keys.may_be_long else never


def forget(retry: PublishRetry, keys: Keys, ids: Iterable[Any]) -> None:
    """What is cached of these, in every process, soon."""
    retry.add(Batch({keys.prefix: frozenset(map(keys.text, ids))}))
