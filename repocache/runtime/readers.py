"""Repositories that read through the cache of a running database, and what verifies them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

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
from repocache.repository.beside import CountBinding, KeyListBinding
from repocache.repository.binding import Binding
from repocache.repository.key_lists import CachedKeyList
from repocache.repository.matches import CachedLookup, LookupBinding
from repocache.repository.query_access import QueryAccess
from repocache.repository.registry import Registry
from repocache.repository.relationships import ById, CachedTargets, Members
from repocache.repository.repository import Repository
from repocache.repository.rows import Rows
from repocache.repository.storing import source_of
from repocache.routing.around import current_session
from repocache.routing.routing import ON_PRIMARY
from repocache.runtime.cache import RunningCache
from repocache.runtime.queries import RunningQueries
from repocache.settings import Settings
from repocache.verification.shadow import Shadow
from repocache.verification.verifier import Examined, Verifier

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

    @property
    def mode(self) -> CacheMode:
        """In which it answers."""
        return self.caches[0].switch.mode

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


def readers(  # noqa: PLR0913  # keyword-only, the last
    registry: Registry,
    cache: RunningCache,
    settings: Settings,
    signing: Signing,
    verifier: Verifier,
    *,
    queries: RunningQueries | None,
) -> Mapping[type[Repository[Any, Any]], RepositoryReader]:
    """One for each repository. `queries`: None: nothing is cached by queries."""
    opening = _Opening(cache, settings, signing, verifier, queries)
    return {repository: opening.reader(repository, binding) for repository, binding in registry}


class _Opening:
    """What all of a database's readers share. `by_class` and `lists`: what relationships lead to,
    which is complete once the last reader is made."""

    def __init__(
        self,
        cache: RunningCache,
        settings: Settings,
        signing: Signing,
        verifier: Verifier,
        queries: RunningQueries | None,
    ) -> None:
        self._cache = cache
        self._queries = queries
        self._settings = settings
        self._signing = signing
        self._verifier = verifier
        self._by_class: dict[type, ById] = {}
        self._lists: dict[RelationshipProperty[Any], Members] = {}

    def reader(
        self, repository: type[Repository[Any, Any]], binding: Binding[Any]
    ) -> RepositoryReader:
        tiered, shadow = self._tiers(binding.keys, binding.rows, repository.policy)
        beside = self._kept(binding) if repository.policy.caches else ()
        opened = {each: self._beside(each, repository.policy) for each in beside}
        fit = CachedAccess if self._queries is None else QueryAccess
        access: CachedAccess[Any] = fit(
            binding.rows,
            tiered,
            shadow.compared,
            monotonic=self._settings.monotonic,
            is_long=is_long(binding.keys),
            lookups=binding.lookups,
            cached_lookups={
                name: CachedLookup(opened[each].ids, opened[each].wrong)
                for name, each in binding.lookups.items()
                if each in opened
            },
            counts=binding.counts,
            cached_counts={
                name: opened[each].ids for name, each in binding.counts.items() if each in opened
            },
            cached=CachedTargets(self._by_class, self._lists),
        )
        if self._queries is not None and isinstance(access, QueryAccess):
            access = access.with_queries(self._queries.of(repository, binding.rows))
        for each in binding.key_lists:
            if each in opened:
                listed = CachedKeyList(each.plan, opened[each].ids, opened[each].wrong)
                self._lists[each.plan.relationship] = listed
        seen = binding.seen(access)
        self._by_class[binding.plan.model] = seen
        caches = [tiered, *(each.cache for each in opened.values())]
        return RepositoryReader(repository(binding, seen), caches, shadow)

    def _kept(
        self, binding: Binding[Any]
    ) -> Iterable[LookupBinding | KeyListBinding | CountBinding]:
        """What is cached beside the rows. A session with monotonic reads takes nothing from caches,
        and what is never stale is read on the primary: by value, in one statement."""
        return [
            each for each in binding.beside if not self._settings.monotonic and not each.ids.strict
        ]

    def _beside(
        self, each: LookupBinding | KeyListBinding | CountBinding, policy: Policy
    ) -> _Opened:
        keys = each.plan.keys
        tiered, shadow = self._tiers(keys, each.ids, policy.invalidating)
        ids: CachedAccess[Any] = CachedAccess(
            each.ids, tiered, shadow.compared, monotonic=False, is_long=is_long(keys)
        )
        return _Opened(tiered, ids, partial(forget, self._cache.retry, keys))

    def _tiers(self, keys: Keys, rows: Rows[Any], policy: Policy) -> tuple[TieredCache, Shadow]:
        cache, observe = self._cache, self._settings.observe
        source = source_of(keys, rows, policy, self._settings.cache, self._signing)
        shadow = Shadow(keys.prefix, self._verifier, cache.tasks.spawn, SHADOWED_WITHIN, observe)
        return TieredCache(source, cache.shared, current_session), shadow


class _Opened(NamedTuple):
    """What is kept beside rows, once it is open. `wrong`: invalidates what is cached of ids."""

    cache: TieredCache
    ids: CachedAccess[Any]
    wrong: Callable[[Iterable[Any]], None]


def is_long(keys: Keys) -> Callable[[Any], bool]:
    """Whether the key of an id is longer than caches keep."""
    return keys.is_long if keys.may_be_long else never


def forget(retry: PublishRetry, keys: Keys, ids: Iterable[Any]) -> None:
    """What is cached of these, in every process, soon."""
    retry.add(Batch({keys.prefix: frozenset(map(keys.text, ids))}))
