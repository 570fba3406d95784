"""Functions whose answers change only when rows or arguments do.

Owns the names that are known without asking, and the question to PostgreSQL for the rest.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import TextClause, text

from repocache.mapping.functions import SELF_CONTAINED

SETTLED = frozenset(
    """
    aggregate_strings array_to_json array_to_string concat concat_ws convert_from cube date
        date_bin date_part date_trunc dense_rank encode decode format generate_series
        grouping grouping_sets json_agg json_array json_arrayagg json_build_array
        json_build_object json_object json_object_agg json_objectagg json_scalar jsonb_agg
        jsonb_build_array jsonb_build_object jsonb_object jsonb_object_agg make_interval
        make_timestamptz normalize overlay phraseto_tsquery plainto_tsquery quote_literal
        quote_nullable rollup row_to_json string_agg timezone to_char to_date to_json to_jsonb
        to_number to_timestamp to_tsquery to_tsvector ts_headline ts_rank ts_rank_cd
        websearch_to_tsquery
    """.split()  # noqa: SIM905 - as in mapping.functions
)
"""Built-in ones that depend on settings of the session besides, which are the same for all readers
of a database (time zone, language), and forms of SQL that are written like functions."""

_QUESTION = """
SELECT proname FROM pg_catalog.pg_proc WHERE prokind <> 'p'
GROUP BY proname HAVING pg_catalog.max(provolatile) = 'i'
"""


def immutable_functions_statement() -> TextClause:
    """Asks for the names of which every function, in whatever schema, is declared IMMUTABLE."""
    return text(_QUESTION)


def immutable_functions(names: Iterable[str]) -> frozenset[str]:
    """Of the answer's rows, their first column."""
    return frozenset(name.lower() for name in names)


def is_steady(name: str, schemas: Iterable[str], immutable: frozenset[str]) -> bool:
    """`name`: in lower case. `schemas`: that the statement names before it. `immutable`: of the
    database."""
    if name in immutable:
        return True
    return set(schemas) <= {"pg_catalog"} and (name in SELF_CONTAINED or name in SETTLED)
