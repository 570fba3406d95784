"""Cached queries of a running database: what they share, and what each repository has of its
own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from repocache.cache.entry import Source
from repocache.cache.policies import Policy
from repocache.cache.signature import Signing
from repocache.cache.tiered import TieredCache
from repocache.errors import UsageError
from repocache.queries.known import ShapeBook
from repocache.queries.shape import TablePlace
from repocache.repository.cached_queries import ONLY_ASKED, CachedQueries, CachingWish
from repocache.repository.query import EntryCodec, EntryKeys, entry_owner, id_of_entry
from repocache.repository.query_access import Queries
from repocache.repository.query_analyst import StatementAnalyst
from repocache.repository.query_cache import QueryCache, QueryLoader
from repocache.repository.registrar import Registrar
from repocache.repository.registry import Registry
from repocache.repository.repository import Repository
from repocache.repository.rows import Rows
from repocache.repository.statements import Statements
from repocache.repository.tag_floors import TagFloors
from repocache.repository.tokens import Tokens
from repocache.routing.around import current_session
from repocache.runtime.cache import RunningCache
from repocache.settings import Settings

FORM = "query1"
"""In the place of the fingerprint of a row's shape: an entry says its columns' types itself."""
MOST_TIMES = 64
"""Different times of one repository."""


@dataclass(frozen=True, slots=True)
class RunningQueries:
    """`tokens`: of all tags of a database. `analyst`: knows what statements depend on."""

    tokens: Tokens
    analyst: StatementAnalyst
    cache: RunningCache
    settings: Settings
    signing: Signing

    def of(self, repository: type[Repository[Any, Any]], rows: Rows[Any]) -> Queries:
        """One repository's."""
        plan = repository.queries or ONLY_ASKED
        caches = EntryCaches(self._opener(repository, rows))
        statements = Statements(self.analyst, rows.nodes.topology.write_engine.dialect)
        return Queries(plan, CachingWish(), statements, caches)

    def _opener(
        self, repository: type[Repository[Any, Any]], rows: Rows[Any]
    ) -> Callable[[CachedQueries], QueryCache]:
        shared, owner = self.cache.shared, entry_owner(repository.owner)
        answer = replace(rows, owner=owner.prefix).answer
        loader = QueryLoader(TagFloors(shared.records, shared.settler), answer)
        fingerprint = self.signing.fingerprint(FORM)

        def opened(plan: CachedQueries) -> QueryCache:
            source = Source(
                EntryKeys(owner),
                fingerprint,
                plan.policy,
                EntryCodec(),
                loader.load,
                id_of_entry,
                self.signing.signature(fingerprint),
                alone=True,
            )
            return QueryCache(self.tokens, TieredCache(source, shared, current_session))

        return opened


class EntryCaches:
    """Of one repository, by how long its answers are kept."""

    def __init__(self, opened: Callable[[CachedQueries], QueryCache]) -> None:
        self._opened = opened
        self._by_plan: dict[CachedQueries, QueryCache] = {}

    def __call__(self, plan: CachedQueries) -> QueryCache:
        """Raises UsageError for too many different times."""
        found = self._by_plan.get(plan)
        if found is None:
            if len(self._by_plan) >= MOST_TIMES:
                raise UsageError(
                    f"cached(ttl={plan.ttl}): there are {MOST_TIMES} different times already; give "
                    "one of a few"
                )
            found = self._by_plan[plan] = self._opened(plan)
        return found


def open_queries(  # noqa: PLR0913  # keyword-only, the last
    registry: Registry,
    cache: RunningCache,
    settings: Settings,
    signing: Signing,
    book: ShapeBook,
    *,
    computed: Iterable[Policy],
) -> RunningQueries | None:
    """None: nothing is cached with tags. `computed`: of computed values."""
    if not registry.tags.tables:
        return None
    shared = cache.shared
    line, observe = shared.primary.lineage, settings.observe
    registrar = Registrar(shared.records, shared.views, line, book, observe)
    policies: list[Policy] = [(each.queries or ONLY_ASKED).policy for each, _ in registry]
    policies += computed
    tokens = Tokens(
        [each.prefix for each in registry.tags.keys],
        shared,
        registrar,
        ttl=max(each.ttl + each.freshness.beyond for each in policies),
        local_ttl=max(each.local_ttl for each in policies),
        renewed=any(each.freshness.is_aged for each in policies),
        signing=signing,
        session_of=current_session,
    )
    analyst = StatementAnalyst(registry.sources, scoped_tables(registry))
    return RunningQueries(tokens, analyst, cache, settings, signing)


def scoped_tables(registry: Registry) -> Mapping[TablePlace, str]:
    """Those of scopes' rows, with their repositories: where they have schemas, all that name none,
    and views of such."""
    sources = registry.sources
    found: dict[TablePlace, str] = {}
    for repository, binding in registry:
        if binding.scope is None:
            continue
        own = list(binding.rows.plan.tables)
        if binding.by_schema:
            own += [table for table in sources.tables if table.schema is None]
            names = registry.schemas.names
            for view, beneath in sources.beneath.items():
                if any(place[1] in names for place in beneath):
                    found[view] = repository.__name__
        found |= dict.fromkeys(map(sources.place, own), repository.__name__)
    return found
