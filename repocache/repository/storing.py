"""From a repository under write-through to what its commits need; and where that policy cannot be
had."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from repocache.cache.entry import CacheSettings, Source
from repocache.cache.policies import Policy
from repocache.cache.signature import Signing
from repocache.cache.values import Values
from repocache.errors import ConfigurationError
from repocache.events import Degraded, Observer
from repocache.keys import Keys
from repocache.mapping.locking import check_lockable, locking_statement, unsteady
from repocache.publication.write_through import WriteThroughOwner
from repocache.repository.binding import Binding
from repocache.repository.repository import Repository
from repocache.repository.rows import Rows

INVALIDATED = "commits invalidate what they wrote and store nothing, as under CacheAside"


def check_storing(
    repository: type[Repository[Any, Any]], binding: Binding[Any], *, redis: bool
) -> None:
    """At construction. Raises MappingRefused, or ConfigurationError for a strict owner without
    Redis or PostgreSQL."""
    if not repository.policy.stores_on_commit:
        return
    check_lockable(binding.plan)
    dialect = binding.rows.nodes.topology.write_engine.dialect.name
    if repository.policy.holds_readers_back and not (redis and dialect == "postgresql"):
        raise strict_needs(
            repository, f"PostgreSQL, not {dialect}" if redis else "Redis: Database(redis=...)"
        )


def strict_needs(repository: type[Repository[Any, Any]], missing: str) -> ConfigurationError:
    """For a strict owner, where this is missing."""
    return ConfigurationError(
        f"{repository.__name__}.policy=WriteThrough(strict=True) needs {missing}; "
        "without it nothing holds readers back: give CacheAside, or read with `on_primary()`"
    )


def source_of(
    keys: Keys, rows: Rows[Any], policy: Policy, settings: CacheSettings, signing: Signing
) -> Source:
    """One owner's side of the cache."""
    fingerprint = signing.fingerprint(rows.fingerprint)
    return Source(
        keys,
        fingerprint,
        policy,
        rows.plan.codec(settings.max_value),
        rows.load,
        rows.plan.id_of_row,
        signing.signature(fingerprint),
        entity=rows.plan.entity,
    )


def write_through_owners(
    repositories: Sequence[tuple[type[Repository[Any, Any]], Binding[Any]]],
    settings: CacheSettings,
    signing: Signing,
    observe: Observer,
) -> list[WriteThroughOwner]:
    """What the commits of these repositories store. A hindrance is no error, but an event: they
    invalidate."""
    hindered = {
        binding.keys.prefix: binding.rows.hindrance or unsteady(binding.plan)
        for _, binding in repositories
    }
    for prefix, hindrance in hindered.items():
        if hindrance:
            observe(Degraded(f"write-through of {prefix!r}: {hindrance}", INVALIDATED))
    sources = [
        source_of(binding.keys, binding.rows, repository.policy, settings, signing)
        for repository, binding in repositories
    ]
    return [
        WriteThroughOwner(
            binding.keys,
            source.fingerprint,
            locking_statement(
                binding.plan,
                binding.rows.nodes.topology.write_engine.dialect,
                "".join(binding.rows.places),
                binding.rows.state,
            ),
            binding.plan.row,
            binding.plan.id_of_row,
            Values(source, settings.max_value, observe),
            stores=not hindered[binding.keys.prefix],
            strict=repository.policy.holds_readers_back,
        )
        for (repository, binding), source in zip(repositories, sources, strict=True)
    ]
