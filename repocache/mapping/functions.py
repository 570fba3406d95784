"""Functions of the database whose answers depend on nothing but what they are given.

Owns the look into an expression for what may read more than it shows.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, TextClause
from sqlalchemy.sql import visitors
from sqlalchemy.sql.elements import ColumnClause
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.visitors import ExternallyTraversible

STEADY = frozenset(
    """
    abs ceil ceiling char_length coalesce floor greatest left least length lower ltrim md5 mod
        nullif power
    replace right round rtrim sign substr substring trim upper
    """.split()  # noqa: SIM905 - as in tracking.statements
)
"""Those that need nothing of the connection either."""

SELF_CONTAINED = STEADY | frozenset(
    """
    count sum min max avg every bool_and bool_or array_agg string_agg json_agg jsonb_agg
        json_object_agg jsonb_object_agg
    stddev variance percentile_cont percentile_disc mode row_number rank dense_rank
    concat concat_ws reverse repeat position strpos instr split_part initcap lpad rpad btrim
        character_length octet_length
    trunc sqrt exp ln log cast date_trunc date_part extract timezone to_char array array_length
        cardinality unnest array_append array_position array_to_string string_to_array
    jsonb_extract_path jsonb_extract_path_text jsonb_array_length jsonb_build_object
        json_build_object to_json to_jsonb jsonb_typeof
    to_tsvector similarity exists any all some tuple row
    """.split()  # noqa: SIM905 - as above
)


def called(part: ExternallyTraversible) -> str:
    """The name of the function that this part calls, the text that may call one; empty: none."""
    if isinstance(part, FunctionElement):
        return str(getattr(part, "name", type(part).__name__)).lower()
    if isinstance(part, TextClause):
        return part.text if "(" in part.text else ""
    return part.name if isinstance(part, ColumnClause) and part.is_literal else ""


def unseen_in(expression: ColumnElement[Any]) -> str:
    """What in it may read tables that it does not show, or the clock; empty: nothing."""
    for part in visitors.iterate(expression):
        if isinstance(part, TextClause) or (isinstance(part, ColumnClause) and part.is_literal):
            return f"the text {str(part)!r}"
        name = called(part)
        strange = set(getattr(part, "packagenames", ())) - {"pg_catalog"}
        if name and (strange or name not in SELF_CONTAINED):
            return f"the function {name}"
    return ""
