"""What the database itself says of a plan's tables: where they are, whether replicas have their
rows, whether they are tables, and whether a row that is read under its lock is the one that will be
committed.

Owns the question and the verdict. Asking it at start is the database object's affair; only
PostgreSQL is asked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Column, ColumnElement, Table, TextClause, text
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.expression import TableClause
from sqlalchemy.sql.visitors import iterate

from repocache.errors import MappingRefused

_PERMANENT = "p"
_ELSEWHERE = "f"
_VIEWS = {"v": "view", "m": "materialized view"}


class Relation(NamedTuple):
    """A row of the answer: the name asked for, and `pg_class`'s `relpersistence` and `relkind`;
    None: not found.

    `locked_away`: the role may not lock its rows; `deferred`: constraint triggers of the user's may
    run at COMMIT. `place`: `database.schema.name`, None for a partition. `secured`: row-level
    security is enabled, for whomever.
    """

    name: str
    persistence: str | None
    kind: str | None
    locked_away: bool = False
    deferred: bool = False
    place: str | None = None
    secured: bool = False


def named_by_sql(table: TableClause, dialect: Dialect, schema: str = "") -> str:
    """The table with its schema, as SQL has it. `schema`: of one that names none; empty: what the
    search path says."""
    preparer = dialect.identifier_preparer
    if not schema or table.schema is not None:
        return preparer.format_table(table)
    return f"{preparer.quote_schema(schema)}.{preparer.quote(table.name)}"


def tables_read(columns: Iterable[ColumnElement[Any]]) -> list[Table]:
    """Every table that these columns are read from, those of subqueries too."""
    parts = [part for column in columns for part in iterate(column)]
    tables = [part.table if isinstance(part, Column) else part for part in parts]
    return list(dict.fromkeys(table for table in tables if isinstance(table, Table)))


def relations_statement(tables: Iterable[Table], dialect: Dialect, schema: str = "") -> TextClause:
    """Asks for these tables and all their partitions; its rows make Relations. `schema`: as of
    `named_by_sql`."""
    names = [named_by_sql(table, dialect, schema) for table in tables]
    return text(
        "SELECT asked.name, class.relpersistence::text, class.relkind::text,"
        " class.oid = CAST(pg_catalog.to_regclass(asked.name) AS oid)"
        " AND NOT pg_catalog.has_any_column_privilege(class.oid, 'UPDATE'),"
        " EXISTS (SELECT FROM pg_catalog.pg_trigger"
        " WHERE tgrelid = class.oid AND tgdeferrable AND NOT tgisinternal),"
        " CASE class.oid WHEN CAST(pg_catalog.to_regclass(asked.name) AS oid)"
        " THEN pg_catalog.concat_ws('.', pg_catalog.current_database(),"
        " CAST(class.relnamespace AS regnamespace), class.relname) END,"
        " coalesce(class.oid = CAST(pg_catalog.to_regclass(asked.name) AS oid)"
        " AND class.relrowsecurity, false)"
        " FROM pg_catalog.unnest(CAST(:names AS text[])) AS asked (name)"
        " LEFT JOIN LATERAL (SELECT pg_catalog.to_regclass(asked.name) AS relation"
        " UNION SELECT relid"
        " FROM pg_catalog.pg_partition_tree(pg_catalog.to_regclass(asked.name))) AS parts ON true"
        " LEFT JOIN pg_catalog.pg_class AS class ON class.oid = CAST(parts.relation AS oid)"
    ).bindparams(names=names)


def places_statement(tables: Iterable[Table], dialect: Dialect) -> TextClause:
    """Asks where these tables and all their partitions are, as the role's search_path finds them:
    rows of the name asked for and `schema.name`."""
    names = [dialect.identifier_preparer.format_table(table) for table in tables]
    return text(
        "SELECT asked.name, CAST(space.nspname AS text) || '.' || CAST(class.relname AS text)"
        " FROM pg_catalog.unnest(CAST(:names AS text[])) AS asked (name)"
        " CROSS JOIN LATERAL (SELECT pg_catalog.to_regclass(asked.name) AS relation"
        " UNION SELECT relid"
        " FROM pg_catalog.pg_partition_tree(pg_catalog.to_regclass(asked.name))) AS parts"
        " JOIN pg_catalog.pg_class AS class ON class.oid = CAST(parts.relation AS oid)"
        " JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace"
    ).bindparams(names=names)


def is_primary_only(relations: Iterable[Relation]) -> bool:
    """Whether replicas lack some of the rows: a table or partition is unlogged, temporary, or on
    another server.

    Raises MappingRefused for a view. A table that is not there is no matter of ours: reading it
    will say so.
    """
    found = list(relations)
    for relation in found:
        if relation.kind in _VIEWS:
            raise MappingRefused(
                f"{relation.name} is a {_VIEWS[relation.kind]}: no write can be tied to its keys. "
                "Map a class to the table that it reads and cache that"
            )
    return any(
        relation.kind is not None
        and (relation.persistence != _PERMANENT or relation.kind == _ELSEWHERE)
        for relation in found
    )


def check_seen_alike(owner: str, relations: Iterable[Relation], scoped: Sequence[str] = ()) -> None:
    """Raise MappingRefused for a table whose rows some connections see and others do not, whatever
    the role may see today: a cached row is everybody's. `scoped`: tables whose rows are kept for
    each value of a scope."""
    for relation in relations:
        if relation.secured and relation.name not in scoped:
            raise MappingRefused(
                f"owner {owner!r}: {relation.name} has row-level security, so what a reader sees "
                "of it depends on his connection, and a cached row is everybody's: it cannot be "
                "cached. If a setting says whose rows a reader sees, declare "
                'KeyOwner(..., scope=Scope("tenant", setting="app.tenant")); else leave the '
                "repository out of Database(repositories=...), and read the table by sessions, as "
                "in `work.session` or `db.sessionmaker`"
            )


def fingerprint_of(shape: str, places: Iterable[str]) -> str:
    """Eight hexadecimal digits that tell rows of this shape in the tables at these places from
    those of tables of the same name in another schema or database."""
    return hashlib.sha256("\n".join([shape, *sorted(places)]).encode()).hexdigest()[:8]


def hindrance(relations: Iterable[Relation]) -> str:
    """Why a commit cannot store what it reads of its rows right before COMMIT; empty: it can."""
    for relation in relations:
        if relation.locked_away:
            return (
                f"{relation.name}: the role has not the right to UPDATE, which a row's lock needs"
            )
        if relation.deferred:
            return (
                f"{relation.name} has a deferrable constraint trigger, which may change rows at "
                "COMMIT"
            )
    return ""
