"""Rows as their own transaction left them, under its locks: what write-through stores.

Owns the statement, and which mappings have values that one row's lock covers.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, SelectBase, func
from sqlalchemy.engine import Dialect
from sqlalchemy.sql import visitors

from repocache.errors import MappingRefused
from repocache.mapping.functions import STEADY, called
from repocache.mapping.plan import EntityPlan
from repocache.mapping.reader import reads_alike
from repocache.mapping.statement import LoadStatement, load_statement


def locking_statement(
    plan: EntityPlan[Any], dialect: Dialect, place: str, state: str
) -> LoadStatement:
    """`place`, `state`: of the table and of a connection as readers have it (`reader`).

    Loads the rows of many ids that this transaction has locked, or may lock without waiting; in the
    key's order.

    A row that somebody else has locked is none that this transaction changed: it is left out rather
    than waited for, so that no deadlock comes of it. Under an isolation level that looks at one
    moment it loads nothing: a row that was only declared may have been changed since by somebody
    else, and locking it would fail the whole transaction. It loads nothing either on a connection
    that reads otherwise than a reader's.
    """
    rows = plan.select.with_for_update(key_share=True, skip_locked=True).order_by(*plan.id_columns)
    if dialect.name == "postgresql":
        [table] = plan.tables
        rows = rows.where(
            func.current_setting("transaction_isolation") == "read committed",
            reads_alike(table, place, state, dialect),
        )
    return load_statement(rows, plan.layout.id_stored, dialect)


def unsteady(plan: EntityPlan[Any]) -> str:
    """Why a value may depend on the connection that reads it, beyond what `reader` compares; empty:
    it does not. Any function may, but for a few that are known: `current_setting('app.tenant')`
    does."""
    for column in plan.columns:
        read = column.type.column_expression(column)
        for part in visitors.iterate(column if read is None else read):
            name = called(part)
            if name and name not in STEADY:
                return f"a column calls {name}, whose answer may depend on the connection"
    return ""


def check_lockable(plan: EntityPlan[Any]) -> None:
    """Raise MappingRefused unless a value holds what stands in one row of one table: nobody else's
    commit can change it while that row is locked (protocol, Write-through)."""
    [table, *others] = plan.tables
    strangers = {each.fullname for each in others}
    for column in plan.columns:
        for part in visitors.iterate(column):
            if isinstance(part, Column) and part.table is not table:
                strangers.add(str(part.table))
            elif isinstance(part, SelectBase):
                strangers.add("those of a subquery")
    if strangers:
        raise MappingRefused(
            f"owner {plan.prefix!r}: a value of {plan.model.__name__} holds rows of "
            f"{table.fullname} and {', '.join(sorted(strangers))}, and a commit has not locked "
            "them all: write-through needs a mapping to one table. Give the repository `policy = "
            "CacheAside(...)`"
        )
