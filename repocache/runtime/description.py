"""What a database says of the owners of its keys, before it is started: frozen values, for the
command line, pages and whoever else shows it. Pure."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from typing import Any

from sqlalchemy import Table
from sqlalchemy.sql.expression import TableClause

from repocache.behind.declared import BehindBinding
from repocache.cache.policies import CacheAside, Policy
from repocache.computed.declared import AnyComputed, ComputedBinding
from repocache.computed.key import key_owners
from repocache.keys import Keys
from repocache.pages.page import page_keys
from repocache.pages.policy import PageCache
from repocache.repository.beside import CountBinding, KeyListBinding
from repocache.repository.binding import Binding
from repocache.repository.cached_queries import ONLY_ASKED
from repocache.repository.matches import LookupBinding
from repocache.repository.query import entry_owner
from repocache.repository.registry import AnyRepository, Registry
from repocache.runtime.plan import DatabasePlan
from repocache.tags import NAMED
from repocache.tracking.places import place_of

APPLICATION = "work.invalidate(...)"


class OwnerKind(Enum):
    """What an owner's keys lead to: rows by id; the ids of a lookup's values, of a relationship, or
    how many rows refer to an id; answers of selects; tags of a table or of the application's own;
    computed values; whole responses; rows that are written behind."""

    REPOSITORY = "repository"
    LOOKUP = "lookup"
    KEY_LIST = "key list"
    COUNT = "count"
    SELECTS = "selects"
    TAGS = "tags"
    COMPUTED = "computed value"
    PAGE = "page"
    WRITE_BEHIND = "write-behind"


class Tier(Enum):
    """Where an owner's reads are answered, the nearest first."""

    L1 = "l1"
    REDIS = "redis"
    REPLICA = "replica"
    PRIMARY = "primary"


KEPT = (Tier.L1, Tier.REDIS)
"""Where copies lie."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerTimes:
    """Seconds, as the policy has them; `jitter` a share. Of what is written behind `ttl` is how
    long a change waits, about."""

    ttl: float
    local_ttl: float = 0.0
    negative_ttl: float = 0.0
    jitter: float = 0.0
    stale_while_revalidate: float = 0.0
    refresh_early: bool = False
    fail_safe: float = 0.0
    soft_timeout: float = 0.0
    hard_timeout: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerDescription:
    """The one owner of all keys that begin with `prefix`."""

    prefix: str
    kind: OwnerKind
    #: The class that declares it, with its attribute: `Users`, `Users.by_email`.
    declared: str
    #: Module and qualified name of the class.
    source: str
    #: The first sentence of the class's own docstring; empty: it has none.
    about: str = ""
    #: Prefix of the rows that it stands beside; empty: it stands alone.
    beside: str = ""
    #: What its keys look like: `user:{id: int}`.
    key: str
    #: The policy's name: `cache-aside`, `strict write-through`, `write-behind`.
    pattern: str
    #: Whether it relies on a Redis that evicts nothing.
    is_strict: bool = False
    #: None: of tags, which live as long as what is cached under them.
    times: OwnerTimes | None
    #: Those that may answer, the nearest first.
    tiers: tuple[Tier, ...]
    #: Whose commits, loads or flushes make what lies there, in words.
    written_by: str
    #: The mapped class, or the type of a computed value.
    model: str = ""
    #: That its rows lie in.
    tables: tuple[str, ...] = ()
    #: Other tables, whose writes may change what is cached too.
    follows: tuple[str, ...] = ()
    #: Whose rows they are; empty: there is no scope.
    scope: str = ""
    #: Without it only what is asked for by `cached()` is: of selects.
    by_default: bool = True

    @property
    def in_figures(self) -> str:
        """What metrics call its pattern: that of its policy, and of what stands beside rows, what
        it is."""
        its_own = (OwnerKind.REPOSITORY, OwnerKind.COMPUTED, OwnerKind.WRITE_BEHIND)
        return self.pattern if self.kind in its_own else self.kind.value


def describe(plan: DatabasePlan) -> tuple[OwnerDescription, ...]:
    """All owners of a database, each repository's together, in the order in which its classes were
    given."""
    found = _Describer(plan.registry, _near(plan))
    rows = [each for repository, binding in plan.registry for each in found.of(repository, binding)]
    computed = [each for binding in plan.computed.values() for each in found.computed(binding)]
    behind = [_behind(each) for each in plan.behind.values()]
    pages = [] if plan.pages is None else found.pages(plan.pages)
    return (*rows, *computed, *pages, *behind, *found.tags(plan.computed))


def _near(plan: DatabasePlan) -> frozenset[Tier]:
    """The tiers that this database has beside the primary."""
    has = {Tier.L1}
    if plan.address is not None:
        has.add(Tier.REDIS)
    if plan.topology.replicas:
        has.add(Tier.REPLICA)
    return frozenset(has)


class _Describer:
    """`near`: tiers that there are."""

    def __init__(self, registry: Registry, near: frozenset[Tier]) -> None:
        self._registry = registry
        self._near = near

    def of(self, repository: AnyRepository, binding: Binding[Any]) -> Iterator[OwnerDescription]:
        """The repository's own, and of what is cached beside its rows."""
        name, policy = repository.__name__, repository.policy
        model, tables = binding.plan.model.__name__, self._named(binding.rows.plan.tables)
        scope = "" if repository.owner.scope is None else repository.owner.scope.name
        told = partial(
            OwnerDescription, source=_source(repository), about=_about(repository), model=model
        )
        writer = "its commits" if policy.stores_on_commit else "reads fill it"
        ids = [
            binding.plan.mapper.get_property_by_column(each).key for each in binding.plan.id_columns
        ]
        yield told(
            prefix=binding.keys.prefix,
            kind=OwnerKind.REPOSITORY,
            declared=name,
            key=_key(binding.keys, [scope, *ids] if scope else ids),
            pattern=pattern_of(policy),
            is_strict=policy.holds_readers_back,
            times=_times(policy),
            tiers=self._tiers(policy),
            written_by=writer,
            tables=tables,
            follows=self._follows(binding.keys.prefix, tables),
            scope=scope,
        )
        before = [scope] if binding.by_schema else []
        for label, kind, each, columns in _beside(binding):
            kept = policy.caches and not each.ids.strict
            beside, own = policy.invalidating, self._named(each.plan.ids.tables)
            keys = each.plan.keys
            yield told(
                prefix=keys.prefix,
                kind=kind,
                declared=f"{name}.{label}",
                beside=binding.keys.prefix,
                key=_key(keys, [*before, *(columns or ids)]),
                pattern=pattern_of(beside) if kept else "not cached",
                times=_times(beside) if kept else None,
                tiers=self._tiers(beside) if kept else (Tier.PRIMARY,),
                written_by="reads fill it" if kept else "",
                tables=own,
                follows=self._follows(keys.prefix, own),
                scope=scope,
            )
        if self._registry.tags.tables:
            selects = repository.queries or ONLY_ASKED
            owner = entry_owner(repository.owner)
            yield told(
                prefix=owner.prefix,
                kind=OwnerKind.SELECTS,
                declared=f"{name}.queries",
                beside=binding.keys.prefix,
                key=f"{owner.prefix}:{{statement, values, tokens of its tags}}",
                pattern="cache-aside, by tags",
                times=_times(selects.policy),
                tiers=self._tiers(selects.policy),
                written_by="reads fill it",
                tables=tables,
                by_default=selects.by_default,
            )

    def computed(self, binding: ComputedBinding) -> Iterator[OwnerDescription]:
        """The values, under the prefix that they lie under, and the tags that name them."""
        each = binding.declared
        policy: Policy = each.policy
        tags, values = key_owners(each.owner)
        told = partial(OwnerDescription, source=_source(each), about=_about(each))
        yield told(
            prefix=values.prefix,
            kind=OwnerKind.COMPUTED,
            declared=each.__name__,
            beside=tags.prefix,
            key=f"{values.prefix}:{{key, tokens of its tags}}",
            pattern="read-through",
            times=_times(policy),
            tiers=self._tiers(policy),
            written_by=f"{each.__name__}.load",
        )
        yield told(
            prefix=tags.prefix,
            kind=OwnerKind.TAGS,
            declared=each.__name__,
            key=f"{tags.prefix}:{{key}}",
            pattern="tokens",
            times=None,
            tiers=self._tiers(policy),
            written_by=APPLICATION,
        )

    def pages(self, declared: PageCache) -> Iterator[OwnerDescription]:
        """What pages were made of, and under that the pages: nobody but the service makes them."""
        of_traces, of_bodies = page_keys(declared.owner)
        times = replace(
            _times(declared.policy), stale_while_revalidate=declared.stale_while_revalidate
        )
        tiers = tuple(each for each in self._tiers(declared.policy) if each in KEPT)
        for keys, beside, key in (
            (of_traces, "", "digest of the request"),
            (of_bodies, of_traces.prefix, "digest of the request, versions of what it shows"),
        ):
            yield OwnerDescription(
                prefix=keys.prefix,
                kind=OwnerKind.PAGE,
                declared="Database.pages",
                source="",
                beside=beside,
                key=f"{keys.prefix}:{{{key}}}",
                pattern="read-through, by versions",
                times=times,
                tiers=tiers,
                written_by="responses of the service",
            )

    def tags(self, computed: Mapping[AnyComputed, ComputedBinding]) -> Iterator[OwnerDescription]:
        """Of tables, and of the application's own."""
        owned = self._registry.tags.tables
        if not owned:
            return
        aside = CacheAside()
        for each in owned:
            table = ".".join(place_of(each.tagged)) if each.tagged is not None else ""
            yield OwnerDescription(
                prefix=each.keys.prefix,
                kind=OwnerKind.TAGS,
                declared=f"table {table}",
                source="",
                key=f"{each.keys.prefix}:{{shape, values}}",
                pattern="tokens",
                times=None,
                tiers=self._tiers(aside),
                written_by="commits that write the table",
                tables=(table,),
            )
        yield OwnerDescription(
            prefix=NAMED.prefix,
            kind=OwnerKind.TAGS,
            declared="the application",
            source="",
            key=f"{NAMED.prefix}:{{name}}",
            pattern="tokens",
            times=None,
            tiers=self._tiers(aside),
            written_by=APPLICATION,
        )

    def _tiers(self, policy: Policy) -> tuple[Tier, ...]:
        found = []
        if policy.caches and policy.local_ttl:
            found.append(Tier.L1)
        if policy.caches and policy.stores_values and Tier.REDIS in self._near:
            found.append(Tier.REDIS)
        if policy.fills_from_replicas and not policy.primary_alone and Tier.REPLICA in self._near:
            found.append(Tier.REPLICA)
        return (*found, Tier.PRIMARY)

    def _named(self, tables: Iterable[Table]) -> tuple[str, ...]:
        return tuple(map(self._place, tables))

    def _place(self, table: TableClause) -> str:
        """`*.docs`: in the schema of each value of a scope."""
        by_schema = table.schema is None and table.name in self._registry.schemas.names
        return f"*.{table.name}" if by_schema else ".".join(place_of(table))

    def _follows(self, prefix: str, tables: Iterable[str]) -> tuple[str, ...]:
        """Tables beside its own a write to which concerns it."""
        owned = self._registry.owned
        concern = {self._place(each) for each in owned.concerning if prefix in owned.of(each).all}
        return tuple(sorted(concern.difference(tables)))


def _beside(
    binding: Binding[Any],
) -> Iterator[tuple[str, OwnerKind, LookupBinding | KeyListBinding | CountBinding, list[str]]]:
    """Name, kind, what is kept, and the columns of its keys: none, the id's."""
    for name, lookup in binding.lookups.items():
        yield name, OwnerKind.LOOKUP, lookup, [each.key for each in lookup.plan.columns]
    for listed in binding.key_lists:
        name = listed.plan.keys.prefix.removeprefix(f"{binding.keys.prefix}-")
        yield name, OwnerKind.KEY_LIST, listed, []
    for name, count in binding.counts.items():
        yield name, OwnerKind.COUNT, count, []


def _behind(binding: BehindBinding) -> OwnerDescription:
    declared, plan = binding.declared, binding.columns.plan
    keys = binding.columns.keys
    ids = [plan.mapper.get_property_by_column(each).key for each in plan.id_columns]
    return OwnerDescription(
        prefix=keys.prefix,
        kind=OwnerKind.WRITE_BEHIND,
        declared=declared.__name__,
        source=_source(declared),
        about=_about(declared),
        key=_key(keys, ids),
        pattern="write-behind",
        times=OwnerTimes(ttl=declared.flush.every),
        tiers=(Tier.REDIS, Tier.PRIMARY),
        written_by="its flush",
        model=plan.model.__name__,
        tables=_names(plan.tables),
    )


def pattern_of(policy: Policy) -> str:
    """As the policy says it, and that it fills nothing where it does not."""
    if not policy.caches and policy.tells_changes:
        return f"{policy.pattern}, no fill"
    return policy.pattern


def _times(policy: Policy) -> OwnerTimes:
    fresh = policy.freshness
    return OwnerTimes(
        ttl=policy.ttl,
        local_ttl=policy.local_ttl,
        negative_ttl=policy.negative_ttl,
        jitter=policy.jitter,
        stale_while_revalidate=fresh.stale_while_revalidate,
        refresh_early=fresh.refresh_early,
        fail_safe=fresh.fail_safe,
        soft_timeout=fresh.soft_timeout,
        hard_timeout=fresh.hard_timeout,
    )


def _key(keys: Keys, names: Iterable[str]) -> str:
    parts = [f"{{{name}: {kind.__name__}}}" for name, kind in zip(names, keys.types, strict=False)]
    return ":".join([keys.prefix, *parts])


def _names(tables: Iterable[Table]) -> tuple[str, ...]:
    return tuple(".".join(place_of(table)) for table in tables)


def _source(declared: type) -> str:
    return f"{declared.__module__}.{declared.__qualname__}"


def _about(declared: type) -> str:
    """Of its own, not what it inherits."""
    doc = vars(declared).get("__doc__")
    if not isinstance(doc, str):
        return ""
    return re.split(r"(?<=[.!?])\s", " ".join(inspect.cleandoc(doc).split()))[0]
