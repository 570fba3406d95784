"""Whether columns are unique: of a lookup's value there must be one row at the most.

Owns the question to PostgreSQL and the verdict. Other databases are not asked: there the metadata
counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

from sqlalchemy import Column, Table, TextClause, UniqueConstraint, text
from sqlalchemy.engine import Dialect

from repocache.errors import MappingRefused
from repocache.mapping.relation import named_by_sql

_UNIQUE = text(
    "SELECT CAST(coalesce(pg_catalog.jsonb_agg(found.columns), '[]') AS text)"
    " FROM pg_catalog.pg_class AS class"
    " LEFT JOIN LATERAL (SELECT pg_catalog.jsonb_agg(attribute.attname) AS columns"
    " FROM pg_catalog.pg_index AS index"
    " CROSS JOIN LATERAL pg_catalog.generate_series(0, index.indnkeyatts - 1) AS place (at)"
    " JOIN pg_catalog.pg_attribute AS attribute"
    " ON attribute.attrelid = index.indrelid AND attribute.attnum = index.indkey[place.at]"
    " WHERE index.indrelid = class.oid AND index.indisunique AND index.indisvalid"
    " AND index.indpred IS NULL AND index.indexprs IS NULL"
    # Tables that inherit from an ordinary one have rows of it that its index knows nothing of.
    " AND (class.relkind = 'p' OR NOT EXISTS"
    " (SELECT FROM pg_catalog.pg_inherits WHERE inhparent = class.oid))"
    " GROUP BY index.indexrelid) AS found ON true"
    " WHERE class.oid = CAST(pg_catalog.to_regclass(:name) AS oid)"
    " GROUP BY class.oid"
)


def unique_statement(table: Table, dialect: Dialect, schema: str = "") -> TextClause:
    """Asks PostgreSQL for the unique indexes of a table: one value for `unique_columns`, none if
    there is no such table. Partial ones, and those of expressions, say nothing of the columns
    alone. `schema`: as of `named_by_sql`."""
    return _UNIQUE.bindparams(name=named_by_sql(table, dialect, schema))


def unique_columns(answer: str) -> list[frozenset[str]]:
    """The names of each unique index's columns, from what `unique_statement` answered."""
    return [frozenset(names) for names in json.loads(answer) if names]


def declared_unique(table: Table) -> Iterator[frozenset[str]]:
    """The same as the metadata has them."""
    yield frozenset(column.name for column in table.primary_key)
    yield from (frozenset([column.name]) for column in table.columns if column.unique)
    for constraint in table.constraints:
        if isinstance(constraint, UniqueConstraint):
            yield frozenset(column.name for column in constraint.columns)
    for index in table.indexes:
        partial = any(
            options.get("where") is not None for options in index.dialect_options.values()
        )
        if index.unique and not partial and all(isinstance(e, Column) for e in index.expressions):
            yield frozenset(column.name for column in index.columns)


def check_unique(
    name: str, columns: Sequence[Column[object]], unique: Iterable[Iterable[str]]
) -> None:
    """Raise MappingRefused unless one of the unique sets of columns lies within these. `name`: of
    the lookup."""
    named = {column.name for column in columns}
    if not any(named.issuperset(each) for each in unique):
        raise MappingRefused(
            f"{name}: no unique constraint or index covers ({', '.join(sorted(named))}), so that "
            "several rows may have one value: add one to the table (not a partial one, nor one of "
            "an expression), or read with `find`"
        )
