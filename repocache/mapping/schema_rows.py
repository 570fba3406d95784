"""Rows of tables that each value of a scope has in a schema of its own: which schema a row is of
stands behind its columns, and begins its id.

Owns the plans of such rows, and the verdict on tables that could not be told apart by schema. No
statement names the schema: the connection says which one is meant.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar

from sqlalchemy import Table, Text, column
from sqlalchemy.exc import NoReferenceError
from sqlalchemy.sql.expression import TableClause

from repocache.errors import ConfigurationError
from repocache.keys import KeyOwner, Keys
from repocache.mapping.entity import Row
from repocache.mapping.key_columns import key_parts, values_of
from repocache.mapping.lookup import LookupPlan
from repocache.mapping.plan import EntityPlan
from repocache.mapping.relation import fingerprint_of
from repocache.mapping.scoped import scoped_id
from repocache.mapping.statement import LoadStatement, Parameters
from repocache.mapping.stored import stored_column
from repocache.scope import Scope

M = TypeVar("M")

_ACTIONS = frozenset({"CASCADE", "SET NULL", "SET DEFAULT"})


def plan_by_schema(plan: EntityPlan[M], scope: Scope) -> EntityPlan[M]:
    """The same rows with their schema behind them, whose id is that and then the parts of their
    own."""
    name = f"{plan.model.__name__} ({scope.name})"
    stored = stored_column(name, column(scope.name, Text()), plan.rules.dialect, None)
    at = len(plan.layout.stored)
    ids = (at, *plan.layout.ids)
    layout = replace(plan.layout, stored=(*plan.layout.stored, stored), ids=ids)
    key = (*key_parts([stored]), *plan.key)
    return replace(
        plan,
        layout=layout,
        fingerprint=fingerprint_of(plan.fingerprint, [layout.fingerprint()]),
        id_of_row=values_of(layout, ids, key),
        key=key,
    )


def lookup_by_schema(lookup: LookupPlan, owner: KeyOwner, scope: Scope) -> LookupPlan:
    """The same, whose values are the schema and then their own, and lead to ids that are so.
    `owner`: of its keys."""
    ids = plan_by_schema(lookup.ids, scope)
    own_id, own_value = lookup.ids.entity, lookup.value_of

    def id(row: Row) -> Any:
        return scoped_id(row[-1], own_id(row))

    def value(row: Row) -> Any:
        return scoped_id(row[-1], own_value(row))

    return replace(lookup, keys=Keys(owner, ids.key), ids=replace(ids, entity=id), value_of=value)


def statement_by_schema(statement: LoadStatement) -> LoadStatement:
    """The same, to be given ids that begin with their schema, which the connection is told."""

    def parameters(ids: Iterable[Any]) -> Parameters:
        return statement.parameters([id[1] if len(id) == 2 else id[1:] for id in ids])

    return replace(statement, parameters=parameters)


def check_tables_by_schema(name: str, tables: Iterable[TableClause], scope: Scope) -> None:
    """`name`: of the repository, in messages. `tables`: that its own rows lie in. Raises
    ConfigurationError for one that names a schema, and for a foreign key that acts across
    schemas."""
    for table in tables:
        if table.schema is not None:
            raise ConfigurationError(
                f"{name}: {table.schema}.{table.name} names a schema, and the rows of a scope with "
                f"schema=True lie in that of its value: leave the schema out of its table, or the "
                f"scope {scope.name!r} out of its KeyOwner"
            )


def check_keys_across(tables: Iterable[Table]) -> None:
    """`tables`: all of the metadata, some of which lie in the schemas of a scope. Raises
    ConfigurationError for a foreign key between one of those and another, by which a write to one
    schema changes rows of others."""
    for table in tables:
        for key in table.foreign_key_constraints:
            with suppress(NoReferenceError):  # of a table that nobody knows
                target = key.referred_table
                acts = {(each or "").upper() for each in (key.ondelete, key.onupdate)} & _ACTIONS
                if acts and (table.schema is None) != (target.schema is None):
                    raise ConfigurationError(
                        f"{table.fullname}: its foreign key to {target.fullname} acts on the rows "
                        f"of every schema at once ({', '.join(sorted(acts))}): leave the action "
                        "out, and let the application write the rows of each"
                    )


def check_tables_apart(
    name: str, tables: Iterable[TableClause], repository: str, scope: Scope
) -> None:
    """`name`: of a repository without the scope; `tables`: that its rows lie in or are computed
    from; `repository`: one that has the scope. Raises ConfigurationError for one that names no
    schema: it would be another table in each block."""
    for table in tables:
        if table.schema is None:
            raise ConfigurationError(
                f"{name}: {table.name} names no schema, and so would be that of each value of the "
                f"scope {scope.name!r}, which {repository} has: give the table its schema "
                '(__table_args__ = {"schema": "public"}), or the repository the scope'
            )
