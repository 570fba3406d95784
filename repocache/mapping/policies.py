"""Whether row-level security shows a reader the rows of one value of a scope, and no others: only
then a row that is kept under that value is what everybody with it would see.

Owns the question to PostgreSQL and the verdict.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import Column, Table, TextClause, text
from sqlalchemy.engine import Dialect

from repocache.errors import MappingRefused

_POLICIES = text(
    "SELECT class.relrowsecurity, pg_catalog.row_security_active(class.oid), current_user::text,"
    " CAST(coalesce((SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(policy.polname,"
    " policy.polpermissive, pg_catalog.pg_get_expr(policy.polqual, policy.polrelid)))"
    " FROM pg_catalog.pg_policy AS policy WHERE policy.polrelid = class.oid"
    " AND policy.polcmd IN ('r', '*') AND (CAST(0 AS oid) = ANY (policy.polroles) OR EXISTS"
    " (SELECT FROM pg_catalog.unnest(policy.polroles) AS roles (member)"
    " WHERE pg_catalog.pg_has_role(roles.member, 'USAGE')))), '[]') AS text)"
    " FROM pg_catalog.pg_class AS class"
    " WHERE class.oid = CAST(pg_catalog.to_regclass(:name) AS oid)"
)


class Secured(NamedTuple):
    """A row of the answer. `enabled`: on the table; `active`: for this `role`. `policies`: JSON, of
    those that say what the role may read: name, whether it is permissive, expression."""

    enabled: bool
    active: bool
    role: str
    policies: str


def policies_statement(table: Table, dialect: Dialect) -> TextClause:
    """Asks about a table; its row makes `Secured`, none if there is no such table."""
    return _POLICIES.bindparams(name=dialect.identifier_preparer.format_table(table))


def check_policies(name: str, column: Column[object], setting: str, secured: Secured) -> None:
    """`name`: of the repository, in messages.

    Raises MappingRefused unless each policy shows rows whose column equals the setting, and
    narrows that down, if at all, by the row's own columns.
    """
    table, compared = column.table, f"{column.name} = current_setting({setting!r})"
    remedy = f"CREATE POLICY ... ON {table} USING ({compared})"
    if not secured.enabled:
        raise MappingRefused(
            f"{name}: {table} has no row-level security, so that lists show the rows of all: ALTER "
            f"TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; {remedy}"
        )
    if not secured.active:
        raise MappingRefused(
            f"{name}: row-level security of {table} does not count for the role {secured.role!r}, "
            "which owns the table or may bypass it: ALTER TABLE ... FORCE ROW LEVEL SECURITY, or "
            "connect as another role"
        )
    shows = [
        (policy, expression or "true")
        for policy, permissive, expression in json.loads(secured.policies)
        if permissive or not _is_own(expression or "true")
    ]
    wrong = [each for each in shows if not is_of_one_value(each[1], column, setting)]
    if wrong or not shows:
        told = "; ".join(f"policy {policy!r}: {expression}" for policy, expression in wrong)
        raise MappingRefused(
            f"{name}: what the policies of {table} show is not known to be the rows of one value "
            f"({told or 'there is none'}), and a cached row would be shown to others, or would not "
            f"be heard of: {remedy}, or leave the repository out of Database(repositories=...) and "
            "read the table by sessions"
        )


def is_of_one_value(expression: str, column: Column[object], setting: str) -> bool:
    """Whether a policy's expression, as PostgreSQL prints it, compares the column with the setting
    and says nothing else, or narrows it down by columns of the row alone."""
    parts = list(_conjuncts(expression))
    compares = [each for each in parts if _compares(each, column.name, setting)]
    rest = [each for each in parts if not _compares(each, column.name, setting)]
    return bool(compares) and all(map(_is_own, rest))


def _compares(expression: str, column: str, setting: str) -> bool:
    """`tenant = current_setting('app.tenant')`, with whatever casts and forms it is printed in."""
    name = column if re.fullmatch(r"[a-z_][a-z0-9_$]*", column) else f'"{column}"'
    asked = rf"current_setting\('{re.escape(setting)}'(?:::text)?(?:, (?:true|false))?\)"
    asked = rf"(?:{asked}|NULLIF\({asked}, ''(?:::text)?\))"
    asked = rf"(?:{asked}|\( SELECT {asked} AS \w+\))"
    cast = r"(?:::(?:text|uuid|integer|bigint|smallint|character varying))"
    asked = rf"(?:{asked}|\({asked}\){cast}|\( SELECT \({asked}\){cast} AS \w+\))"
    own = rf"(?:{re.escape(name)}|\({re.escape(name)}\)::text)"
    return re.fullmatch(rf"(?:{own} = {asked}|{asked} = {own})", expression) is not None


def _is_own(expression: str) -> bool:
    """Whether it depends on nothing but the row: no function, no other table, no setting."""
    plain = re.sub(r"'(?:[^']|'')*'", "''", expression)
    words = re.search(r"\b(SELECT|current_\w+|session_user|user)\b", plain, re.IGNORECASE)
    return words is None and not re.search(r'[\w"]\(', plain)


def _conjuncts(expression: str) -> Iterable[str]:
    """The parts that AND joins, without the parentheses around them."""
    inner = _unwrapped(expression)
    parts, depth, begin, quoted = [], 0, 0, ""
    at = 0
    while at < len(inner):
        each = inner[at]
        if quoted:
            quoted = "" if each == quoted else quoted
        elif each in "'\"":
            quoted = each
        elif each in "()":
            depth += 1 if each == "(" else -1
        elif depth == 0 and inner.startswith(" AND ", at):
            parts.append(inner[begin:at])
            begin = at + len(" AND ")
        at += 1
    parts.append(inner[begin:])
    if len(parts) == 1:
        return [inner]
    return [part for each in parts for part in _conjuncts(each)]


def _unwrapped(expression: str) -> str:
    """Without parentheses around the whole."""
    while expression.startswith("(") and _closes_at(expression) == len(expression) - 1:
        expression = expression[1:-1]
    return expression


def _closes_at(expression: str) -> int:
    depth, quoted = 0, ""
    for at, each in enumerate(expression):
        if quoted:
            quoted = "" if each == quoted else quoted
        elif each in "'\"":
            quoted = each
        elif each in "()":
            depth += 1 if each == "(" else -1
            if depth == 0:
                return at
    return -1
