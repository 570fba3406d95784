"""The scopes of a database's repositories, checked: which class belongs to which, and which values
callers may give.

Owns the verdict on declarations and values, and what a transaction is told. Reading by them is
`scoped`'s.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import URL, Connection, Table
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.asyncio import AsyncEngine

from repocache.engines.engine import Purpose
from repocache.engines.scoped import settings_statement
from repocache.engines.topology_settings import TopologySettings
from repocache.errors import ConfigurationError, UsageError
from repocache.keys import shown
from repocache.mapping.plan import EntityPlan
from repocache.mapping.relation import tables_read
from repocache.mapping.schema_rows import (
    check_keys_across,
    check_tables_apart,
    check_tables_by_schema,
)
from repocache.mapping.scoped import scoped_column
from repocache.mapping.statement import is_possible
from repocache.nodes.topology import Engines
from repocache.repository.binding import Binding
from repocache.repository.counts import Count
from repocache.repository.declared import counts_of, key_lists_of
from repocache.repository.key_lists import KeyList
from repocache.repository.repository import Repository
from repocache.repository.scoped import ScopedOwner
from repocache.routing.around import current_scopes
from repocache.scope import Scope, Scopes, ScopeValue, schema_of, settings_of


def scoped_owner(
    repository: type[Repository[Any, Any]], plan: EntityPlan[Any], dialect: Dialect
) -> ScopedOwner | None:
    """Of a repository class; None: its owner has no scope. Raises ConfigurationError and
    MappingRefused for what cannot be kept by scope."""
    scope, name = repository.owner.scope, repository.__name__
    if scope is None:
        return None
    if dialect.name != "postgresql":
        raise ConfigurationError(
            f"{name}: KeyOwner(scope=...) needs PostgreSQL and its row-level security, or its "
            f"schemas, not {dialect.name}"
        )
    if repository.policy.holds_readers_back:
        raise ConfigurationError(
            f"{name}.policy=WriteThrough(strict=True): rows of a scope are not stored by commits: "
            "give CacheAside, or read with `on_primary()`"
        )
    if not repository.policy.stores_values:
        raise ConfigurationError(
            f"{name}.policy=LocalOnly(...): rows of a scope are one tenant's, or one user's, and "
            "every process would keep those of all: give SharedOnly(ttl=...), or CacheAside with a "
            "short local_ttl"
        )
    beside: list[KeyList | Count] = [*key_lists_of(repository), *counts_of(repository)]
    for each in beside:
        raise ConfigurationError(
            f"{name}.{each.name}: a {type(each).__name__} of a repository with a scope is not "
            "cached: leave it out; `load=` reads relationships by a statement then"
        )
    if scope.schema:
        check_tables_by_schema(name, plan.tables, scope)
        return ScopedOwner(scope, None, name)
    return ScopedOwner(scope, scoped_column(plan, scope, name), name)


def scopes_of(owners: Iterable[ScopedOwner | None]) -> Mapping[str, tuple[Scope, type]]:
    """By name, with the type of their values. Raises ConfigurationError for two of one name that
    differ, and for two with schemas."""
    found: dict[str, tuple[Scope, type]] = {}
    for owner in owners:
        if owner is None:
            continue
        scope, kind = owner.scope, owner.kind
        known, known_kind = found.setdefault(scope.name, (scope, kind))
        if known != scope or known_kind is not kind:
            raise ConfigurationError(
                f"{owner.repository}: {scope!r} of type {kind.__name__} is not {known!r} of type "
                f"{known_kind.__name__} by the same name: give each its own, or one column type"
            )
    with_schemas = [scope.name for scope, _ in found.values() if scope.schema]
    if len(with_schemas) > 1:
        raise ConfigurationError(
            f"the scopes {' and '.join(map(repr, with_schemas))} have schema=True, and a table "
            "lies in one schema: give one of them a setting, or make them one"
        )
    return found


def check_apart(
    bindings: Mapping[type[Repository[Any, Any]], Binding[Any]], tables: Iterable[Table]
) -> None:
    """`tables`: of the metadata. Raises ConfigurationError where the tables of a scope with schemas
    and others could not be told apart."""
    having = next((each.scope for each in bindings.values() if each.by_schema), None)
    if having is None:
        return
    check_keys_across(tables)
    for repository, binding in bindings.items():
        if binding.by_schema:
            continue
        plans = [binding.rows.plan, *(each.plan.ids for each in binding.beside)]
        read = [
            table
            for plan in plans
            for table in (*plan.tables, *plan.reads, *tables_read(plan.columns))
        ]
        check_tables_apart(repository.__name__, read, having.repository, having.scope)


def engines_for(repositories: Iterable[type[Repository[Any, Any]]], engines: Engines) -> Engines:
    """Those of the nodes: all of one role where there are scopes, since what row-level security
    shows is a matter of the role, and only the primary is asked about its own."""
    if not any(each.owner.scope and each.owner.scope.setting for each in repositories):
        return engines
    return _OfOneRole(engines)


class _OfOneRole:
    """Raises ConfigurationError for the URL of another role than the first one's."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines
        self._roles: list[str | None] = []

    def __call__(self, url: URL, purpose: Purpose, settings: TopologySettings) -> AsyncEngine:
        self._roles = self._roles or [url.username]
        if url.username not in self._roles:
            raise ConfigurationError(
                f"replicas: {url.username!r} at {url.host} is another role than the primary's, "
                f"{self._roles[0]!r}: row-level security may show it other rows, and there are "
                "repositories with a scope: give the same role"
            )
        return self._engines(url, purpose, settings)


def checked_values(
    scopes: Mapping[str, tuple[Scope, type]], values: Mapping[str, object]
) -> Scopes:
    """By scope. `values`: by its name. Raises UsageError for an unknown name, and for what is not
    exactly of the type, or no value that a setting can have."""
    found: dict[Scope, ScopeValue] = {}
    for name, value in values.items():
        if name not in scopes:
            known = ", ".join(scopes) or "none"
            raise UsageError(f"scoped({name}=...): no repository has this scope; there is {known}")
        scope, kind = scopes[name]
        if not isinstance(value, str | int | uuid.UUID) or type(value) is not kind:
            raise UsageError(
                f"scoped({name}={shown(value)}): give a {kind.__name__}, as the column has it"
            )
        if value == "" or not is_possible(value):
            raise UsageError(f"scoped({name}={shown(value)}): no row can have this value")
        if scope.schema and not scope.allows(str(value)):
            raise UsageError(
                f"scoped({name}={shown(value)}): this may not name a schema of the scope: say "
                f"which may in Scope({name!r}, schema=True, schemas=...)"
            )
        found[scope] = value
    return found


def enter_scopes(connection: Connection) -> None:
    """Tell a transaction that has begun the values that count for the caller."""
    scopes = current_scopes()
    if settings := settings_of(scopes):
        connection.execute(settings_statement(settings))
    options = connection.get_execution_options()
    schema = schema_of(scopes)
    if schema is not None:
        known = options.get("schema_translate_map") or {}
        names = {**known, None: schema}
        connection.execution_options(schema_translate_map=names, repocache_schema=schema)
    elif "repocache_schema" in options:
        # The caller's own connection, of whose next transaction this is none of the values.
        connection.execution_options(schema_translate_map={}, repocache_schema="")
